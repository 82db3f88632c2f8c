//! The Sakoe-Chiba band: which cells of the warping matrix a path may use.

use crate::input::KernelError;

/// A band around the diagonal of the warping matrix.
///
/// With half-width `r`, series of `n` and `m` points and indices from 0, cell `(i, j)` is allowed when
/// `-(max(0, n - m) + r) <= j - i <= max(0, m - n) + r`: the two corners are always connected, and for equal
/// lengths this is `|j - i| <= r`. Source: Sakoe and Chiba 1978.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Band {
    /// Every cell is allowed.
    Full,
    /// Half-width in points; 0 on equal lengths leaves the diagonal alone, the Euclidean distance.
    Points(usize),
}

impl Band {
    /// The half-width `ceil(longer * percent / 100)`, where `longer` is the length of the longer series.
    ///
    /// Products within rounding noise (one part in 10⁹) of a whole number count as that number, so that
    /// 7 % of 100 is 7 whichever way the percentage was computed.
    ///
    /// ```
    /// # use swarm_kernels::Band;
    /// assert_eq!(Band::percent(10.0, 128)?, Band::Points(13));
    /// # Ok::<(), swarm_kernels::KernelError>(())
    /// ```
    pub fn percent(percent: f64, longer: usize) -> Result<Self, KernelError> {
        if !(0.0..=100.0).contains(&percent) {
            return Err(KernelError::PercentOutOfRange { percent });
        }
        let exact = longer as f64 * percent / 100.0;
        let nearest = exact.round();
        let is_noise = (exact - nearest).abs() <= 1e-9 * exact;
        Ok(Self::Points(if is_noise { nearest } else { exact.ceil() } as usize))
    }

    /// The band in terms of rows and columns, for a matrix of `rows` by `columns`.
    pub(crate) fn reach(self, rows: usize, columns: usize) -> Reach {
        let longer = rows.max(columns);
        let half_width = match self {
            Self::Full => longer,
            Self::Points(points) => points.min(longer),
        };
        Reach {
            below: rows.saturating_sub(columns) + half_width,
            above: columns.saturating_sub(rows) + half_width,
            columns,
        }
    }

    /// Half-width in points between two series of `length` points each.
    pub(crate) fn half_width(self, length: usize) -> usize {
        match self {
            Self::Full => length,
            Self::Points(points) => points.min(length),
        }
    }
}

/// Columns that each row of a warping matrix may use. A non-zero first column moves by exactly one per row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    below: usize,
    above: usize,
    columns: usize,
}

impl Reach {
    /// Diagonals below the main one.
    pub(crate) fn below(&self) -> usize {
        self.below
    }

    /// Diagonals above the main one.
    pub(crate) fn above(&self) -> usize {
        self.above
    }

    /// Whether every cell of a matrix of that many rows is allowed.
    pub(crate) fn is_full(&self, rows: usize) -> bool {
        self.below + 1 >= rows && self.above + 1 >= self.columns
    }

    /// The first allowed column of a row.
    pub(crate) fn first(&self, row: usize) -> usize {
        row.saturating_sub(self.below)
    }

    /// One past the last allowed column of a row.
    pub(crate) fn end(&self, row: usize) -> usize {
        (row + self.above + 1).min(self.columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentages_round_up_but_not_on_noise() {
        let points = |percent, longer| Band::percent(percent, longer).unwrap();
        assert_eq!(points(7.0, 100), Band::Points(7));
        assert_eq!(points(0.07 * 100.0, 100), Band::Points(7));
        assert_eq!(points(100.0 * 0.29, 100), Band::Points(29));
        assert_eq!(points(7.001, 100), Band::Points(8));
        assert_eq!(points(0.0, 100), Band::Points(0));
        assert_eq!(points(1e-6, 100), Band::Points(1));
        assert_eq!(points(100.0, 277), Band::Points(277));
        assert_eq!(points(8.0, 277), Band::Points(23));
    }

    #[test]
    fn percentages_outside_the_range_are_refused() {
        for percent in [-1.0, 100.5, f64::INFINITY] {
            assert_eq!(Band::percent(percent, 10), Err(KernelError::PercentOutOfRange { percent }));
        }
        assert!(matches!(Band::percent(f64::NAN, 10), Err(KernelError::PercentOutOfRange { .. })));
        let huge = Band::percent(1e300, 10).unwrap_err().to_string();
        assert_eq!(huge, "a band of 1e300 percent is outside 0..=100");
    }

    #[test]
    fn the_widest_half_width_does_not_overflow() {
        let reach = Band::Points(usize::MAX).reach(3, 5);
        assert_eq!((reach.first(2), reach.end(0)), (0, 5));
    }

    proptest! {
        #[test]
        fn whole_percentages_agree_with_integers(percent in 0_usize..=100, longer in 0_usize..5000) {
            let expected = Band::Points((longer * percent).div_ceil(100));
            prop_assert_eq!(Band::percent(percent as f64, longer), Ok(expected));
        }

        #[test]
        fn reach_is_the_documented_cell_rule(rows in 1_usize..40, columns in 1_usize..40, half_width in 0_usize..50) {
            let (n, m, r) = (rows as i64, columns as i64, half_width as i64);
            let reach = Band::Points(half_width).reach(rows, columns);
            for i in 0..n {
                for j in 0..m {
                    let allowed = -((n - m).max(0) + r) <= j - i && j - i <= (m - n).max(0) + r;
                    let inside = (reach.first(i as usize)..reach.end(i as usize)).contains(&(j as usize));
                    prop_assert_eq!(allowed, inside);
                }
            }
        }
    }
}

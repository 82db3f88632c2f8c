//! Searching a series in which points are missing.

use super::{Found, Search};
use crate::input::KernelError;

impl Search<'_> {
    /// [`run`](Self::run) over a series whose missing points are NaN: windows that hold one are left out, as if
    /// [`starts`](Self::starts) did not admit them. The others are found with the same distances as ever.
    ///
    /// A series with missing points is copied, and takes one byte more for each row.
    ///
    /// ```
    /// use swarm_kernels::Search;
    /// let mut series: Vec<f64> = (0..100).map(|i| f64::from(i % 10)).collect();
    /// let search = Search::new(&series[20..30], 1)?.top(100);
    /// series[25] = f64::NAN;
    /// let starts: Vec<usize> = search.run_with_missing(&series)?.matches.iter().map(|found| found.start).collect();
    /// assert_eq!(starts, [0, 10, 30, 40, 50, 60, 70, 80, 90]);
    /// # Ok::<(), swarm_kernels::KernelError>(())
    /// ```
    pub fn run_with_missing(&self, series: &[f64]) -> Result<Found, KernelError> {
        let Some(first_missing) = series.iter().position(|x| x.is_nan()) else {
            return self.run(series);
        };
        // The value of a missing point is in no candidate, and widens at most the envelope around its neighbours. That
        // of its predecessor keeps the statistics of a block near the values that matter.
        let mut filled = series.to_vec();
        let mut last_known = series.iter().copied().find(|x| !x.is_nan()).unwrap_or(0.0);
        for x in &mut filled[..] {
            if x.is_nan() {
                *x = last_known;
            }
            last_known = *x;
        }
        let mut is_complete = vec![true; series.len()];
        let points = self.query.len();
        // Starts below this one have been marked.
        let mut marked = 0;
        for (row, _) in series.iter().enumerate().skip(first_missing).filter(|(_, x)| x.is_nan()) {
            is_complete[marked.max((row + 1).saturating_sub(points))..=row].fill(false);
            marked = row + 1;
        }
        let admitted = |start: usize| is_complete[start] && self.admits(start);
        self.clone().starts(&admitted).run(&filled)
    }
}

#[cfg(test)]
mod tests {
    use crate::{KernelError, Search, Series};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn complete_windows_are_found_as_if_the_others_were_not_admitted(
            values in prop::collection::vec(-5_i8..5, 40..150), gaps in prop::collection::vec(0_usize..150, 0..12),
            points in 1_usize..20, window in 0_usize..4, top in 1_usize..5, apart in 0_usize..30,
        ) {
            let known: Vec<f64> = values.iter().map(|&x| f64::from(x)).collect();
            let mut series = known.clone();
            gaps.iter().filter(|&&row| row < known.len()).for_each(|&row| series[row] = f64::NAN);
            let complete = |start: usize| series[start..start + points].iter().all(|x| !x.is_nan());
            let search = Search::new(&known[..points], window).unwrap().top(top).apart(apart);
            let expected = search.clone().starts(&complete).run(&known).unwrap().matches;
            prop_assert_eq!(search.run_with_missing(&series).unwrap().matches, expected);
        }
    }

    #[test]
    fn a_series_of_nothing_but_gaps_has_no_match_and_other_faults_are_still_refused() {
        let search = Search::new(&[1.0, 2.0], 0).unwrap();
        assert_eq!(search.run_with_missing(&[f64::NAN; 5]).unwrap().matches, []);
        let error = search.run_with_missing(&[f64::NAN, 1.0, f64::INFINITY]).unwrap_err();
        assert_eq!(error, KernelError::Infinite { series: Series::Searched, index: 2 });
        assert_eq!(
            search.run_with_missing(&[f64::NAN]).unwrap_err(),
            KernelError::QueryTooLong { query: 2, series: 1 }
        );
    }
}

//! The distance between two series: one part of a task.

use crate::{
    Blob, ContentHash, Request,
    part::{Impossible, PartError, PartRequest},
    series_matcher::{Lengths, SeriesMatcher, SeriesRequest},
};
use serde::{Deserialize, Serialize};

/// What a cell takes where the path is wanted, in cells of which only the distance is: several times as long beyond what
/// fits into memory.
pub const PATH_COST: u64 = 8;

/// How far a warping path may leave the diagonal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum BandRule {
    /// Anywhere.
    Full,
    /// So many points.
    Points(u64),
    /// So many percent of the longer series of a pair, 0 to 100, rounded up to points.
    Percent(f64),
}

impl BandRule {
    /// Whether it is a band at all.
    pub fn check(&self) -> Result<(), PartError> {
        match self {
            BandRule::Percent(percent) if !(0.0..=100.0).contains(percent) => {
                Err(PartError::invalid(format!("a band of {percent:?} percent is outside 0..=100")))
            }
            _ => Ok(()),
        }
    }

    /// At least as many cells as a matrix of `rows` by `columns` has within the band.
    pub fn cells(&self, rows: u64, columns: u64) -> u64 {
        let longer = rows.max(columns);
        let half_width = match self {
            BandRule::Full => longer,
            BandRule::Points(points) => longer.min(*points),
            // A float that is no such share, NaN among them, becomes 0 or the greatest integer.
            BandRule::Percent(percent) => longer.min((longer as f64 * percent / 100.0).ceil() as u64),
        };
        let width = (2 * half_width + 1 + rows.abs_diff(columns)).min(columns);
        rows.saturating_mul(width)
    }
}

/// What is done to series before they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scaling {
    /// Nothing.
    Raw,
    /// They get mean 0 and deviation 1; constant ones become zeros.
    ZNormalized,
}

/// How much is wanted to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Detail {
    /// The distance.
    Distance,
    /// The warping path too.
    Path,
}

/// Measures the squared warping distance between the only series of two groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Request)]
#[request(name = "measure-distance", reply = MeasuredDistance, error = PartError)]
pub struct MeasureDistance {
    /// The group with the first series.
    pub a: ContentHash,
    /// The group with the second series.
    pub b: ContentHash,
    /// Where the path may go.
    pub band: BandRule,
    /// What is done to both series first.
    pub scaling: Scaling,
    /// What is wanted.
    pub detail: Detail,
}

/// The answer to [`MeasureDistance`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredDistance {
    /// The least sum of squared differences along a path.
    pub distance_squared: f64,
    /// The steps of the path from the first pair of points to the last, where it was asked for: a byte each,
    /// 0 for a step in both series, 1 in the first alone, 2 in the second alone.
    pub steps: Option<Blob>,
}

/// The only series of each of two groups.
fn two_series(inputs: &[Lengths<'_>]) -> Result<(u64, u64), PartError> {
    match inputs {
        [[a], [b]] => Ok((u64::from(*a), u64::from(*b))),
        _ => Err(PartError::invalid("two groups of one series each are expected")),
    }
}

impl PartRequest for MeasureDistance {
    type Protocol = SeriesMatcher;
    type Input = [u32];

    fn inputs(&self) -> Vec<ContentHash> {
        vec![self.a, self.b]
    }

    fn answer_bytes_max(&self, inputs: &[Lengths<'_>]) -> usize {
        let points: u32 = inputs.iter().copied().flatten().sum();
        match self.detail {
            Detail::Distance => 16,
            Detail::Path => 16 + points as usize,
        }
    }

    fn check_answer(&self, inputs: &[Lengths<'_>], answer: &MeasuredDistance) -> Result<(), Impossible> {
        let MeasuredDistance { distance_squared, steps } = answer;
        Impossible::unless(
            distance_squared.is_finite() && *distance_squared >= 0.0,
            format_args!("a squared distance of {distance_squared:?}"),
        )?;
        let is_wanted = self.detail == Detail::Path;
        Impossible::unless(steps.is_some() == is_wanted, "a path that was not asked for, or none")?;
        let Some(steps) = steps else { return Ok(()) };
        let end = path_of(steps).last();
        let (a, b) = two_series(inputs).map_err(Impossible::because)?;
        let corner = Some((a as usize - 1, b as usize - 1));
        Impossible::unless(steps.iter().all(|step| *step <= 2) && end == corner, "a path that does not end")
    }
}

impl SeriesRequest for MeasureDistance {
    fn check(&self, inputs: &[Lengths<'_>]) -> Result<(), PartError> {
        self.band.check()?;
        two_series(inputs).map(|_| ())
    }

    fn cells(&self, inputs: &[Lengths<'_>]) -> u64 {
        let cells = two_series(inputs).map_or(0, |(a, b)| self.band.cells(a, b));
        match self.detail {
            Detail::Distance => cells,
            Detail::Path => cells.saturating_mul(PATH_COST),
        }
    }
}

/// The pairs of points that steps lead through.
pub fn path_of(steps: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let walk = steps.iter().scan((0, 0), |(i, j), step| {
        *i += usize::from(*step != 2);
        *j += usize::from(*step != 1);
        Some((*i, *j))
    });
    std::iter::once((0, 0)).chain(walk)
}

/// The steps that lead through the pairs of a path.
pub fn steps_of(path: &[(usize, usize)]) -> Blob {
    let step = |pair: &[(usize, usize)]| match (pair[1].0 > pair[0].0, pair[1].1 > pair[0].1) {
        (true, false) => 1,
        (false, true) => 2,
        _ => 0,
    };
    path.windows(2).map(step).collect::<Vec<u8>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::TooMuchWork;

    fn measure(band: BandRule, detail: Detail) -> MeasureDistance {
        let [a, b] = [[1], [2]].map(|of| ContentHash::of(&of));
        MeasureDistance { a, b, band, scaling: Scaling::Raw, detail }
    }

    #[test]
    fn a_path_is_its_steps() {
        let path = [(0, 0), (1, 0), (2, 1), (2, 2), (3, 3)];
        let steps = steps_of(&path);
        assert_eq!(*steps, [1, 0, 2, 0]);
        assert_eq!(path_of(&steps).collect::<Vec<_>>(), path);
        assert_eq!(path_of(&[]).collect::<Vec<_>>(), [(0, 0)]);
    }

    #[test]
    fn what_no_agent_could_measure_is_refused() {
        let check = |band, inputs: &[Lengths<'_>]| measure(band, Detail::Distance).check(inputs);
        assert_eq!(check(BandRule::Full, &[&[3], &[5]]), Ok(()));
        for band in [-1.0, 100.5, f64::NAN] {
            assert!(check(BandRule::Percent(band), &[&[3], &[5]]).is_err(), "{band}");
        }
        let huge = check(BandRule::Percent(1e300), &[&[3], &[5]]).unwrap_err();
        assert_eq!(huge, PartError::invalid("a band of 1e300 percent is outside 0..=100"));
        assert!(check(BandRule::Full, &[&[3, 3], &[5]]).is_err());
        let long: &[Lengths<'_>] = &[&[400_000], &[400_000]];
        let cells = |band, detail, inputs| TooMuchWork::unless_within(measure(band, detail).cells(inputs));
        assert_eq!(
            cells(BandRule::Full, Detail::Distance, long),
            Err(TooMuchWork { cells: 160_000_000_000 })
        );
        assert_eq!(cells(BandRule::Percent(4.0), Detail::Distance, long), Ok(()));
        assert!(cells(BandRule::Percent(4.0), Detail::Path, long).is_err());
        let longer: &[Lengths<'_>] = &[&[4_000_000], &[4_000_000]];
        assert_eq!(cells(BandRule::Points(10), Detail::Distance, longer), Ok(()));
    }

    #[test]
    fn impossible_answers_are_recognised() {
        let inputs: &[Lengths<'_>] = &[&[3], &[2]];
        let steps = |steps: &[u8]| Some(Blob::from(steps.to_vec()));
        let check = |detail, distance_squared, steps| {
            let answer = MeasuredDistance { distance_squared, steps };
            measure(BandRule::Full, detail).check_answer(inputs, &answer).is_ok()
        };
        assert!(check(Detail::Distance, 0.0, None));
        assert!(check(Detail::Path, 1.5, steps(&[0, 1])));
        assert!(check(Detail::Path, 1.5, steps(&[1, 0])));
        assert!(!check(Detail::Distance, -1.0, None) && !check(Detail::Distance, f64::NAN, None));
        assert!(!check(Detail::Distance, 1.0, steps(&[0, 1])) && !check(Detail::Path, 1.0, None));
        for wrong in [&[0][..], &[0, 1, 1], &[1, 2], &[0, 3], &[1, 1]] {
            assert!(!check(Detail::Path, 1.0, steps(wrong)), "{wrong:?}");
        }
    }
}

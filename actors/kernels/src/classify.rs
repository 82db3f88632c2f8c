//! Nearest neighbours and 1-nearest-neighbour classification under z-normalised DTW.

mod neighbours;

pub use neighbours::{Neighbours, Width};

use crate::band::Band;
use crate::compare::{compared, compared_max};
use crate::dtw::sweep::sweep;
use crate::input::{Cancelled, KernelError, NEVER, Series, check};
use crate::lower_bound::{self, Envelope, excess_squared, shares_to_limits};
use crate::znorm::z_normalize;

/// Room for the rounding of a bound's sum, relative to the distance: a million terms lose at most 1.2e-10.
const ROUNDING_ROOM: f64 = 1e-9;

/// The training series nearest to a classified one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest {
    /// Index among the training series.
    pub index: usize,
    /// Squared DTW distance between the z-normalised series, as [`compared`] has it.
    pub distance_squared: f64,
}

/// Training series made ready for classification.
///
/// Labels stay with the caller: the answer is the index of the nearest training series. Lengths may differ; the
/// band is in points and the same for all pairs.
///
/// ```
/// use swarm_kernels::{Band, NearestNeighbour};
/// let labels = ["rise", "fall"];
/// let train = [vec![0.0, 1.0, 2.0], vec![2.0, 1.0, 0.0]];
/// let nearest = NearestNeighbour::new(&train, Band::Full)?.classify(&[10.0, 10.5, 30.0])?;
/// assert_eq!(labels[nearest.index], "rise");
/// # Ok::<(), swarm_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct NearestNeighbour {
    train: Vec<(Vec<f64>, Envelope)>,
    band: Band,
}

impl NearestNeighbour {
    /// z-normalises the training series and computes their envelopes: three times their memory.
    pub fn new<T: AsRef<[f64]>>(train: &[T], band: Band) -> Result<Self, KernelError> {
        if train.is_empty() {
            return Err(KernelError::NoTraining);
        }
        let prepare = |(index, series): (usize, &T)| {
            check(Series::Training(index), series.as_ref())?;
            let normalized = z_normalize(series.as_ref());
            let envelope = Envelope::new(&normalized, band.half_width(normalized.len()));
            Ok((normalized, envelope))
        };
        Ok(Self { train: train.iter().enumerate().map(prepare).collect::<Result<_, _>>()?, band })
    }

    /// The nearest training series; among equally near ones the first.
    pub fn classify(&self, series: &[f64]) -> Result<Nearest, KernelError> {
        self.classify_unless(NEVER, series)
    }

    /// [`classify`](Self::classify), which stops with [`KernelError::Cancelled`] once `cancelled` says so. It is asked before
    /// each distance and every 64 rows of it.
    pub fn classify_unless(&self, cancelled: Cancelled<'_>, series: &[f64]) -> Result<Nearest, KernelError> {
        let nearest = self.nearest_unless(cancelled, series, 1)?;
        Ok(*nearest.first().expect("there is a training series, and no distance is infinite"))
    }

    /// The `count` nearest training series, or all when there are fewer; the nearest first, equally near ones in their
    /// order.
    pub fn nearest(&self, series: &[f64], count: usize) -> Result<Vec<Nearest>, KernelError> {
        self.nearest_unless(NEVER, series, count)
    }

    fn nearest_unless(
        &self,
        cancelled: Cancelled<'_>,
        series: &[f64],
        count: usize,
    ) -> Result<Vec<Nearest>, KernelError> {
        check(Series::Query, series)?;
        if count == 0 {
            return Ok(Vec::new());
        }
        let query = z_normalize(series);
        let envelope = Envelope::new(&query, self.band.half_width(query.len()));
        let mut scratch = Scratch::default();

        // Promising ones first, so that the others meet a tight bound.
        let bound_of = |(index, (other, other_envelope)): (usize, &(Vec<f64>, Envelope))| {
            let kim = lower_bound::kim(&query, other);
            let bound = if other.len() == query.len() {
                kim.max(lower_bound::keogh(&query, other_envelope))
            } else {
                kim
            };
            (bound, index)
        };
        let mut candidates: Vec<(f64, usize)> = self.train.iter().enumerate().map(bound_of).collect();
        candidates.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));

        let longest = self.train.iter().map(|(other, _)| other.len()).fold(query.len(), usize::max);
        // In the order of the answer.
        let mut nearest: Vec<Nearest> = Vec::new();
        for (bound, index) in candidates {
            let worst = if nearest.len() < count { None } else { nearest.last() };
            let limit = worst.map_or(f64::INFINITY, |worst| {
                compared_max(worst.distance_squared, longest) * (1.0 + ROUNDING_ROOM)
            });
            if bound > limit {
                break;
            }
            let (other, other_envelope) = &self.train[index];
            let pair = ((&*query, &envelope), (&**other, other_envelope));
            let distance = scratch.distance_within(pair, self.band, limit, cancelled)?;
            let Some(distance_squared) = distance else { continue };
            let distance_squared = compared(distance_squared, query.len().max(other.len()));
            let is_before =
                |other: &Nearest| (other.distance_squared, other.index) < (distance_squared, index);
            let place = nearest.partition_point(is_before);
            if place < count {
                nearest.truncate(count - 1);
                nearest.insert(place, Nearest { index, distance_squared });
            }
        }
        Ok(nearest)
    }
}

/// Memory that the distances of one classification share.
#[derive(Default)]
struct Scratch {
    row_limits: Vec<f64>,
    column_limits: Vec<f64>,
    row: Vec<f64>,
}

/// A z-normalised series and its envelope.
type Prepared<'a> = (&'a [f64], &'a Envelope);

impl Scratch {
    fn distance_within(
        &mut self,
        ((a, a_envelope), (b, b_envelope)): (Prepared<'_>, Prepared<'_>),
        band: Band,
        limit: f64,
        cancelled: Cancelled<'_>,
    ) -> Result<Option<f64>, KernelError> {
        let Self { row_limits, column_limits, row } = self;
        let reach = band.reach(a.len(), b.len());
        if a.len() != b.len() {
            return sweep(a, b, reach, cancelled, |_| limit, |_| f64::INFINITY, row);
        }
        let bounds =
            [fill_limits(row_limits, a, b_envelope, limit), fill_limits(column_limits, b, a_envelope, limit)];
        if bounds.iter().any(|&bound| bound > limit) {
            return Ok(None);
        }
        sweep(a, b, reach, cancelled, |i| row_limits[i], |j| column_limits[j], row)
    }
}

/// What a path may have cost after each point of `series`; returns LB_Keogh.
fn fill_limits(limits: &mut Vec<f64>, series: &[f64], envelope: &Envelope, limit: f64) -> f64 {
    let bounds = envelope.lower.iter().zip(&envelope.upper);
    limits.clear();
    limits.extend(series.iter().zip(bounds).map(|(&x, (&lower, &upper))| excess_squared(x, lower, upper)));
    shares_to_limits(limits, limit)
}

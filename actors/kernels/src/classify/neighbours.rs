//! Nearest neighbours where the band may depend on the lengths of a pair.

use std::collections::BTreeMap;

use super::{Nearest, NearestNeighbour};
use crate::band::Band;
use crate::input::{Cancelled, KernelError, NEVER};

/// How wide the band of a pair is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Width {
    /// Every cell is allowed.
    Full,
    /// So many points to either side.
    Points(usize),
    /// So many percent of the longer series, as [`Band::percent`] has it.
    Percent(f64),
}

impl Width {
    /// The band of a pair of which the longer series has so many points.
    pub fn band(self, longer: usize) -> Result<Band, KernelError> {
        match self {
            Width::Full => Ok(Band::Full),
            Width::Points(points) => Ok(Band::Points(points)),
            Width::Percent(percent) => Band::percent(percent, longer),
        }
    }

    /// The places of series of these lengths, apart by length where pairs of other lengths have other bands. Where they
    /// do not, all are under 0.
    pub fn by_length(self, lengths: impl Iterator<Item = usize>) -> BTreeMap<usize, Vec<usize>> {
        let mut by_length = BTreeMap::<usize, Vec<usize>>::new();
        for (place, length) in lengths.enumerate() {
            let length = if matches!(self, Width::Percent(_)) { length } else { 0 };
            by_length.entry(length).or_default().push(place);
        }
        by_length
    }
}

/// Training series for the classification of series of one length, in groups of one band.
///
/// ```
/// use swarm_kernels::classify::{Neighbours, Width};
/// let train = [vec![0.0, 1.0, 2.0], vec![2.0, 1.0, 0.0]];
/// let test = [10.0, 10.5, 30.0];
/// let neighbours = Neighbours::new(&train, Width::Percent(10.0), test.len())?;
/// assert_eq!(neighbours.nearest(&test)?.index, 0);
/// # Ok::<(), swarm_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Neighbours {
    /// Ascending indices of training series, and the classifier over them.
    groups: Vec<(Vec<usize>, NearestNeighbour)>,
}

impl Neighbours {
    /// For series of `length` points, which matters only where the width depends on it.
    pub fn new<T: AsRef<[f64]>>(train: &[T], width: Width, length: usize) -> Result<Self, KernelError> {
        if train.is_empty() {
            return Err(KernelError::NoTraining);
        }
        let by_longer = width.by_length(train.iter().map(|series| length.max(series.as_ref().len())));
        let group = |(longer, indices): (usize, Vec<usize>)| {
            let series: Vec<&[f64]> = indices.iter().map(|&index| train[index].as_ref()).collect();
            let classifier = NearestNeighbour::new(&series, width.band(longer)?)?;
            Ok((indices, classifier))
        };
        Ok(Self { groups: by_longer.into_iter().map(group).collect::<Result<_, _>>()? })
    }

    /// The nearest training series; among equally near ones the first.
    pub fn nearest(&self, series: &[f64]) -> Result<Nearest, KernelError> {
        self.nearest_unless(NEVER, series)
    }

    /// [`nearest`](Self::nearest), which stops as [`NearestNeighbour::classify_unless`] does.
    pub fn nearest_unless(&self, cancelled: Cancelled<'_>, series: &[f64]) -> Result<Nearest, KernelError> {
        let mut best: Option<Nearest> = None;
        for (indices, classifier) in &self.groups {
            let Nearest { index, distance_squared } = classifier.classify_unless(cancelled, series)?;
            let found = Nearest { index: indices[index], distance_squared };
            let is_nearer =
                |best: &Nearest| (found.distance_squared, found.index) < (best.distance_squared, best.index);
            if best.as_ref().is_none_or(is_nearer) {
                best = Some(found);
            }
        }
        best.ok_or(KernelError::NoTraining)
    }
}

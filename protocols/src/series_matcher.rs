//! Finding what is alike in series: searches, classifications and distances as parts of tasks.

use crate::{
    classification::ClassifySeries,
    distance::MeasureDistance,
    part::{PartError, PartRequest},
    protocol,
    series_search::SearchSeries,
};
use std::ops::Range;

protocol! {
    /// An actor that finds what is alike in series.
    pub SeriesMatcher = "series-matcher" { SearchSeries, ClassifySeries, MeasureDistance }
}

/// How many values each series of an input has.
pub type Lengths<'a> = &'a [u32];

/// A part whose inputs are [groups of series](crate::series_group::SeriesGroup).
pub trait SeriesRequest: PartRequest<Input = [u32], Error = PartError> {
    /// Whether it can be computed on inputs of these lengths: it comes from a client.
    fn check(&self, inputs: &[Lengths<'_>]) -> Result<(), PartError>;
}

/// Cuts series of these lengths into runs of neighbours that make a group each: at most so many values, except that
/// every run has at least one series.
pub fn runs(lengths: &[usize], values_max: usize) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let (mut first, mut values) = (0, 0);
    for (at, length) in lengths.iter().enumerate() {
        if at > first && values + length > values_max {
            runs.push(first..at);
            (first, values) = (at, 0);
        }
        values += length;
    }
    if first < lengths.len() {
        runs.push(first..lengths.len());
    }
    runs
}

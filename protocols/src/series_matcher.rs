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
    /// Whether it makes sense for inputs of these lengths: it comes from a client.
    fn check(&self, inputs: &[Lengths<'_>]) -> Result<(), PartError>;

    /// What it takes at the worst, in cells of a warping matrix; it has been checked. A part of more than
    /// [`CELLS_MAX`](crate::part::CELLS_MAX) is done by no agent.
    fn cells(&self, inputs: &[Lengths<'_>]) -> u64;
}

/// Cuts series of these weights into runs of neighbours that make a group each: at most so much of every weight, such as
/// values, except that every run has at least one series.
pub fn runs<const N: usize>(weights: &[[u64; N]], max: [u64; N]) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let (mut first, mut sums) = (0, [0_u64; N]);
    for (at, weights) in weights.iter().enumerate() {
        let more: [u64; N] = std::array::from_fn(|of| sums[of].saturating_add(weights[of]));
        if at > first && more.iter().zip(max).any(|(sum, max)| *sum > max) {
            runs.push(first..at);
            (first, sums) = (at, *weights);
        } else {
            sums = more;
        }
    }
    if first < weights.len() {
        runs.push(first..weights.len());
    }
    runs
}

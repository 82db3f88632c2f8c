//! The heat map of a matrix.

use clap::ValueEnum;
use swarm_kernels::Symmetric;
use swarm_kernels::correlation::{Dendrogram, Measure};

use super::Method;
use crate::plot::heat_map::{HeatMap, Palette};
use crate::plot::{Scene, count, round_range};

/// In which order a heat map shows the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Order {
    /// As in the table
    Input,
    /// Series that are alike beside each other, with the tree of their clusters
    Cluster,
}

/// What is drawn of a matrix.
pub(super) struct Picture<'a> {
    pub(super) method: Method,
    pub(super) measure: Measure,
    pub(super) rows: usize,
    pub(super) labels: &'a [String],
    pub(super) matrix: &'a Symmetric<f64>,
    pub(super) order: Order,
}

impl Picture<'_> {
    pub(super) fn scene(&self) -> Scene {
        let tree = match self.order {
            Order::Input => None,
            Order::Cluster => Some(clusters(self.matrix, self.measure)),
        };
        let (title, measure, distance) = match self.method {
            Method::Pearson => ("Pearson correlation", "Pearson’s r", "distance 1 − r"),
            Method::Spearman => ("Spearman rank correlation", "Spearman’s ρ", "distance 1 − ρ"),
            Method::Lcss => ("Longest common subsequence", "share of matches", "distance 1 − share"),
            Method::Dtw => ("Dynamic time warping", "similarity 1 / (1 + d)", "distance d"),
        };
        let ordered = if tree.is_some() { ", clustered by average linkage" } else { "" };
        HeatMap {
            title,
            note: &format!("{} series, {} rows{ordered}", self.labels.len(), count(self.rows)),
            measure,
            labels: self.labels,
            matrix: self.matrix,
            palette: self.palette(),
            tree: tree.as_ref().map(|tree| (tree, distance)),
        }
        .scene()
    }

    /// Similarities are often all large or all small, so their colours span those that occur between two series.
    fn palette(&self) -> Palette {
        if self.measure.is_signed() {
            return Palette::Signed;
        }
        let order = self.matrix.order();
        let pairs = (0..order).flat_map(|i| (i + 1..order).map(move |j| self.matrix.get(i, j)));
        let (low, high) = pairs
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = round_range(low, high);
        if low < high { Palette::Between(low, high) } else { Palette::Between(0.0, 1.0) }
    }
}

/// The clusters of series by their distances.
pub(super) fn clusters(matrix: &Symmetric<f64>, measure: Measure) -> Dendrogram {
    Dendrogram::average_linkage(matrix.order(), |i, j| measure.distance(matrix.get(i, j)))
}

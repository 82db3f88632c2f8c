//! Benchmarks that ship with the binary. Every figure is measured beside its floor: the least that
//! the machine needs for the same work, in the same run, round by round in turns.

mod allocations;
pub(crate) mod kernels;
pub(crate) mod messaging;

use serde::Serialize;

/// How often the sides of a figure take turns. Odd, so that the median is one of the rounds.
pub(crate) const ROUNDS: u32 = 5;

/// Whose figure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Swarm,
    Floor,
    /// A second control: what a program needs that awaits its requests one by one, as ours do, and else does the
    /// same as the floor.
    Callers,
}

/// One figure of all sides.
#[derive(Debug, Serialize)]
pub(crate) struct Compared {
    pub(crate) bench: &'static str,
    pub(crate) metric: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) params: serde_json::Value,
    pub(crate) swarm: f64,
    /// What it is compared with, the floor first.
    pub(crate) controls: Vec<(Side, f64)>,
}

/// The middle of `values`, which must not be empty.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

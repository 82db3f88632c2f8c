//! `swarm match`: dynamic time warping, on this machine or by the agents of a swarm.

mod classify;
mod distance;
mod search;

use clap::{Args, Subcommand};
use swarm_actors::pattern_matcher::width_of;
use swarm_kernels::classify::Width;
use swarm_protocols::distance::BandRule;

use super::error::{CliError, Exit};
use super::number::whole;
use super::output::Output;
use crate::input::Source;

#[derive(Debug, Subcommand)]
pub(crate) enum Match {
    /// Measure the distance of two series, one number a line
    Distance(distance::Distance),
    /// Classify UCR files by the nearest neighbour of z-normalised series
    ///
    /// Every series is z-normalised by its own mean and population deviation, always; a constant one becomes zeros. The
    /// distance is that of `swarm match distance --znormalize`.
    Classify(classify::Classify),
    /// Find the windows of a CSV column that are most like a query, z-normalised
    ///
    /// The query and every window are z-normalised by their own mean and population deviation, always; a constant one
    /// becomes zeros. The distance is that of `swarm match distance --znormalize`.
    Search(search::Search),
}

impl Match {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        match self {
            Match::Distance(command) => command.run(output),
            Match::Classify(command) => command.run(output),
            Match::Search(command) => command.run(output),
        }
    }
}

/// How far a warping path may leave the diagonal; without either it may go anywhere.
#[derive(Debug, Clone, Copy, Args)]
#[group(multiple = false)]
struct BandArgs {
    /// Half-width of the band in percent of the longer series, rounded up; no band means no limit
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    band: Option<f64>,
    /// Half-width of the band in points
    ///
    /// Of series of n and m points and a half-width r, point i of the first may go with point j of the second where
    /// -(max(0, n-m) + r) <= j - i <= max(0, m-n) + r.
    #[arg(long, value_name = "POINTS", value_parser = whole)]
    window: Option<usize>,
}

impl BandArgs {
    fn rule(self) -> BandRule {
        match self {
            BandArgs { window: Some(points), .. } => BandRule::Points(points as u64),
            BandArgs { band: Some(percent), .. } => BandRule::Percent(percent),
            BandArgs { band: None, window: None } => BandRule::Full,
        }
    }

    fn width(self) -> Width {
        width_of(self.rule())
    }
}

fn percent(argument: &str) -> Result<f64, String> {
    match argument.parse() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("expected a number from 0 to 100".to_owned()),
    }
}

/// Standard input and pipes can be read once.
fn refuse_stdin_twice(a: &Source, b: &Source) -> Result<(), CliError> {
    if a.is_spent_by(b) {
        let message = format_args!("{a} can be read once, but is named for two inputs");
        return Err(CliError::new(Exit::Usage, message));
    }
    Ok(())
}

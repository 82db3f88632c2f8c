//! `swarm correlate`: all series of a table against each other.

mod matrix;
mod report;

use std::num::NonZeroUsize;
use std::time::Instant;

use clap::{Args, ValueEnum};
use swarm_kernels::correlation::{Measure, Pairs};
use swarm_kernels::{Band, KernelError, Lcss, z_normalize};

use super::error::{CliError, Exit};
use super::foreground;
use super::node::cores;
use super::output::Output;
use crate::input::{self, Gaps, InputError, Source, Table};
use report::Report;

/// Which points may match when `--epsilon` does not say: those a quarter of a standard deviation apart.
const EPSILON: f64 = 0.25;

#[derive(Debug, Args)]
#[command(after_long_help = DEFINITIONS)]
pub(crate) struct Correlate {
    /// CSV file with a header and a column for each series; `-` is standard input
    ///
    /// A first column that is not numeric, or has no name, is the index. An empty field, NaN, NA and null are
    /// missing values.
    #[arg(long, value_name = "FILE")]
    input: Source,
    /// What is computed of each pair
    #[arg(long, value_enum, default_value_t)]
    method: Method,
    /// Points match when they differ by at most this; 0.25 when not given [lcss]
    #[arg(long, value_name = "DISTANCE", value_parser = distance)]
    epsilon: Option<f64>,
    /// How many rows apart points may be that match; any number when not given [lcss, dtw]
    #[arg(long, value_name = "POINTS")]
    window: Option<usize>,
    /// Compare the values as they are, not z-normalised [lcss, dtw]
    #[arg(long)]
    raw: bool,
    /// On how many threads; the result does not depend on it [default: one for each core]
    #[arg(long, value_name = "COUNT")]
    threads: Option<NonZeroUsize>,
}

/// What stands below the options of `swarm correlate --help`.
const DEFINITIONS: &str = "\
Methods:
  pearson   correlation of the values, -1 to 1
  spearman  correlation of the ranks, -1 to 1; equal values share the mean of their ranks
  lcss      longest common subsequence: matches with |x - y| <= epsilon, within the window, divided by the
            shorter length; 0 to 1
  dtw       similarity 1 / (1 + d), with d the distance of `swarm match distance`: the square root of the summed
            squared differences along the cheapest warping path within the window; above 0, at most 1

Missing values: a pair's correlation is over the rows in which neither is missing. It is undefined (null in JSON, - in
the table) with fewer than two such rows, or when one of the two is constant there. lcss and dtw refuse missing values,
and z-normalise each series (population deviation; a constant one becomes zeros) unless told --raw.";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Method {
    #[default]
    Pearson,
    Spearman,
    Lcss,
    Dtw,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Method::Pearson => "pearson",
            Method::Spearman => "spearman",
            Method::Lcss => "lcss",
            Method::Dtw => "dtw",
        }
    }
}

impl Correlate {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        let measure = self.measure()?;
        foreground::run("correlating", move |watch| {
            let Table { labels, series, .. } = input::table(&self.input, self.gaps())?;
            let started = Instant::now();
            let series = if self.is_normalised() { normalised(series) } else { series };
            let pairs = Pairs::new(measure, series).map_err(|error| self.bad_series(error, &labels))?;
            let matrix = matrix::on_threads(&pairs, self.threads.unwrap_or_else(cores), watch)?;
            let seconds = started.elapsed().as_secs_f64();
            output.print(&Report::new(&labels, &matrix, seconds))
        })
    }

    /// What the options ask for, when they go together.
    fn measure(&self) -> Result<Measure, CliError> {
        let correlates = matches!(self.method, Method::Pearson | Method::Spearman);
        for (option, is_given, is_meant) in [
            ("--epsilon", self.epsilon.is_some(), self.method == Method::Lcss),
            ("--window", self.window.is_some(), !correlates),
            ("--raw", self.raw, !correlates),
        ] {
            if is_given && !is_meant {
                let message = format!("{option} says nothing to the method {}", self.method.name());
                return Err(CliError::new(Exit::Usage, message));
            }
        }
        Ok(match self.method {
            Method::Pearson => Measure::Pearson,
            Method::Spearman => Measure::Spearman,
            Method::Lcss => {
                let lcss = Lcss::new(self.epsilon.unwrap_or(EPSILON))?;
                Measure::Lcss(self.window.map_or(lcss, |points| lcss.window(points)))
            }
            Method::Dtw => Measure::Dtw(self.window.map_or(Band::Full, Band::Points)),
        })
    }

    fn is_normalised(&self) -> bool {
        matches!(self.method, Method::Lcss | Method::Dtw) && !self.raw
    }

    fn gaps(&self) -> Gaps {
        match self.method {
            Method::Pearson | Method::Spearman => Gaps::Allowed,
            Method::Lcss | Method::Dtw => Gaps::Refused,
        }
    }

    /// An error of the kernels, which know series by their number.
    fn bad_series(&self, error: KernelError, labels: &[String]) -> CliError {
        match error {
            KernelError::TooLong { length, limit, .. } => {
                let message =
                    format!("has {length} rows, this method takes {limit} (first series {:?})", labels[0]);
                InputError::whole(&self.input, message).into()
            }
            other => CliError::from(other),
        }
    }
}

fn normalised(series: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    series.iter().map(|values| z_normalize(values)).collect()
}

fn distance(argument: &str) -> Result<f64, String> {
    match argument.parse::<f64>() {
        Ok(distance) if distance >= 0.0 => Ok(distance),
        _ => Err("expected a number that is not negative".to_owned()),
    }
}

//! `swarm correlate`: all series of a table against each other.

mod matrix;
mod picture;
mod report;
mod rolling;

use std::num::NonZeroUsize;
use std::time::Instant;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use swarm_actors::correlator::measure_of;
use swarm_kernels::correlation::{LCSS_POINTS_MAX, Measure, Pairs};
use swarm_kernels::{KernelError, Series, Symmetric, z_normalize};
use swarm_protocols::correlation::PairMeasure;

use super::error::{CliError, Exit};
use super::foreground::{self, Watch};
use super::node::cores;
use super::number::{at_least_one, whole};
use super::operator::{Connection, MaybeConnection};
use super::output::Output;
use crate::input::{self, Gaps, InputError, Source, Table};
use crate::plot::PictureFile;
use crate::plot::heat_map::SERIES_MAX;
use crate::swarm::progress::Progress;
use crate::swarm::spread::correlate::{Correlation, blocks_of};
use picture::{Order, Picture};
use report::Report;
use rolling::Rolling;

/// Which points may match when `--epsilon` does not say: those a quarter of a standard deviation apart.
const EPSILON: f64 = 0.25;

#[derive(Debug, Args)]
#[command(after_long_help = DEFINITIONS)]
pub(crate) struct Correlate {
    /// CSV file with a header and a column for each series; `-` is standard input
    ///
    /// A first column without a name is the index, the labels of the rows. So is one of texts without a number, however
    /// written (5%, $5 and 1,5 are numbers, and refused); a note says so, unless its values are dates with the year first
    /// (2020-01-31, 2020/01/31 16:00, 20200131 16:00, 2020-01) or times of day (16:00). Numbers under a name are a series,
    /// also 20200131; where the name is one of an index, such as date or index, a note says so. An empty field, NaN, NA,
    /// N/A, null and none are missing values.
    #[arg(long, value_name = "FILE")]
    input: Source,
    /// What is computed of each pair
    #[arg(long, value_enum, default_value_t)]
    method: Method,
    /// Points match when they differ by at most this; 0.25 when not given (lcss)
    #[arg(long, value_name = "DISTANCE", value_parser = distance)]
    epsilon: Option<f64>,
    /// How many rows apart points may be that match; any number when not given (lcss, dtw)
    #[arg(long, value_name = "POINTS", value_parser = whole)]
    window: Option<usize>,
    /// Compare the values as they are, not z-normalised (lcss, dtw)
    #[arg(long)]
    raw: bool,
    /// Correlate over windows of so many rows instead of all; prints CSV, or with -o json a list (pearson)
    #[arg(long, value_name = "ROWS", conflicts_with_all = ["heatmap", "connect"], value_parser = window)]
    rolling: Option<NonZeroUsize>,
    /// How many rows lie between the ends of two windows; at most 10 million values are printed
    #[arg(long, value_name = "ROWS", default_value = "1", requires = "rolling", value_parser = at_least_one)]
    every: NonZeroUsize,
    /// Draw the matrix too, as SVG or PNG after the end of the name
    #[arg(long, value_name = "FILE.svg|.png", value_parser = OsStringValueParser::new().try_map(PictureFile::parse))]
    heatmap: Option<PictureFile>,
    /// The order of series in the heat map; the table and JSON have that of the input [default: cluster]
    #[arg(long, value_enum, requires = "heatmap", value_name = "ORDER")]
    order: Option<Order>,
    /// On how many threads; the result does not depend on it [default: one for each core]
    #[arg(long, value_name = "COUNT", conflicts_with = "connect", value_parser = at_least_one)]
    threads: Option<NonZeroUsize>,
    #[command(flatten)]
    connection: MaybeConnection,
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
and z-normalise each series (population deviation; a constant one becomes zeros) unless told --raw. --rolling refuses
missing values too; its correlations are within 1e-9 of those of each window by itself.

Constant, for every method: all values are equal, or their deviation is below 1.5e-154, whose square is no normal number.
Values that differ in their last digits only are not constant.

Rolling JSON: {\"labels\", \"window\", \"pairs\": [[i, j], ...] as places in labels, \"steps\": [{\"row\": last row of the
window, \"index\", \"correlations\": one for each pair}, ...], \"seconds\"}.

Heat map: correlations are coloured from -1 to 1, similarities over the range that occurs between two series.
Clusters are those of average linkage by 1 - r, 1 - share or d; an undefined value counts as the greatest distance.";

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
        if let Some(file) = &self.heatmap {
            file.check(&[&self.input])?;
        }
        match self.connection.given() {
            None => foreground::run("correlating", move |watch| match self.rolling {
                Some(window) => self.roll(window, watch, output),
                None => self.here(measure, watch, output),
            }),
            Some(connection) => self.over(connection, measure, output),
        }
    }

    fn roll(&self, window: NonZeroUsize, watch: &Watch, output: Output) -> Result<(), CliError> {
        let table = input::table(&self.input, Gaps::Refused)?;
        let started = Instant::now();
        let mut rolling = Rolling::of(&self.input, &table, window, self.every, watch)?;
        rolling.seconds = started.elapsed().as_secs_f64();
        output.print(&rolling)
    }

    fn here(&self, measure: Measure, watch: &Watch, output: Output) -> Result<(), CliError> {
        let Table { labels, series, .. } = self.read()?;
        let rows = series[0].len();
        let started = Instant::now();
        let series = if self.is_normalised() { normalised(series) } else { series };
        let blocks = blocks_of(&series, self.pair_measure());
        let pairs = Pairs::new(measure, series).map_err(|error| self.bad_series(error))?;
        let matrix = matrix::of(&pairs, &blocks, self.threads.unwrap_or_else(cores), watch)?;
        let seconds = started.elapsed().as_secs_f64();
        self.draw(measure, rows, &labels, &matrix)?;
        output.print(&Report::new(&labels, &matrix, seconds))
    }

    /// The same by the agents of a swarm.
    fn over(&self, connection: Connection, measure: Measure, output: Output) -> Result<(), CliError> {
        let Table { labels, series, .. } = self.read()?;
        let rows = series[0].len();
        let series = if self.is_normalised() { normalised(series) } else { series };
        if self.method == Method::Lcss && rows > LCSS_POINTS_MAX {
            let (series, length, limit) = (Series::Member(0), rows, LCSS_POINTS_MAX);
            return Err(self.bad_series(KernelError::TooLong { series, length, limit }));
        }
        let correlation = Correlation::of(&series, self.pair_measure())?;
        let (matrix, seconds) = connection.run(async |operator, _| {
            let started = Instant::now();
            let matrix = correlation.compute(operator, &mut Progress::shown()).await?;
            Ok((matrix, started.elapsed().as_secs_f64()))
        })?;
        self.draw(measure, rows, &labels, &matrix)?;
        output.print(&Report::new(&labels, &matrix, seconds))
    }

    fn read(&self) -> Result<Table, InputError> {
        let table = input::table(&self.input, self.gaps())?;
        let count = table.labels.len();
        if self.heatmap.is_some() && count > SERIES_MAX {
            let message = format!("has {count} series, a heat map shows at most {SERIES_MAX}");
            return Err(InputError::whole(&self.input, message));
        }
        Ok(table)
    }

    /// Draws the heat map, if one is wanted.
    fn draw(
        &self,
        measure: Measure,
        rows: usize,
        labels: &[String],
        matrix: &Symmetric<f64>,
    ) -> Result<(), CliError> {
        if let Some(file) = &self.heatmap {
            let order = self.order.unwrap_or(Order::Cluster);
            file.write(&Picture { method: self.method, measure, rows, labels, matrix, order }.scene())?;
        }
        Ok(())
    }

    /// What agents are asked for.
    fn pair_measure(&self) -> PairMeasure {
        let window = self.window.map(|points| points as u64);
        match self.method {
            Method::Pearson => PairMeasure::Pearson,
            Method::Spearman => PairMeasure::Spearman,
            Method::Lcss => PairMeasure::Lcss { epsilon: self.epsilon.unwrap_or(EPSILON), window },
            Method::Dtw => PairMeasure::Dtw { window },
        }
    }

    /// What the options ask for, when they go together.
    fn measure(&self) -> Result<Measure, CliError> {
        let correlates = matches!(self.method, Method::Pearson | Method::Spearman);
        for (option, is_given, is_meant) in [
            ("--epsilon", self.epsilon.is_some(), self.method == Method::Lcss),
            ("--window", self.window.is_some(), !correlates),
            ("--raw", self.raw, !correlates),
            ("--rolling", self.rolling.is_some(), self.method == Method::Pearson),
        ] {
            if is_given && !is_meant {
                let message = format!("the method {} has no {option}", self.method.name());
                return Err(CliError::new(Exit::Usage, message));
            }
        }
        Ok(measure_of(self.pair_measure())?)
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

    /// An error of the kernels, which do not know the file.
    fn bad_series(&self, error: KernelError) -> CliError {
        match error {
            KernelError::TooLong { length, limit, .. } => {
                let message = format!("has {length} rows, {} takes at most {limit}", self.method.name());
                InputError::whole(&self.input, message).into()
            }
            other => CliError::from(other),
        }
    }
}

fn normalised(series: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    series.iter().map(|values| z_normalize(values)).collect()
}

/// One point correlates with nothing.
fn window(argument: &str) -> Result<NonZeroUsize, String> {
    match argument.parse() {
        Ok(rows) if rows > NonZeroUsize::MIN => Ok(rows),
        _ => Err("expected a number of rows from 2 on".to_owned()),
    }
}

fn distance(argument: &str) -> Result<f64, String> {
    match argument.parse::<f64>() {
        Ok(distance) if distance >= 0.0 => Ok(distance),
        _ => Err("expected a number that is not negative".to_owned()),
    }
}

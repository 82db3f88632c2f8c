//! `swarm match search`.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Instant;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use serde::Serialize;
use swarm_actors::pattern_matcher::settled_of;
use swarm_kernels::{is_constant, z_normalize};
use swarm_protocols::series_search::{QUERY_MAX, Settled, TOP_MAX};

use super::refuse_stdin_twice;
use crate::cli::error::{CliError, Exit};
use crate::cli::foreground::{self, Watch};
use crate::cli::number::{at_least_one, whole};
use crate::cli::operator::{Connection, MaybeConnection};
use crate::cli::output::Output;
use crate::input::{self, InputError, Source};
use crate::plot::matches::{Match as Drawn, Matches};
use crate::plot::{PictureFile, Scene, count};
use crate::swarm::progress::Progress;
use crate::swarm::spread::search::{Found, SearchTerms, SeriesSearch};

#[derive(Debug, Args)]
pub(crate) struct Search {
    /// CSV file with a header to search in; `-` is standard input
    #[arg(long, value_name = "FILE")]
    series: Source,
    /// The column to search in
    #[arg(long, value_name = "NAME")]
    column: String,
    /// CSV file with a header that holds the query; may be the same file, then windows that start less than M rows
    /// from the query are left out
    #[arg(long, value_name = "FILE")]
    query: Source,
    /// The column that holds the query
    #[arg(long, value_name = "NAME")]
    query_column: String,
    /// The query's first row, counted from 0 after the header
    #[arg(long, value_name = "ROW", value_parser = whole)]
    query_start: usize,
    /// How many rows the query has
    #[arg(long, value_name = "ROWS", value_parser = at_least_one)]
    query_length: NonZeroUsize,
    /// Half-width of the warping band in points
    #[arg(long, value_name = "POINTS", value_parser = whole)]
    window: usize,
    /// How many windows to find; of those that are equally far but for rounding, those that start first. Each starts at
    /// least M rows, the length of the query, from every better one, so there may be fewer
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = at_least_one)]
    top: NonZeroUsize,
    /// Draw the matches too, as SVG or PNG after the end of the name
    #[arg(long, value_name = "FILE.svg|.png", value_parser = OsStringValueParser::new().try_map(PictureFile::parse))]
    plot: Option<PictureFile>,
    #[command(flatten)]
    connection: MaybeConnection,
}

#[derive(Debug, Serialize)]
struct Report {
    matches: Vec<Match>,
    seconds: f64,
    pruned: Settled,
}

#[derive(Debug, Serialize)]
struct Match {
    start: usize,
    distance_squared: f64,
}

/// What is searched for what.
struct Inputs {
    series: Vec<f64>,
    query: Vec<f64>,
    /// Then windows that reach into the query are left out.
    in_same_file: bool,
}

impl Search {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        refuse_stdin_twice(&self.series, &self.query)?;
        if let Some(file) = &self.plot {
            file.check(&[&self.series, &self.query])?;
        }
        match self.connection.given() {
            None => foreground::run("searching", move |watch| {
                let inputs = self.read()?;
                watch.begin(0);
                let started = Instant::now();
                let found = self.here(&inputs, watch)?;
                self.show(&inputs, &found, started.elapsed().as_secs_f64(), output)
            }),
            Some(connection) => {
                let inputs = self.read()?;
                let (found, seconds) = self.over(connection, &inputs)?;
                self.show(&inputs, &found, seconds, output)
            }
        }
    }

    fn read(&self) -> Result<Inputs, InputError> {
        let series = input::column(&self.series, &self.column)?;
        let in_same_file = self.series.is_same_file(&self.query);
        let query = if in_same_file && self.column == self.query_column {
            self.rows_of_query(&series)?.to_vec()
        } else {
            self.rows_of_query(&input::column(&self.query, &self.query_column)?)?.to_vec()
        };
        if series.len() < query.len() {
            let (rows, length) = (series.len(), query.len());
            let message = format!("has {rows} rows, a query of {length} does not fit in it");
            return Err(InputError::whole(&self.series, message));
        }
        if is_constant(&query) {
            input::note(
                "the query is constant: all windows that vary are equally far from it, so the first are found",
            );
        }
        Ok(Inputs { series, query, in_same_file })
    }

    fn here(&self, inputs: &Inputs, watch: &Watch) -> Result<Found, CliError> {
        let Inputs { series, query, in_same_file } = inputs;
        let is_clear = |start: usize| start.abs_diff(self.query_start) >= query.len();
        let is_cancelled = || watch.is_cancelled();
        let mut search =
            swarm_kernels::Search::new(query, self.window)?.top(self.top.get()).cancel(&is_cancelled);
        if *in_same_file {
            search = search.starts(&is_clear);
        }
        let found = search.run(series)?;
        let matches = found.matches.iter().map(|found| (found.distance_squared, found.start)).collect();
        Ok(Found { matches, settled: settled_of(found.pruned) })
    }

    /// The same by the agents of a swarm, and the seconds that it took them.
    fn over(&self, connection: Connection, inputs: &Inputs) -> Result<(Found, f64), CliError> {
        let Inputs { series, query, in_same_file } = inputs;
        // There are not more windows than rows, however many are asked for.
        let (top, points) = (self.top.get().min(series.len()), query.len());
        if top > TOP_MAX as usize || points > QUERY_MAX {
            let message = format_args!(
                "the best {top} windows of {points} rows: a swarm finds up to {TOP_MAX} of up to {QUERY_MAX}"
            );
            return Err(CliError::new(Exit::Usage, message));
        }
        let around_query =
            self.query_start.saturating_sub(points - 1)..self.query_start.saturating_add(points);
        let terms = SearchTerms { window: self.window, top, excluded: in_same_file.then_some(around_query) };
        let search = SeriesSearch::of(series, query, terms)?;
        connection.run(async |operator, _| {
            let started = Instant::now();
            let found = search.run(operator, &mut Progress::shown()).await?;
            Ok((found, started.elapsed().as_secs_f64()))
        })
    }

    fn show(&self, inputs: &Inputs, found: &Found, seconds: f64, output: Output) -> Result<(), CliError> {
        let (length, count, top) = (inputs.query.len(), found.matches.len(), self.top);
        if count < top.get() {
            let and_query = if inputs.in_same_file { ", and from the query in the same file" } else { "" };
            input::note(format_args!(
                "{count} of {top} windows were found: each starts at least {length} rows from every better \
                 one{and_query}"
            ));
        }
        if let Some(file) = &self.plot {
            file.write(&self.scene(inputs, found))?;
        }
        output.print(&Report::new(found, seconds))
    }

    fn scene(&self, inputs: &Inputs, found: &Found) -> Scene {
        let Inputs { series, query, in_same_file } = inputs;
        let (first, last) = (count(self.query_start), count(self.query_start + query.len() - 1));
        let drawn = |&(distance_squared, start): &(f64, usize)| Drawn {
            start,
            distance: distance_squared.sqrt(),
            values: z_normalize(&series[start..start + query.len()]),
        };
        let band =
            if self.window == 1 { "1 point".to_owned() } else { format!("{} points", count(self.window)) };
        Matches {
            title: &format!(
                "Windows of {} like rows {first} to {last} of {}",
                self.column, self.query_column
            ),
            note: &format!("{} rows of {}, warping within {band}", count(series.len()), self.series),
            series,
            query: &z_normalize(query),
            query_start: (*in_same_file && self.column == self.query_column).then_some(self.query_start),
            found: found.matches.iter().map(drawn).collect(),
        }
        .scene()
    }

    fn rows_of_query<'a>(&self, column: &'a [f64]) -> Result<&'a [f64], InputError> {
        let (start, length) = (self.query_start, self.query_length.get());
        start.checked_add(length).and_then(|end| column.get(start..end)).ok_or_else(|| {
            let rows = column.len();
            let message =
                format!("a query of {length} rows from row {start} does not lie within its {rows} rows");
            InputError::whole(&self.query, message)
        })
    }
}

impl Report {
    fn new(found: &Found, seconds: f64) -> Self {
        let as_match = |&(distance_squared, start): &(f64, usize)| Match { start, distance_squared };
        Report { matches: found.matches.iter().map(as_match).collect(), seconds, pruned: found.settled }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>10} {:>18} {:>18}", "start", "distance", "distance squared")?;
        for Match { start, distance_squared } in &self.matches {
            writeln!(f, "{start:>10} {:>18.9} {distance_squared:>18.9}", distance_squared.sqrt())?;
        }
        let Settled { kim, keogh_query, keogh_data, abandoned, computed } = self.pruned;
        let windows = kim + keogh_query + keogh_data + abandoned + computed;
        writeln!(f, "\n{windows} windows in {:.3} s:", self.seconds)?;
        for (count, fate) in [
            (kim, "ruled out by LB_Kim"),
            (keogh_query, "ruled out by LB_Keogh of the query"),
            (keogh_data, "ruled out by LB_Keogh of the series"),
            (abandoned, "ruled out inside the distance"),
            (computed, "distances computed"),
        ] {
            writeln!(f, "{count:>10} {fate}")?;
        }
        Ok(())
    }
}

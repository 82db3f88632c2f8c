//! `swarm match distance`.

use std::fmt;

use clap::Args;
use serde::Serialize;
use swarm_kernels::{dtw, z_normalize};
use swarm_protocols::distance::{Detail, Scaling, path_of};

use super::{BandArgs, refuse_stdin_twice};
use crate::cli::error::CliError;
use crate::cli::foreground::{self, Watch};
use crate::cli::operator::{Connection, MaybeConnection};
use crate::cli::output::Output;
use crate::input::{self, InputError, Source};
use crate::swarm::progress::Progress;
use crate::swarm::spread::distance as spread;

/// Values that are all below this have squares that are no normal numbers, or none at all.
const TINY: f64 = 1e-100;

/// What tiny values are multiplied by, 2⁶⁰⁰, which rounds nothing: the squares of even the least ones are then normal.
const TINY_SCALE: f64 = f64::from_bits((1023 + 600) << 52);

#[derive(Debug, Args)]
pub(crate) struct Distance {
    /// The first series, one number a line; `-` is standard input
    a: Source,
    /// The second series
    b: Source,
    #[command(flatten)]
    band: BandArgs,
    /// Give both series mean 0 and deviation 1 first; a constant one becomes zeros
    #[arg(long)]
    znormalize: bool,
    /// Print the optimal path too
    #[arg(long)]
    path: bool,
    #[command(flatten)]
    connection: MaybeConnection,
}

#[derive(Debug, Serialize)]
struct Report {
    distance: f64,
    distance_squared: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Vec<(usize, usize)>>,
}

impl Distance {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        refuse_stdin_twice(&self.a, &self.b)?;
        match self.connection.given() {
            None => foreground::run("measuring", move |watch| {
                let (a, b, scale) = self.read()?;
                watch.begin(0);
                output.print(&Report::new(self.here(a, b, watch)?, scale))
            }),
            Some(connection) => {
                let (a, b, scale) = self.read()?;
                output.print(&Report::new(self.over(connection, &a, &b)?, scale))
            }
        }
    }

    /// Both series, and what they were multiplied by.
    fn read(&self) -> Result<(Vec<f64>, Vec<f64>, f64), InputError> {
        let mut a = input::numbers(&self.a)?;
        let mut b = input::numbers(&self.b)?;
        let is_tiny = !self.znormalize && a.iter().chain(&b).all(|value| value.abs() < TINY);
        let scale = if is_tiny { TINY_SCALE } else { 1.0 };
        a.iter_mut().chain(&mut b).for_each(|value| *value *= scale);
        Ok((a, b, scale))
    }

    fn here(&self, mut a: Vec<f64>, mut b: Vec<f64>, watch: &Watch) -> Result<Measured, CliError> {
        if self.znormalize {
            (a, b) = (z_normalize(&a), z_normalize(&b));
        }
        let band = self.band.width().band(a.len().max(b.len()))?;
        let is_cancelled = || watch.is_cancelled();
        Ok(if self.path {
            let alignment = dtw::align_unless(&is_cancelled, &a, &b, band)?;
            (alignment.distance_squared, Some(alignment.path))
        } else {
            (dtw::distance_squared_unless(&is_cancelled, &a, &b, band)?, None)
        })
    }

    fn over(&self, connection: Connection, a: &[f64], b: &[f64]) -> Result<Measured, CliError> {
        let scaling = if self.znormalize { Scaling::ZNormalized } else { Scaling::Raw };
        let detail = if self.path { Detail::Path } else { Detail::Distance };
        let distance = spread::Distance::of([a, b], (self.band.rule(), scaling, detail));
        let distance = distance?;
        let measured = connection
            .run(async |operator, _| Ok(distance.measure(operator, &mut Progress::shown()).await?))?;
        Ok((measured.distance_squared, measured.steps.map(|steps| path_of(&steps).collect())))
    }
}

/// The squared distance, and the path where it was asked for.
type Measured = (f64, Option<Vec<(usize, usize)>>);

impl Report {
    fn new((distance_squared, path): Measured, scale: f64) -> Self {
        let distance = distance_squared.sqrt() / scale;
        Self { distance, distance_squared: distance_squared / scale / scale, path }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "distance          {}", readable(self.distance))?;
        writeln!(f, "distance squared  {}", readable(self.distance_squared))?;
        if let Some(path) = &self.path {
            writeln!(f, "\n{:>8} {:>8}", "a", "b")?;
            for (i, j) in path {
                writeln!(f, "{i:>8} {j:>8}")?;
            }
        }
        Ok(())
    }
}

/// A number in full, as a power of ten where it would be mostly zeros.
fn readable(value: f64) -> String {
    if value == 0.0 || (1e-6..1e16).contains(&value.abs()) { value.to_string() } else { format!("{value:e}") }
}

//! `swarm match distance`.

use std::fmt;

use clap::Args;
use serde::Serialize;
use swarm_kernels::{dtw, z_normalize};

use super::{BandArgs, refuse_stdin_twice};
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::input::{self, Source};

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
        let mut a = input::numbers(&self.a)?;
        let mut b = input::numbers(&self.b)?;
        if self.znormalize {
            (a, b) = (z_normalize(&a), z_normalize(&b));
        }
        let band = self.band.band(a.len().max(b.len()))?;
        let (distance_squared, path) = if self.path {
            let alignment = dtw::align(&a, &b, band)?;
            (alignment.distance_squared, Some(alignment.path))
        } else {
            (dtw::distance_squared(&a, &b, band)?, None)
        };
        output.print(&Report { distance: distance_squared.sqrt(), distance_squared, path })
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

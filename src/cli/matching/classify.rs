//! `swarm match classify`.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use swarm_kernels::{KernelError, NearestNeighbour};

use super::{BandArgs, refuse_stdin_twice};
use crate::cli::error::CliError;
use crate::cli::foreground::{self, Watch};
use crate::cli::output::Output;
use crate::input::{self, LabelledSeries, Source};

#[derive(Debug, Args)]
pub(crate) struct Classify {
    /// UCR file with the known series: label TAB values, one series a row; `-` is standard input
    #[arg(long, value_name = "FILE")]
    train: Source,
    /// UCR file with the series to classify and their true labels
    #[arg(long, value_name = "FILE")]
    test: Source,
    #[command(flatten)]
    band: BandArgs,
}

#[derive(Debug, Serialize)]
struct Report {
    errors: usize,
    total: usize,
    error_rate: f64,
    seconds: f64,
}

impl Classify {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        refuse_stdin_twice(&self.train, &self.test)?;
        foreground::run("classifying", move |watch| {
            let train = input::ucr(&self.train)?;
            let test = input::ucr(&self.test)?;
            let started = Instant::now();
            watch.begin(test.len());
            let errors = self.errors(&train, &test, watch)?;
            let seconds = started.elapsed().as_secs_f64();
            let total = test.len();
            output.print(&Report { errors, total, error_rate: errors as f64 / total as f64, seconds })
        })
    }

    fn errors(
        &self,
        train: &[LabelledSeries],
        test: &[LabelledSeries],
        watch: &Watch,
    ) -> Result<usize, CliError> {
        // A band in percent is wider for longer pairs: test series that need other bands go apart.
        let mut by_length = BTreeMap::<usize, Vec<&LabelledSeries>>::new();
        for series in test {
            let length = if self.band.depends_on_length() { series.values.len() } else { 0 };
            by_length.entry(length).or_default().push(series);
        }
        let mut errors = 0;
        for (length, test) in by_length {
            errors += Neighbours::new(train, self.band, length)?.errors(&test, watch)?;
        }
        Ok(errors)
    }
}

/// The training series, in groups that are compared within the same band.
struct Neighbours<'a> {
    train: &'a [LabelledSeries],
    /// Ascending indices into `train`, and the classifier over the series there.
    groups: Vec<(Vec<usize>, NearestNeighbour)>,
}

impl<'a> Neighbours<'a> {
    /// For test series of one length, which matters only where the band depends on it.
    fn new(train: &'a [LabelledSeries], band: BandArgs, length: usize) -> Result<Self, CliError> {
        let mut by_longer = BTreeMap::<usize, Vec<usize>>::new();
        for (index, series) in train.iter().enumerate() {
            let longer = if band.depends_on_length() { length.max(series.values.len()) } else { 0 };
            by_longer.entry(longer).or_default().push(index);
        }
        let mut groups = Vec::new();
        for (longer, indices) in by_longer {
            let series: Vec<_> = indices.iter().map(|&index| &train[index].values).collect();
            groups.push((indices, NearestNeighbour::new(&series, band.band(longer)?)?));
        }
        Ok(Self { train, groups })
    }

    /// Classifies on all cores. The sum does not depend on which core takes which series.
    fn errors(&self, test: &[&LabelledSeries], watch: &Watch) -> Result<usize, KernelError> {
        let next = AtomicUsize::new(0);
        let count_errors = || {
            let mut errors = 0;
            while let Some(series) = test.get(next.fetch_add(1, Ordering::Relaxed)) {
                if watch.is_cancelled() {
                    return Err(KernelError::Cancelled);
                }
                watch.advance(1);
                errors += usize::from(self.label_of_nearest(&series.values)? != Some(&series.label));
            }
            Ok(errors)
        };
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(test.len());
        thread::scope(|scope| {
            let workers: Vec<_> = (0..cores).map(|_| scope.spawn(count_errors)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic))).sum()
        })
    }

    /// The label of the nearest training series, of the first one among equally near ones.
    fn label_of_nearest(&self, series: &[f64]) -> Result<Option<&String>, KernelError> {
        let mut best: Option<(f64, usize)> = None;
        for (indices, classifier) in &self.groups {
            let nearest = classifier.classify(series)?;
            let found = (nearest.distance_squared, indices[nearest.index]);
            if best.is_none_or(|best| found < best) {
                best = Some(found);
            }
        }
        Ok(best.map(|(_, index)| &self.train[index].label))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "errors      {} of {}", self.errors, self.total)?;
        writeln!(f, "error rate  {:.4}", self.error_rate)?;
        writeln!(f, "seconds     {:.3}", self.seconds)
    }
}

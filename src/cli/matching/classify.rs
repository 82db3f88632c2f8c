//! `swarm match classify`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use swarm_kernels::KernelError;
use swarm_kernels::classify::Neighbours;

use super::{BandArgs, refuse_stdin_twice};
use crate::cli::error::CliError;
use crate::cli::foreground::{self, Watch, on_threads};
use crate::cli::node::cores;
use crate::cli::operator::{Connection, MaybeConnection};
use crate::cli::output::Output;
use crate::input::{self, InputError, LabelledSeries, Source, quote};
use crate::swarm::progress::Progress;
use crate::swarm::spread::classify::Classification;

/// How many labels are named where one is unknown.
const LABELS_SHOWN: usize = 5;

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
    #[command(flatten)]
    connection: MaybeConnection,
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
        let (errors, total, seconds) = match self.connection.given() {
            None => foreground::run("classifying", move |watch| {
                let (train, test) = self.read()?;
                let started = Instant::now();
                watch.begin(test.len());
                let errors = self.errors_here(&train, &test, watch)?;
                Ok((errors, test.len(), started.elapsed().as_secs_f64()))
            })?,
            Some(connection) => {
                let (train, test) = self.read()?;
                let (errors, seconds) = self.errors_over(connection, &train, &test)?;
                (errors, test.len(), seconds)
            }
        };
        output.print(&Report { errors, total, error_rate: errors as f64 / total as f64, seconds })
    }

    fn read(&self) -> Result<(Vec<LabelledSeries>, Vec<LabelledSeries>), InputError> {
        let (train, test) = (input::ucr(&self.train)?, input::ucr(&self.test)?);
        self.note_unknown_labels(&train, &test);
        note_equal_values(&train, &test);
        Ok((train, test))
    }

    /// Says which test series cannot be classified rightly.
    fn note_unknown_labels(&self, train: &[LabelledSeries], test: &[LabelledSeries]) {
        let known: BTreeSet<&str> = train.iter().map(|series| series.label.as_str()).collect();
        let unknown: Vec<&str> =
            test.iter().map(|series| series.label.as_str()).filter(|label| !known.contains(label)).collect();
        if let Some(example) = unknown.first() {
            let (unknown, total) = (unknown.len(), test.len());
            input::note(format_args!(
                "{unknown} of {total} series in {} have a label that no series in {} has, such as {}; \
                 labels are compared as text, and there is {}",
                self.test,
                self.train,
                quote(example),
                known.iter().take(LABELS_SHOWN).map(|label| quote(label)).collect::<Vec<_>>().join(", ")
            ));
        }
    }

    fn errors_here(
        &self,
        train: &[LabelledSeries],
        test: &[LabelledSeries],
        watch: &Watch,
    ) -> Result<usize, CliError> {
        let width = self.band.width();
        let values = values_of(train);
        let mut errors = 0;
        for (length, places) in width.by_length(test.iter().map(|series| series.values.len())) {
            let neighbours = Neighbours::new(&values, width, length)?;
            let test: Vec<&LabelledSeries> = places.into_iter().map(|place| &test[place]).collect();
            errors += count_errors(train, &test, &neighbours, watch)?;
        }
        Ok(errors)
    }

    fn errors_over(
        &self,
        connection: Connection,
        train: &[LabelledSeries],
        test: &[LabelledSeries],
    ) -> Result<(usize, f64), CliError> {
        let (train_values, test_values) = (values_of(train), values_of(test));
        let classification = Classification::of(&train_values, &test_values, self.band.rule());
        let classification = classification?;
        connection.run(async |operator, _| {
            let started = Instant::now();
            let nearest = classification.compute(operator, &mut Progress::shown()).await?;
            let is_wrong =
                |(series, nearest): &(&LabelledSeries, usize)| series.label != train[*nearest].label;
            Ok((test.iter().zip(nearest).filter(is_wrong).count(), started.elapsed().as_secs_f64()))
        })
    }
}

/// Says which labels are several classes though their values are equal.
fn note_equal_values(train: &[LabelledSeries], test: &[LabelledSeries]) {
    let mut by_value = BTreeMap::<u64, BTreeSet<&str>>::new();
    for LabelledSeries { label, .. } in train.iter().chain(test) {
        if let Some(value) = label.parse::<f64>().ok().filter(|value| value.is_finite()) {
            // Both zeros are one value.
            by_value.entry((value + 0.0).to_bits()).or_default().insert(label);
        }
    }
    let list = |labels: &BTreeSet<&str>| {
        labels.iter().take(LABELS_SHOWN).map(|label| quote(label)).collect::<Vec<_>>().join(" and ")
    };
    let equal = by_value.values().filter(|labels| labels.len() > 1);
    let equal: Vec<String> = equal.take(LABELS_SHOWN).map(list).collect();
    if !equal.is_empty() {
        input::note(format_args!(
            "labels are compared as text, so some of equal value are different classes: {}",
            equal.join(", ")
        ));
    }
}

fn values_of(series: &[LabelledSeries]) -> Vec<&[f64]> {
    series.iter().map(|one| one.values.as_slice()).collect()
}

/// Classifies on all cores.
fn count_errors(
    train: &[LabelledSeries],
    test: &[&LabelledSeries],
    neighbours: &Neighbours,
    watch: &Watch,
) -> Result<usize, KernelError> {
    let is_wrong = on_threads(test.len(), cores(), |at| {
        if watch.is_cancelled() {
            return Err(KernelError::Cancelled);
        }
        watch.advance(1);
        let nearest = neighbours.nearest(&test[at].values)?;
        Ok(train[nearest.index].label != test[at].label)
    })?;
    Ok(is_wrong.into_iter().filter(|(_, is_wrong)| *is_wrong).count())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "errors      {} of {}", self.errors, self.total)?;
        writeln!(f, "error rate  {:.4}", self.error_rate)?;
        writeln!(f, "seconds     {:.3}", self.seconds)
    }
}

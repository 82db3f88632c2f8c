//! Work that the agents of a swarm do in units: split here, merged here.

pub(crate) mod classify;
pub(crate) mod correlate;
pub(crate) mod distance;
pub(crate) mod search;

use std::collections::BTreeMap;
use std::ops::Range;

use swarm_actors::AskError;
use swarm_protocols::coordinator::{Job, JobResult, TaskError};
use swarm_protocols::series_group::{InvalidGroup, SeriesGroup};
use swarm_protocols::units::{Unit, UnitAnswer, waves};
use swarm_protocols::{Blob, ContentHash, Floats};

use super::job::{JobError, Operator, Terms};
use super::progress::Progress;

/// How often a coordinator is given what it says that it misses: clients with much content may push each other's
/// out of its store.
const ROUNDS_MAX: usize = 4;

/// The inputs of units, by their names.
#[derive(Debug, Default)]
pub(crate) struct Contents(BTreeMap<ContentHash, Content>);

#[derive(Debug)]
struct Content {
    encoded: Blob,
    lengths: Vec<u32>,
}

impl Contents {
    /// Adds a group of series.
    pub(crate) fn add<S: AsRef<[f64]>>(
        &mut self,
        series: impl IntoIterator<Item = S>,
    ) -> Result<ContentHash, InvalidGroup> {
        let series = series.into_iter().map(|values| Floats::from(values.as_ref().to_vec()));
        let group = SeriesGroup::new(series.collect())?;
        let encoded = group.encode();
        let hash = ContentHash::of(&encoded);
        self.0.insert(hash, Content { encoded, lengths: group.lengths() });
        Ok(hash)
    }

    /// The lengths of the series in each input of a unit.
    fn lengths(&self, unit: &Unit) -> Vec<&[u32]> {
        unit.inputs().iter().map(|input| self.0[input].lengths.as_slice()).collect()
    }

    fn waves(&self, units: &[Unit]) -> Vec<Range<usize>> {
        let content_bytes = |hash: &ContentHash| self.0[hash].encoded.len();
        waves(units, content_bytes, |unit| unit.answer_bytes_max(&self.lengths(unit)))
    }
}

impl Operator {
    /// Has agents compute units, all of one kind, on `contents`; the answers are in their order. Their
    /// numbers may be wrong, but nothing else.
    pub(super) async fn compute(
        &self,
        name: &str,
        units: &[Unit],
        contents: &Contents,
        progress: &mut Progress,
    ) -> Result<Vec<UnitAnswer>, JobError> {
        let mut answers = Vec::with_capacity(units.len());
        let waves = contents.waves(units);
        let count = waves.len();
        for (at, wave) in waves.into_iter().enumerate() {
            let name =
                if count > 1 { format!("{name}, task {} of {count}", at + 1) } else { name.to_owned() };
            answers.extend(self.compute_wave(&name, &units[wave], contents, progress).await?);
        }
        Ok(answers)
    }

    async fn compute_wave(
        &self,
        name: &str,
        units: &[Unit],
        contents: &Contents,
        progress: &mut Progress,
    ) -> Result<Vec<UnitAnswer>, JobError> {
        let mut rounds = 1;
        let report = loop {
            let job = Job::Units { units: units.to_vec() };
            match self.submit(name, job, Terms::default(), progress).await {
                Err(JobError::Task(AskError::Handler(TaskError::MissingParts { parts })))
                    if rounds < ROUNDS_MAX =>
                {
                    rounds += 1;
                    progress.stage(format_args!("{name}: handing out its data"));
                    for hash in parts {
                        let content = contents.0.get(&hash).ok_or_else(|| JobError::Answer {
                            reason: format!("it misses {hash}, which nobody needs"),
                        })?;
                        self.store(content.encoded.clone()).await?;
                    }
                }
                report => break report?,
            }
        };
        let impossible = |reason: &dyn ToString| JobError::Answer { reason: reason.to_string() };
        let JobResult::Units(answers) = report.result else {
            return Err(impossible(&"an answer to another job"));
        };
        if answers.len() != units.len() {
            return Err(impossible(&format_args!("{} answers to {} units", answers.len(), units.len())));
        }
        for (unit, answer) in units.iter().zip(&answers) {
            unit.check_answer(&contents.lengths(unit), answer).map_err(|error| impossible(&error))?;
        }
        Ok(answers)
    }
}

//! What actors that do parts of tasks have in common: the way from a request through its inputs to a worker.

use crate::{
    call::{Answer, Call},
    content_store::{Contents, Decoded, Held},
    workers::{WorkError, Workers},
};
use std::{collections::BTreeSet, sync::Arc};
use swarm_kernels::KernelError;
use swarm_protocols::{
    ContentHash, Floats,
    part::{PartError, PartRequest, TooMuchWork},
    series_group::{InvalidGroup, SeriesGroup},
    series_matcher::SeriesRequest,
    similar_windows::{InvalidPart, SeriesPart},
};

/// What an entry of a list of series takes in memory beside its values.
const ENTRY_BYTES: usize = 48;

impl Decoded for SeriesGroup {
    type Error = InvalidGroup;

    fn decode(bytes: &[u8]) -> Result<Self, InvalidGroup> {
        SeriesGroup::decode(bytes)
    }

    fn bytes(&self) -> usize {
        self.series().iter().map(|values| values.len() * size_of::<f64>() + ENTRY_BYTES).sum()
    }
}

impl Decoded for SeriesPart {
    type Error = InvalidPart;

    fn decode(bytes: &[u8]) -> Result<Self, InvalidPart> {
        SeriesPart::decode(bytes)
    }

    fn bytes(&self) -> usize {
        self.days().len() * (size_of::<i32>() + size_of::<f64>())
    }
}

/// Whether somebody still waits for the work: to be asked now and then.
pub(crate) type Cancelled<'a> = &'a (dyn Fn() -> bool + Sync);

/// Answers a part by `work`, which a worker does on the decoded inputs.
pub(crate) fn answer<R, T>(
    contents: &Contents,
    workers: &Workers,
    call: Call<R>,
    work: impl FnOnce(&R, &[Arc<T>], Cancelled<'_>) -> Result<R::Reply, PartError> + Send + 'static,
) -> Answer<R>
where
    R: PartRequest<Error = PartError> + Sync,
    T: Decoded,
{
    let inputs = contents.all(call.request.inputs());
    let workers = workers.clone();
    call.answer_or_decline(async move |call| {
        let inputs = match inputs {
            Ok(inputs) => inputs,
            Err(hashes) => return Some(Err(missing(hashes))),
        };
        let cancellation = call.cancellation();
        let done = workers.run(move || {
            let inputs: Vec<Arc<T>> = inputs.iter().map(decoded).collect::<Result<_, _>>()?;
            work(&call.request, &inputs, &|| cancellation.is_cancelled())
        });
        match done.await {
            Ok(done) => Some(done),
            Err(WorkError::Busy) => None,
            // Passed on, so that the caller is told what happened here.
            Err(WorkError::Panicked) => panic!("the work panicked"),
        }
    })
}

/// Answers a part whose inputs are groups of series by `work`, if it makes sense with them and is within
/// [`CELLS_MAX`](swarm_protocols::part::CELLS_MAX).
pub(crate) fn answer_series<R: SeriesRequest + Sync>(
    contents: &Contents,
    workers: &Workers,
    call: Call<R>,
    work: impl FnOnce(&R, &Groups<'_>, Cancelled<'_>) -> Result<R::Reply, KernelError> + Send + 'static,
) -> Answer<R> {
    answer(contents, workers, call, |request, inputs: &[Arc<SeriesGroup>], cancelled| {
        let lengths: Vec<Vec<u32>> = inputs.iter().map(|group| group.lengths()).collect();
        let lengths: Vec<&[u32]> = lengths.iter().map(Vec::as_slice).collect();
        request.check(&lengths)?;
        TooMuchWork::unless_within(request.cells(&lengths)).map_err(PartError::invalid)?;
        work(request, &Groups(inputs), cancelled).map_err(part_error)
    })
}

/// The error of a kernel as that of a part.
pub(crate) fn part_error(error: KernelError) -> PartError {
    match error {
        KernelError::Cancelled => PartError::Cancelled,
        error => PartError::invalid(error),
    }
}

fn missing(hashes: BTreeSet<ContentHash>) -> PartError {
    PartError::MissingInputs { hashes: hashes.into_iter().collect() }
}

fn decoded<T: Decoded>(held: &Held) -> Result<Arc<T>, PartError> {
    held.decoded().map_err(|error| PartError::invalid(format_args!("the input {}: {error}", held.hash())))
}

/// The groups that a part is computed on.
pub(crate) struct Groups<'a>(&'a [Arc<SeriesGroup>]);

impl Groups<'_> {
    /// The series of the input at this position.
    pub(crate) fn series(&self, input: usize) -> &[Floats] {
        self.0[input].series()
    }

    /// The series of all inputs, one after the other.
    pub(crate) fn all_series(&self) -> impl Iterator<Item = &Floats> {
        self.0.iter().flat_map(|group| group.series())
    }
}

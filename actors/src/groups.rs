//! What actors that compute units of work have in common: the series they keep, and the way to the workers.

use crate::{
    call::{Answer, Call},
    part_store::PartStore,
    workers::{WorkError, Workers},
};
use std::sync::Arc;
use swarm_kernels::KernelError;
use swarm_protocols::{
    Blob, ContentHash, Floats, Part, UnknownPart,
    similar_windows::StoreError,
    units::{UnitError, UnitRequest},
};

/// Decodes a part and keeps it.
pub(crate) fn store(parts: &mut PartStore<Part>, encoded: &Blob) -> Result<ContentHash, StoreError> {
    let part = Part::decode(encoded).map_err(|unknown: UnknownPart| StoreError::from(unknown))?;
    let hash = ContentHash::of(encoded);
    let weight = part.weight(encoded.len());
    parts.insert(hash, part, weight)?;
    Ok(hash)
}

/// The inputs of a unit, which stay in the store as long as this is held.
pub(crate) struct Groups(Vec<Arc<Part>>);

impl Groups {
    /// What `unit` is computed on, if all of it is here and the unit makes sense with it.
    fn of(parts: &mut PartStore<Part>, unit: &impl UnitRequest) -> Result<Self, UnitError> {
        let (mut held, mut missing) = (Vec::new(), Vec::new());
        for hash in unit.inputs() {
            match parts.get(&hash) {
                Some(part) if matches!(*part, Part::Group(_)) => held.push(part),
                Some(_) => {
                    return Err(UnitError::Invalid { reason: format!("{hash} is no group of series") });
                }
                None => missing.push(hash),
            }
        }
        if !missing.is_empty() {
            return Err(UnitError::MissingParts { parts: missing });
        }
        let groups = Self(held);
        let lengths: Vec<Vec<u32>> = groups.0.iter().map(|part| part.lengths()).collect();
        let lengths: Vec<&[u32]> = lengths.iter().map(Vec::as_slice).collect();
        unit.check(&lengths)?;
        Ok(groups)
    }

    /// The series of the input at this position.
    pub(crate) fn series(&self, input: usize) -> &[Floats] {
        match &*self.0[input] {
            Part::Group(group) => group.series(),
            Part::Series(_) => unreachable!("refused when the groups were looked up"),
        }
    }

    /// The series of all inputs, one after the other.
    pub(crate) fn all_series(&self) -> impl Iterator<Item = &Floats> {
        (0..self.0.len()).flat_map(|input| self.series(input))
    }
}

/// Answers a unit by `work`, which computes it on a worker and asks now and then whether it should stop.
pub(crate) fn answer<R: UnitRequest + Sync>(
    parts: &mut PartStore<Part>,
    workers: &Workers,
    call: Call<R>,
    work: impl FnOnce(&R, &Groups, &(dyn Fn() -> bool + Sync)) -> Result<R::Reply, KernelError> + Send + 'static,
) -> Answer<R> {
    let groups = Groups::of(parts, &call.request);
    let workers = workers.clone();
    call.answer(async move |call| {
        let groups = groups?;
        let cancellation = call.cancellation();
        let done = workers.run(move || work(&call.request, &groups, &|| cancellation.is_cancelled())).await;
        match done {
            Ok(done) => done.map_err(|error| match error {
                KernelError::Cancelled => UnitError::Cancelled,
                error => UnitError::Invalid { reason: error.to_string() },
            }),
            Err(WorkError::Busy) => Err(UnitError::Busy),
            // Passed on, so that the caller is told what happened here.
            Err(WorkError::Panicked) => panic!("the work panicked"),
        }
    })
}

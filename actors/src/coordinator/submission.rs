//! A task between its client and the board.

use super::{Coordinator, now};
use crate::workers::{WorkError, Workers};
use actix::{Addr, Message};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use swarm_protocols::{
    Blob, ContentHash, NodeId, Part, UnknownPart,
    coordinator::{
        Job, JobResult, SubmitTask, TaskError, TaskId, TaskReport, board::NewTask, board::Waiting,
    },
    similar_windows::{self, SimilarInPart, Symbol, WindowQuery, WindowRule},
    units::{ANSWER_BYTES_MAX, Lengths, Unit, UnitAnswer},
};
use tokio::sync::oneshot;

/// How long a finished task waits before it tries again to get a busy worker for its merge.
const MERGE_RETRY: Duration = Duration::from_millis(10);

/// A part as the coordinator keeps it.
#[derive(Debug)]
pub(super) struct StoredPart {
    pub(super) encoded: Blob,
    content: Content,
}

/// What the coordinator knows of the content of a part.
#[derive(Debug)]
enum Content {
    /// The series of a part of a pattern library.
    Series(Symbol),
    /// The lengths of the series in a group.
    Group(Vec<u32>),
}

impl StoredPart {
    /// The part with what it weighs in the store; the bytes come from a client and are checked.
    pub(super) fn new(encoded: Blob) -> Result<(Self, usize), UnknownPart> {
        let part = Part::decode(&encoded)?;
        let weight = part.weight(encoded.len());
        let content = match part {
            Part::Series(part) => Content::Series(part.symbol().clone()),
            Part::Group(group) => Content::Group(group.lengths()),
        };
        Ok((Self { encoded, content }, weight))
    }
}

/// A job in the form in which its parts are asked for. It holds its content, which is not evicted as long as
/// that is so.
#[derive(Debug, Clone)]
pub(super) enum Work {
    Search(Arc<PartedSearch>),
    Units(Arc<Vec<PartedUnit>>),
}

/// A search of a pattern library, a part each.
#[derive(Debug)]
pub(super) struct PartedSearch {
    pub(super) rule: WindowRule,
    pub(super) queries: Vec<WindowQuery>,
    pub(super) parts: Vec<LibraryPart>,
}

#[derive(Debug)]
pub(super) struct LibraryPart {
    pub(super) hash: ContentHash,
    pub(super) symbol: Symbol,
    pub(super) part: Arc<StoredPart>,
}

/// A unit of work with its inputs.
#[derive(Debug)]
pub(super) struct PartedUnit {
    pub(super) unit: Unit,
    pub(super) inputs: Vec<(ContentHash, Arc<StoredPart>)>,
}

/// What an agent made of a part of a task.
#[derive(Debug)]
pub(super) enum PartAnswer {
    Similar(SimilarInPart),
    Unit(UnitAnswer),
}

impl PartedUnit {
    /// How long the series of each input are.
    pub(super) fn lengths(&self) -> Result<Vec<Lengths<'_>>, TaskError> {
        let lengths = self.inputs.iter().map(|(hash, part)| match &part.content {
            Content::Group(lengths) => Ok(lengths.as_slice()),
            Content::Series(_) => Err(TaskError::Invalid { reason: format!("{hash} is no group of series") }),
        });
        lengths.collect()
    }
}

impl Work {
    /// What the parts are made of; of a unit its first input.
    fn hashes(&self) -> Vec<ContentHash> {
        match self {
            Work::Search(search) => search.parts.iter().map(|part| part.hash).collect(),
            Work::Units(units) => units.iter().map(|unit| unit.inputs[0].0).collect(),
        }
    }

    /// Parts of a library are searched fast, and best where they are kept; units take longer than handing out
    /// what they need.
    fn waiting(&self) -> Waiting {
        match self {
            Work::Search(_) => Waiting::ForHome,
            Work::Units(_) => Waiting::ForAnyone,
        }
    }
}

/// A task on the board.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) work: Work,
    client: oneshot::Sender<Result<Finished, TaskError>>,
}

impl Running {
    pub(super) fn is_abandoned(&self) -> bool {
        self.client.is_closed()
    }
}

type Accepted = oneshot::Receiver<Result<Finished, TaskError>>;

impl Coordinator {
    /// Puts a task on the board, or says why not.
    pub(super) fn accept(&mut self, submitted: &SubmitTask) -> Result<Accepted, TaskError> {
        let SubmitTask { id, priority, deadline, job } = submitted;
        job.check()?;
        let work = self.work_of(job)?;
        let now = now();
        let task = NewTask {
            id: *id,
            kind: job.kind(),
            priority: *priority,
            // A deadline beyond what a clock can say is none.
            deadline: deadline.and_then(|within| now.checked_add(within)),
            capability: job.capability().to_owned(),
            parts: work.hashes(),
            waiting: work.waiting(),
        };
        self.board.submit(task, now)?;
        let (client, outcome) = oneshot::channel();
        self.tasks.insert(*id, Running { work, client });
        Ok(outcome)
    }

    fn work_of(&mut self, job: &Job) -> Result<Work, TaskError> {
        match job {
            Job::SimilarWindows { rule, queries, library } => {
                let parts = self.library_of(library)?;
                let search = PartedSearch { rule: *rule, queries: queries.clone(), parts };
                Ok(Work::Search(Arc::new(search)))
            }
            Job::Units { units } => Ok(Work::Units(Arc::new(self.units_of(units)?))),
        }
    }

    /// The parts of these names, which are all there.
    fn stored(
        &mut self,
        hashes: impl IntoIterator<Item = ContentHash>,
    ) -> Result<Vec<(ContentHash, Arc<StoredPart>)>, TaskError> {
        let (mut stored, mut missing) = (Vec::new(), BTreeSet::new());
        for hash in hashes {
            match self.library.get(&hash) {
                Some(part) => stored.push((hash, part)),
                None => drop(missing.insert(hash)),
            }
        }
        if missing.is_empty() {
            Ok(stored)
        } else {
            Err(TaskError::MissingParts { parts: missing.into_iter().collect() })
        }
    }

    fn library_of(&mut self, library: &[ContentHash]) -> Result<Vec<LibraryPart>, TaskError> {
        let mut symbols = BTreeSet::new();
        let mut parts = Vec::with_capacity(library.len());
        for (hash, part) in self.stored(library.iter().copied())? {
            let Content::Series(symbol) = &part.content else {
                return Err(TaskError::Invalid { reason: format!("{hash} is no part of a pattern library") });
            };
            let symbol = symbol.clone();
            if !symbols.insert(symbol.clone()) {
                // Matches of two parts would not keep apart from each other.
                let reason = format!("two parts of its library are of the series {symbol}");
                return Err(TaskError::Invalid { reason });
            }
            parts.push(LibraryPart { hash, symbol, part });
        }
        Ok(parts)
    }

    fn units_of(&mut self, units: &[Unit]) -> Result<Vec<PartedUnit>, TaskError> {
        // All that is missing is told at once.
        let inputs = self.stored(units.iter().flat_map(Unit::inputs))?;
        let mut inputs = inputs.into_iter();
        let mut parted = Vec::with_capacity(units.len());
        let mut answer_bytes = 0_usize;
        for (at, unit) in units.iter().enumerate() {
            let invalid = |reason| TaskError::Invalid { reason: format!("unit {at}: {reason}") };
            let inputs: Vec<_> = inputs.by_ref().take(unit.inputs().len()).collect();
            if inputs.is_empty() {
                return Err(invalid("it has no input".to_owned()));
            }
            let unit = PartedUnit { unit: unit.clone(), inputs };
            let lengths = unit.lengths()?;
            unit.unit.check(&lengths).map_err(|error| invalid(error.to_string()))?;
            answer_bytes = answer_bytes.saturating_add(unit.unit.answer_bytes_max(&lengths));
            parted.push(unit);
        }
        if answer_bytes > ANSWER_BYTES_MAX {
            let reason =
                format!("its answers may have {answer_bytes} bytes, {ANSWER_BYTES_MAX} are the limit");
            return Err(TaskError::Invalid { reason });
        }
        Ok(parted)
    }

    /// Tells the client of a task that has left the board.
    pub(super) fn end(&mut self, task: TaskId, outcome: impl FnOnce(Work) -> Result<Finished, TaskError>) {
        let Running { work, client } = self.tasks.remove(&task).expect("a task on the board is known here");
        // A client that left in this very moment is no error.
        let _left = client.send(outcome(work));
    }
}

/// The client of a task stopped waiting, or has its answer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct ClientLeft {
    pub(super) task: TaskId,
}

impl ClientLeft {
    pub(super) fn when_dropped(task: TaskId, coordinator: Addr<Coordinator>) -> SendClientLeft {
        SendClientLeft { task, coordinator }
    }
}

pub(super) struct SendClientLeft {
    task: TaskId,
    coordinator: Addr<Coordinator>,
}

impl Drop for SendClientLeft {
    fn drop(&mut self) {
        self.coordinator.do_send(ClientLeft { task: self.task });
    }
}

/// Waits for the board to be through with a task; when that is dropped, the coordinator hears it.
pub(super) async fn outcome(accepted: Accepted, left: SendClientLeft) -> Result<Finished, TaskError> {
    let _left = left;
    accepted.await.unwrap_or(Err(TaskError::Cancelled))
}

/// A task whose parts are all done.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) work: Work,
    pub(super) results: Vec<PartAnswer>,
    pub(super) agents: BTreeSet<NodeId>,
}

impl Finished {
    /// Makes one result of those of the parts.
    pub(super) async fn merge(self, workers: &Workers) -> Result<TaskReport, TaskError> {
        let Finished { work, results, agents } = self;
        let result = match work {
            Work::Units(_) => JobResult::Units(results.into_iter().filter_map(PartAnswer::unit).collect()),
            Work::Search(search) => {
                let symbols = search.parts.iter().map(|part| part.symbol.clone());
                let parts = symbols.zip(results.into_iter().filter_map(PartAnswer::similar)).collect();
                JobResult::SimilarWindows(merged(search, parts, workers).await)
            }
        };
        Ok(TaskReport { result, agents })
    }
}

impl PartAnswer {
    fn unit(self) -> Option<UnitAnswer> {
        match self {
            PartAnswer::Unit(answer) => Some(answer),
            PartAnswer::Similar(_) => None,
        }
    }

    fn similar(self) -> Option<SimilarInPart> {
        match self {
            PartAnswer::Similar(found) => Some(found),
            PartAnswer::Unit(_) => None,
        }
    }
}

/// Merges a search. That takes about as long as sorting the returns of all candidates for every query, so it is
/// work for workers; it waits for them where they are busy.
async fn merged(
    search: Arc<PartedSearch>,
    parts: BTreeMap<Symbol, SimilarInPart>,
    workers: &Workers,
) -> similar_windows::SimilarWindows {
    let parts = Arc::new(parts);
    loop {
        let (search, parts) = (Arc::clone(&search), Arc::clone(&parts));
        let merging = workers.run(move || similar_windows::merge(&search.rule, &search.queries, &parts));
        match merging.await {
            Ok(merged) => return merged.expect("every reply was checked when it came"),
            Err(WorkError::Busy) => tokio::time::sleep(MERGE_RETRY).await,
            // Passed on, so that the client is told what happened here.
            Err(WorkError::Panicked) => panic!("the merge panicked"),
        }
    }
}

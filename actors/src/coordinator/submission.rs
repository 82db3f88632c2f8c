//! A task between its client and the board.

use super::{Coordinator, PATTERN_MATCHER, now};
use crate::workers::{WorkError, Workers};
use actix::{Addr, Message};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use swarm_protocols::{
    Blob, ContentHash, NodeId,
    coordinator::{Job, JobResult, SubmitTask, TaskError, TaskId, TaskReport, board::NewTask},
    similar_windows::{self, SimilarInPart, Symbol, WindowQuery, WindowRule},
};
use tokio::sync::oneshot;

/// How long a finished task waits before it tries again to get a busy worker for its merge.
const MERGE_RETRY: Duration = Duration::from_millis(10);

/// A part as the coordinator keeps it.
#[derive(Debug)]
pub(super) struct LibraryPart {
    pub(super) symbol: Symbol,
    pub(super) encoded: Blob,
}

/// A job in the form in which its parts are asked for. It holds its part of the library, which is
/// not evicted as long as that is so.
#[derive(Debug)]
pub(super) struct PartedSearch {
    pub(super) rule: WindowRule,
    pub(super) queries: Vec<WindowQuery>,
    pub(super) parts: Vec<(ContentHash, Arc<LibraryPart>)>,
}

/// A task on the board.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) search: Arc<PartedSearch>,
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
        let search = self.search_of(job)?;
        let now = now();
        let task = NewTask {
            id: *id,
            kind: job.kind(),
            priority: *priority,
            // A deadline beyond what a clock can say is none.
            deadline: deadline.and_then(|within| now.checked_add(within)),
            capability: PATTERN_MATCHER.to_owned(),
            parts: search.parts.iter().map(|(hash, _)| *hash).collect(),
        };
        self.board.submit(task, now)?;
        let (client, outcome) = oneshot::channel();
        self.tasks.insert(*id, Running { search: Arc::new(search), client });
        Ok(outcome)
    }

    fn search_of(&mut self, job: &Job) -> Result<PartedSearch, TaskError> {
        let Job::SimilarWindows { rule, queries, library } = job;
        let (mut parts, mut missing) = (Vec::with_capacity(library.len()), Vec::new());
        for hash in library {
            match self.library.get(hash) {
                Some(part) => parts.push((*hash, part)),
                None => missing.push(*hash),
            }
        }
        if !missing.is_empty() {
            return Err(TaskError::MissingParts { parts: missing });
        }
        let mut symbols = BTreeSet::new();
        if let Some((_, twice)) = parts.iter().find(|(_, part)| !symbols.insert(&part.symbol)) {
            // Matches of two parts would not keep apart from each other.
            let reason = format!("two parts of its library are of the series {}", twice.symbol);
            return Err(TaskError::Invalid { reason });
        }
        Ok(PartedSearch { rule: *rule, queries: queries.clone(), parts })
    }

    /// Tells the client of a task that has left the board.
    pub(super) fn end(
        &mut self,
        task: TaskId,
        outcome: impl FnOnce(Arc<PartedSearch>) -> Result<Finished, TaskError>,
    ) {
        let Running { search, client } = self.tasks.remove(&task).expect("a task on the board is known here");
        // A client that left in this very moment is no error.
        let _left = client.send(outcome(search));
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
    pub(super) search: Arc<PartedSearch>,
    pub(super) results: Vec<SimilarInPart>,
    pub(super) agents: BTreeSet<NodeId>,
}

impl Finished {
    /// Makes one result of those of the parts. Takes about as long as sorting the returns of all
    /// candidates for every query, so it is work for workers; it waits for them where they are busy.
    pub(super) async fn merge(self, workers: &Workers) -> Result<TaskReport, TaskError> {
        let Finished { search, results, agents } = self;
        let symbols = search.parts.iter().map(|(_, part)| part.symbol.clone());
        let parts: Arc<BTreeMap<Symbol, SimilarInPart>> = Arc::new(symbols.zip(results).collect());
        loop {
            let (search, parts) = (Arc::clone(&search), Arc::clone(&parts));
            let merged =
                workers.run(move || similar_windows::merge(&search.rule, &search.queries, &parts)).await;
            match merged {
                Ok(merged) => {
                    let merged = merged.expect("every reply was checked when it came");
                    return Ok(TaskReport { result: JobResult::SimilarWindows(merged), agents });
                }
                Err(WorkError::Busy) => tokio::time::sleep(MERGE_RETRY).await,
                // Passed on, so that the client is told what happened here.
                Err(WorkError::Panicked) => panic!("the merge panicked"),
            }
        }
    }
}

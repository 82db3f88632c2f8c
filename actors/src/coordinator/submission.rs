//! A task between its client and the board.

use super::Coordinator;
use crate::{
    call::{Answer, Call},
    content_store::Held,
    workers::{HERE_BYTES_MAX, beside},
};
use actix::{ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use std::{collections::BTreeSet, sync::Arc};
use swarm_protocols::{
    ContentHash, DeliveryError,
    coordinator::{
        Part, SubmitTask, TaskError, TaskId, TaskReport,
        board::{Input, NewTask},
    },
};
use tokio::sync::oneshot;

/// How a task ended, or why it was not done here.
pub(super) type Outcome = Result<Result<Arc<TaskReport>, TaskError>, DeliveryError>;

/// A request that submits a task.
#[derive(Debug)]
struct Waits {
    outcome: oneshot::Sender<Outcome>,
    /// Nobody waits for the answer.
    is_told: bool,
}

/// The client of a task that is being submitted, and the inputs of it.
#[derive(Debug)]
pub(super) struct Client {
    /// Empty where it is no node.
    name: String,
    waits: Waits,
    inputs: Vec<Held>,
}

/// A task on the board.
#[derive(Debug)]
pub(super) struct Running {
    /// Its client, once for each request that waits for it.
    waits: Vec<Waits>,
    /// Whose share its inputs take.
    client: String,
    /// What is held is not evicted.
    inputs: Vec<Held>,
}

impl Coordinator {
    /// Puts a task on the board whose client waits, or says why not.
    fn submit(&mut self, task: Result<NewTask, TaskError>, waits: Waits, context: &mut Context<Self>) {
        let with_inputs = task.and_then(|task| Ok((self.inputs(&task)?, task)));
        match with_inputs {
            // While it was checked its client may have left.
            Ok(_) if self.is_left(&waits) => {}
            Ok((inputs, task)) => {
                let name = task.client().to_owned();
                self.submitting = Some(Client { name, waits, inputs });
                self.apply(Input::Submitted(task), context);
            }
            Err(error) => drop(waits.outcome.send(Ok(Err(error)))),
        }
    }

    /// The inputs of a task, each once: what many parts share takes no memory for each of them. A task that is known since
    /// before takes no share.
    fn inputs(&self, task: &NewTask) -> Result<Vec<Held>, TaskError> {
        let hashes: BTreeSet<ContentHash> =
            task.task().parts.iter().flat_map(|part| part.inputs.iter().copied()).collect();
        let (mut inputs, mut missing) = (Vec::new(), Vec::new());
        for hash in hashes {
            match self.contents.get(&hash) {
                Some(input) => inputs.push(input),
                None => missing.push(hash),
            }
        }
        let is_new = !self.board.remembers(task.task().id);
        if is_new {
            // First: what is too much pushes itself out, so that some is missing however often it is given.
            let bytes = inputs.iter().map(Held::counted).sum();
            TaskError::unless_fits("inputs", bytes, self.contents.bytes_max_and_held().0)?;
        }
        if !missing.is_empty() {
            return Err(TaskError::MissingContent { hashes: missing });
        }
        if is_new {
            self.inputs_held.check(task.client(), &inputs, &self.contents)?;
        }
        Ok(inputs)
    }

    /// The task that is being submitted is on the board.
    pub(super) fn accepted(&mut self, task: TaskId) {
        if let Some(Client { name: client, waits, inputs }) = self.submitting.take() {
            self.inputs_held.add(&client, &inputs);
            self.tasks.insert(task, Running { waits: vec![waits], client, inputs });
        }
    }

    /// The task that is being submitted is on the board since before.
    pub(super) fn joined(&mut self, task: TaskId) {
        let running = self.tasks.get_mut(&task).expect("a task on the board is known here");
        running.waits.retain(|waits| !waits.outcome.is_closed());
        running.waits.extend(self.submitting.take().map(|Client { waits, .. }| waits));
    }

    /// The task that is being submitted is not put on the board.
    pub(super) fn answer(&mut self, outcome: Outcome) {
        if let Some(Client { waits, .. }) = self.submitting.take() {
            // A client that left in this very moment is no error.
            let _left = waits.outcome.send(outcome);
        }
    }

    /// Tells the client of a task that has left the board.
    pub(super) fn end(&mut self, task: TaskId, outcome: Outcome) {
        let Running { waits, client, inputs } =
            self.tasks.remove(&task).expect("a task on the board is known here");
        self.inputs_held.remove(&client, &inputs);
        for waits in waits {
            let _left = waits.outcome.send(outcome.clone());
        }
    }

    /// Whether a task need not go on for this request. One that nobody waits for holds no drain up.
    fn is_left(&self, waits: &Waits) -> bool {
        waits.outcome.is_closed() || (self.is_draining && waits.is_told)
    }

    /// Cancels the tasks that need not go on.
    pub(super) fn cancel_left(&mut self, context: &mut Context<Self>) {
        let left = |(_, running): &(&TaskId, &Running)| running.waits.iter().all(|waits| self.is_left(waits));
        let left: Vec<TaskId> = self.tasks.iter().filter(left).map(|(task, _)| *task).collect();
        left.into_iter().for_each(|task| self.apply(Input::Cancelled { task }, context));
    }
}

impl Handler<Call<SubmitTask>> for Coordinator {
    type Result = Answer<SubmitTask>;

    fn handle(&mut self, mut call: Call<SubmitTask>, context: &mut Self::Context) -> Self::Result {
        // Another coordinator may have passed it on: the task is that of whom it asks for.
        let submitter = call.on_behalf_of().or(call.caller()).cloned();
        let parts = std::mem::take(&mut call.request.parts);
        let task = SubmitTask { parts, ..call.request.clone() };
        let (waits, outcome) = oneshot::channel();
        let waits = Waits { outcome: waits, is_told: call.is_told() };
        let hashed = |part: &Part| part.payload.len() + part.inputs.len() * size_of::<ContentHash>();
        let bytes = task.parts.iter().map(hashed).sum();
        let check = move || NewTask::new(task, submitter);
        if bytes <= HERE_BYTES_MAX {
            // At once: what comes behind it may be about it.
            self.submit(check(), waits, context);
        } else {
            let checked = beside(bytes, check).into_actor(self);
            context.spawn(checked.map(|task, coordinator, context| coordinator.submit(task, waits, context)));
        }
        let left = SendClientLeft { task: call.request.id, coordinator: context.address() };
        call.answer_or_fail(|_| async move {
            let _left = left;
            let outcome = outcome.await.unwrap_or(Ok(Err(TaskError::Cancelled)))?;
            Ok(outcome.map(Arc::unwrap_or_clone))
        })
    }
}

/// The client of a task stopped waiting, or has its answer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct ClientLeft {
    task: TaskId,
}

struct SendClientLeft {
    task: TaskId,
    coordinator: Addr<Coordinator>,
}

impl Drop for SendClientLeft {
    fn drop(&mut self) {
        self.coordinator.do_send(ClientLeft { task: self.task });
    }
}

impl Handler<ClientLeft> for Coordinator {
    type Result = ();

    fn handle(&mut self, ClientLeft { task }: ClientLeft, context: &mut Self::Context) {
        // Another request may wait for a task of the same id by now.
        let is_left = |running: &Running| running.waits.iter().all(|waits| self.is_left(waits));
        if self.tasks.get(&task).is_some_and(is_left) {
            self.apply(Input::Cancelled { task }, context);
        }
    }
}

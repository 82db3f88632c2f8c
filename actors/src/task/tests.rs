//! A client against a probe that is asked as a coordinator is.

use super::*;
use crate::mailbox::{Attempt, Choice, Layer};
use crate::testing::{Asked, Probe};
use actix_rt::task::JoinHandle;
use serde::{Deserialize, Serialize};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use swarm_protocols::{
    Delivery, Request,
    coordinator::board::{ANSWER_BYTES_MAX, PARTS_MAX},
    part::{Impossible, PartError},
    protocol,
};

/// Doubles what is in an input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Request)]
#[request(name = "double", version = 3, reply = u32, error = PartError)]
struct Double {
    input: ContentHash,
}

protocol! {
    Doubler = "doubler" { Double }
}

impl PartRequest for Double {
    type Protocol = Doubler;
    type Input = u32;

    fn inputs(&self) -> Vec<ContentHash> {
        vec![self.input]
    }

    fn answer_bytes_max(&self, inputs: &[&u32]) -> usize {
        // One input stands for an answer that is as long as those of a task may be.
        if *inputs[0] == u32::MAX { ANSWER_BYTES_MAX } else { 5 }
    }

    fn check_answer(&self, inputs: &[&u32], answer: &u32) -> Result<(), Impossible> {
        Impossible::unless(answer.is_multiple_of(2), format_args!("{answer} is not twice {}", inputs[0]))
    }
}

/// Leads to a coordinator that may be away.
struct Restarted {
    coordinator: Mailbox<Coordinator>,
    is_away: Arc<AtomicBool>,
}

impl Layer<Coordinator> for Restarted {
    fn choose(&self, _: &Attempt<'_>) -> Result<Choice<Coordinator>, DeliveryError> {
        if self.is_away.load(Ordering::SeqCst) {
            let (reason, delivery) = ("killed".to_owned(), Delivery::NotSent);
            return Err(DeliveryError::SessionLost { reason, delivery });
        }
        Ok(Choice::new(self.coordinator.clone()))
    }
}

type Doubling = JoinHandle<Result<Done<u32>, SubmitError<PartError>>>;

struct Client {
    coordinator: Mailbox<Coordinator>,
    probe: Probe<Coordinator>,
}

impl Client {
    /// In virtual time.
    fn new() -> Self {
        tokio::time::pause();
        let (coordinator, probe) = Probe::new();
        Self { coordinator, probe }
    }

    /// From now on the coordinator can be away.
    fn restarts(&mut self) -> Arc<AtomicBool> {
        let is_away = Arc::default();
        let layer = Restarted { coordinator: self.coordinator.clone(), is_away: Arc::clone(&is_away) };
        self.coordinator = Mailbox::layered(layer);
        is_away
    }

    fn double(&self, numbers: &[u32]) -> Doubling {
        let (coordinator, mut inputs) = (self.coordinator.clone(), Inputs::new());
        let requests: Vec<Double> =
            numbers.iter().map(|number| Double { input: inputs.add(content(*number), *number) }).collect();
        actix_rt::spawn(
            async move { Task::parts(requests).inputs(&inputs).kind("x2").submit(&coordinator).await },
        )
    }

    /// Lets the client know which of its inputs are missing.
    async fn misses(&mut self, numbers: &[u32]) {
        let asked = self.probe.expect::<MissingContent>().await;
        asked.reply(Ok(numbers.iter().map(|number| name(*number)).collect()));
    }

    async fn is_given(&mut self, number: u32) {
        let stored = self.probe.expect::<StoreContent>().await;
        assert_eq!(stored.request().content, content(number));
        stored.reply(Ok(name(number)));
    }

    async fn submitted(&mut self) -> Asked<SubmitTask> {
        self.probe.expect::<SubmitTask>().await
    }
}

fn content(number: u32) -> Blob {
    number.to_le_bytes().to_vec().into()
}

fn name(number: u32) -> ContentHash {
    ContentHash::of(&content(number))
}

/// The answers of agents to a task.
fn report<T: Serialize>(answers: &[(&str, T)]) -> Result<TaskReport, TaskError> {
    let answer = |(agent, answer): &(&str, T)| PartAnswer {
        agent: agent.parse().unwrap(),
        reply: codec::encode(answer).unwrap().into(),
    };
    Ok(TaskReport { answers: answers.iter().map(answer).collect() })
}

fn names(of: impl IntoIterator<Item = NodeId>) -> Vec<String> {
    of.into_iter().map(|agent| agent.to_string()).collect()
}

#[actix::test]
async fn the_coordinator_is_given_what_it_lacks_and_then_the_task() {
    let mut client = Client::new();
    let doubling = client.double(&[1, 2, 3]);
    client.misses(&[3, 1]).await;
    client.is_given(3).await;
    client.is_given(1).await;
    let asked = client.submitted().await;
    let SubmitTask { kind, protocol, parts, avoid, deadline, .. } = asked.request();
    assert_eq!((kind.as_str(), protocol.as_str(), *deadline), ("x2", "doubler", None));
    assert!(avoid.is_empty());
    assert_eq!(parts.len(), 3);
    for (part, number) in parts.iter().zip([1, 2, 3]) {
        assert_eq!((part.request.as_str(), part.version), ("double", 3));
        assert_eq!(codec::decode(&part.payload), Ok(Double { input: name(number) }));
        assert_eq!(part.inputs, [name(number)]);
    }
    asked.reply(report(&[("a", 2_u32), ("b", 4), ("a", 6)]));
    let done = doubling.await.unwrap().unwrap();
    assert_eq!(
        (done.answers, names(done.agents), done.liars.len()),
        (vec![2, 4, 6], vec!["a".into(), "b".into()], 0)
    );
}

#[actix::test]
async fn content_that_was_evicted_meanwhile_is_given_again_but_not_for_ever() {
    let mut client = Client::new();
    let doubling = client.double(&[1]);
    client.misses(&[]).await;
    let missing = || Err(TaskError::MissingContent { hashes: vec![name(1)] });
    for _ in 1..UPLOADS_MAX {
        client.submitted().await.reply(missing());
        client.is_given(1).await;
    }
    client.submitted().await.reply(missing());
    assert_eq!(doubling.await.unwrap(), Err(SubmitError::Task(missing().unwrap_err())));
}

#[actix::test]
async fn what_a_liar_answered_is_asked_of_others_all_of_it() {
    let mut client = Client::new();
    let doubling = client.double(&[1, 2, 3, 4]);
    client.misses(&[]).await;
    client.submitted().await.reply(report(&[("a", 2_u32), ("liar", 4), ("liar", 7), ("a", 8)]));
    client.misses(&[]).await;
    let again = client.submitted().await;
    assert_eq!(names(again.request().avoid.clone()), ["liar"]);
    let inputs: Vec<ContentHash> = again.request().parts.iter().map(|part| part.inputs[0]).collect();
    assert_eq!(inputs, [name(2), name(3)], "its other answer is not believed either");
    // Bytes that are no answer at all are a lie as well.
    again.reply(report(&[("babbler", vec![7_u64; 9]), ("babbler", vec![])]));
    client.misses(&[]).await;
    let again = client.submitted().await;
    assert_eq!(names(again.request().avoid.clone()), ["babbler", "liar"]);
    again.reply(report(&[("b", 4_u32), ("a", 6)]));
    let done = doubling.await.unwrap().unwrap();
    assert_eq!((done.answers, names(done.agents)), (vec![2, 4, 6, 8], vec!["a".into(), "b".into()]));
    assert_eq!(names(done.liars.keys().cloned()), ["babbler", "liar"]);
    assert_eq!(done.liars.values().next_back().unwrap(), "7 is not twice 3");
}

#[actix::test]
async fn where_only_liars_are_left_they_are_named() {
    let mut client = Client::new();
    let doubling = client.double(&[1, 2]);
    client.misses(&[]).await;
    client.submitted().await.reply(report(&[("a", 2_u32), ("liar", 5)]));
    client.misses(&[]).await;
    let avoided = BTreeSet::from(["liar".parse().unwrap()]);
    let none = TaskError::NoCapableAgent { protocol: "doubler".into(), avoided };
    client.submitted().await.reply(Err(none));
    let (agent, reason) = ("liar".parse().unwrap(), "5 is not twice 2".into());
    assert_eq!(doubling.await.unwrap(), Err(SubmitError::Impossible { part: 1, agent, reason }));
}

#[actix::test]
async fn a2_as_many_liars_as_a_task_can_avoid_are_passed_by_one_after_the_other() {
    let mut client = Client::new();
    let doubling = client.double(&[1]);
    for found in 0..=AVOIDED_MAX {
        client.misses(&[]).await;
        let asked = client.submitted().await;
        assert_eq!(asked.request().avoid.len(), found);
        let answer = if found < AVOIDED_MAX { 3_u32 } else { 2 };
        asked.reply(report(&[(format!("agent-{found}").as_str(), answer)]));
    }
    let done = doubling.await.unwrap().unwrap();
    assert_eq!((done.answers, done.liars.len()), (vec![2], AVOIDED_MAX));
}

#[actix::test]
async fn one_liar_more_than_a_task_can_avoid_is_the_end_of_it() {
    let mut client = Client::new();
    let doubling = client.double(&[1]);
    for found in 0..=AVOIDED_MAX {
        client.misses(&[]).await;
        client.submitted().await.reply(report(&[(format!("agent-{found}").as_str(), 3_u32)]));
    }
    assert!(matches!(doubling.await.unwrap(), Err(SubmitError::Impossible { part: 0, .. })));
}

#[actix::test]
async fn a_coordinator_that_gives_parts_to_who_is_avoided_is_not_asked_for_ever() {
    let mut client = Client::new();
    let doubling = client.double(&[1]);
    for _ in 0..2 {
        client.misses(&[]).await;
        client.submitted().await.reply(report(&[("liar", 3_u32)]));
    }
    assert!(matches!(doubling.await.unwrap(), Err(SubmitError::Impossible { part: 0, .. })));
}

#[actix::test]
async fn the_error_of_an_agent_is_that_of_the_request() {
    let failed = |error: Option<&PartError>| TaskError::PartFailed {
        part: 1,
        attempts: 2,
        agent: "a".parse().unwrap(),
        cause: "it cannot".into(),
        error: error.map(|error| codec::encode(error).unwrap().into()),
    };
    let mut client = Client::new();
    for error in [None, Some(PartError::Cancelled)] {
        let doubling = client.double(&[1, 2]);
        client.misses(&[]).await;
        client.submitted().await.reply(Err(failed(error.as_ref())));
        let expected = match &error {
            Some(error) => {
                SubmitError::Part { part: 1, attempts: 2, agent: "a".parse().unwrap(), error: error.clone() }
            }
            None => SubmitError::Task(failed(None)),
        };
        assert_eq!(doubling.await.unwrap(), Err(expected));
    }
}

#[actix::test]
async fn what_is_too_much_for_one_task_is_several() {
    let mut client = Client::new();
    let mut numbers = vec![1; PARTS_MAX + 1];
    numbers.push(u32::MAX);
    let doubling = client.double(&numbers);
    for count in [PARTS_MAX, 1, 1] {
        client.misses(&[]).await;
        let asked = client.submitted().await;
        assert_eq!(asked.request().parts.len(), count);
        asked.reply(report(&vec![("a", 2_u32); count]));
    }
    assert_eq!(doubling.await.unwrap().unwrap().answers.len(), PARTS_MAX + 2);
}

#[actix::test]
async fn a_watcher_is_told_how_far_the_task_is() {
    let mut client = Client::new();
    let (coordinator, seen) = (client.coordinator.clone(), std::rc::Rc::default());
    let events: std::rc::Rc<std::cell::RefCell<Vec<TaskEvent>>> = std::rc::Rc::clone(&seen);
    let doubling = actix_rt::spawn(async move {
        let mut inputs = Inputs::new();
        let task = Task::parts([Double { input: inputs.add(content(1), 1_u32) }]).inputs(&inputs);
        task.watch(|event| events.borrow_mut().push(event)).submit(&coordinator).await
    });
    client.misses(&[1]).await;
    client.is_given(1).await;
    let asked = client.submitted().await;
    let progress = Progress { done: 0, assigned: 1, total: 1 };
    client.probe.expect::<TaskProgress>().await.reply(Ok(Some(progress)));
    // The next question comes when the answer to the first was told.
    let _next = client.probe.expect::<TaskProgress>().await;
    asked.reply(report(&[("a", 2_u32)]));
    doubling.await.unwrap().unwrap();
    let working = TaskEvent::Working { task: 1, tasks: 1, progress };
    assert_eq!(*seen.borrow(), [TaskEvent::Uploading { pieces: 1 }, working]);
}

#[actix::test]
async fn what_the_coordinator_cannot_know_is_refused_at_the_client() {
    let mut client = Client::new();
    let unknown = Double { input: name(1) };
    let refused = Task::parts([unknown]).submit(&client.coordinator).await;
    assert_eq!(refused, Err(SubmitError::UnknownInput { hash: name(1) }));
    let none: Done<u32> = Task::<Double>::parts([]).submit(&client.coordinator).await.unwrap();
    assert!(none.answers.is_empty());

    let doubling = client.double(&[1, 2]);
    client.misses(&[9]).await;
    assert!(matches!(doubling.await.unwrap(), Err(SubmitError::Coordinator { .. })));
    let doubling = client.double(&[1, 2]);
    client.misses(&[]).await;
    client.submitted().await.reply(report(&[("a", 2_u32)]));
    let reason = "1 answers to 2 parts".to_owned();
    assert_eq!(doubling.await.unwrap(), Err(SubmitError::Coordinator { reason }));
}

#[actix::test]
async fn a_deadline_that_passes_while_the_inputs_are_handed_out_is_a_deadline() {
    let client = Client::new();
    let mut inputs = Inputs::new();
    let requests = [Double { input: inputs.add(content(1), 1) }];
    let task = Task::parts(requests).inputs(&inputs).deadline(Duration::from_secs(1));
    // The coordinator is there, and slow.
    let error = task.submit(&client.coordinator).await.unwrap_err();
    assert_eq!(error, SubmitError::Task(TaskError::DeadlineExceeded));
}

#[actix::test]
async fn a_coordinator_that_is_restarted_is_waited_for_and_given_the_task_again_under_its_id() {
    let mut client = Client::new();
    let is_away = client.restarts();
    let doubling = client.double(&[1]);
    client.misses(&[]).await;
    let first = client.submitted().await;
    let id = first.request().id;
    is_away.store(true, Ordering::SeqCst);
    drop(first);
    client.probe.expect_none(OUTAGE_MAX / 2).await;
    is_away.store(false, Ordering::SeqCst);
    // Whether it is there again; then what it has lost.
    client.misses(&[]).await;
    client.misses(&[1]).await;
    client.is_given(1).await;
    let again = client.submitted().await;
    assert_eq!(again.request().id, id);
    again.reply(report(&[("a", 2_u32)]));
    assert_eq!(doubling.await.unwrap().unwrap().answers, [2]);
}

#[actix::test]
async fn a_task_whose_id_another_client_took_meanwhile_gets_another_one_once() {
    let mut client = Client::new();
    client.restarts();
    let doubling = client.double(&[1]);
    client.misses(&[]).await;
    let first = client.submitted().await;
    let taken = first.request().id;
    drop(first);
    // Whether it is there again; then what it has lost.
    client.misses(&[]).await;
    let invalid = || TaskError::Invalid { reason: "it is the id of another task".to_owned() };
    for is_taken in [true, false] {
        client.misses(&[]).await;
        let again = client.submitted().await;
        assert_eq!(again.request().id == taken, is_taken);
        again.reply(Err(invalid()));
    }
    assert_eq!(doubling.await.unwrap(), Err(SubmitError::Task(invalid())));
}

#[actix::test]
async fn a_coordinator_that_stays_away_is_waited_for_within_bounds() {
    let client = &mut Client::new();
    let is_away = client.restarts();
    is_away.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    let lost = client.double(&[1]).await.unwrap();
    assert!(matches!(lost, Err(SubmitError::Delivery(DeliveryError::SessionLost { .. }))), "{lost:?}");
    assert_eq!(begun.elapsed().as_secs(), OUTAGE_MAX.as_secs());
    // One that loses its coordinator whenever it is submitted is not submitted for ever.
    is_away.store(false, Ordering::SeqCst);
    let doubling = client.double(&[1]);
    for _ in 0..OUTAGES_MAX {
        client.misses(&[]).await;
        drop(client.submitted().await);
        client.misses(&[]).await;
    }
    client.misses(&[]).await;
    drop(client.submitted().await);
    assert_eq!(doubling.await.unwrap(), Err(SubmitError::Delivery(DeliveryError::Stopped)));
}

#[actix::test]
async fn a_deadline_that_passes_while_the_coordinator_is_away_is_a_deadline() {
    let mut client = Client::new();
    client.restarts().store(true, Ordering::SeqCst);
    let mut inputs = Inputs::new();
    let requests = [Double { input: inputs.add(content(1), 1) }];
    let task = Task::parts(requests).inputs(&inputs).deadline(OUTAGE_MAX / 2);
    let begun = Instant::now();
    let error = task.submit(&client.coordinator).await.unwrap_err();
    assert_eq!(error, SubmitError::Task(TaskError::DeadlineExceeded));
    assert_eq!(begun.elapsed().as_secs(), OUTAGE_MAX.as_secs() / 2);
}

#[actix::test]
async fn a_mailbox_that_stays_lost_is_not_waited_for() {
    let mut client = Client::new();
    let doubling = client.double(&[1]);
    client.misses(&[]).await;
    let begun = Instant::now();
    drop(client.submitted().await);
    assert_eq!(doubling.await.unwrap(), Err(SubmitError::Delivery(DeliveryError::Stopped)));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

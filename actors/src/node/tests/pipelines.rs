//! Who asks in bulk sees what those see who await each ask.

use super::{Echo, Misbehave, Refusal, Service, over_quic, probed, served, server, until};
use crate::{AskError, Mailbox, Pipeline};
use std::{collections::BTreeMap, time::Duration};
use swarm_protocols::{Accepts, Delivery, DeliveryError, Request};

type Answers<R> = BTreeMap<u64, Result<<R as Request>::Reply, AskError<<R as Request>::Error>>>;

/// All answers, by their numbers.
async fn answers<R: Request>(mut pipeline: Pipeline<Service, R>) -> Answers<R>
where
    Service: Accepts<R>,
{
    let mut answers = BTreeMap::new();
    while let Some((number, answer)) = pipeline.next().await {
        assert!(answers.insert(number, answer).is_none(), "{number} was answered twice");
    }
    answers
}

/// Requests of every size, the answers to which are as long.
async fn each_gets_its_own_answer(service: &Mailbox<Service>) {
    let request = |number: u64| {
        let bytes = match number % 40 {
            0 => 100_000,
            1 => 20_000,
            2 => 1 << 20,
            _ => 8,
        };
        [&number.to_le_bytes()[..], &vec![number as u8; bytes]].concat()
    };
    let mut pipeline = service.pipeline::<Echo>();
    (0..200).for_each(|number| assert_eq!(pipeline.ask(Echo(request(number))), number));
    let answers = answers(pipeline).await;
    assert_eq!(answers.len(), 200);
    assert!(answers.into_iter().all(|(number, answer)| answer == Ok(request(number))));
}

#[actix::test]
async fn each_gets_its_own_answer_over_quic() {
    let (service, _registration, _nodes) = over_quic().await;
    each_gets_its_own_answer(&service).await;
}

#[actix::test]
async fn each_gets_its_own_answer_in_this_process() {
    each_gets_its_own_answer(&server()).await;
}

#[actix::test]
async fn errors_have_the_number_of_their_request() {
    let (service, _registration, _cut, _nodes) = served(server()).await;
    let mut pipeline = service.pipeline::<Misbehave>();
    pipeline.ask(Misbehave::Fail);
    pipeline.ask(Misbehave::PanicLater);
    let answers = answers(pipeline).await;
    let failed = AskError::Handler(Refusal("no".into()));
    assert_eq!(answers, BTreeMap::from([(0, Err(failed)), (1, Err(DeliveryError::Panicked.into()))]));
}

#[actix::test(start_paused = true)]
async fn a_request_is_given_up_when_its_time_is_over() {
    let (service, mut probe, _registration, _cut, _nodes) = probed().await;
    let after = Duration::from_secs(3);
    let mut pipeline = service.pipeline::<Echo>().timeout(after);
    pipeline.ask(Echo(vec![0]));
    pipeline.ask(Echo(vec![1]));
    let (waits, answered) = (probe.expect::<Echo>().await, probe.expect::<Echo>().await);
    answered.reply(Ok(vec![9]));
    assert_eq!(pipeline.next().await, Some((1, Ok(vec![9]))));
    let late = DeliveryError::TimedOut { after, delivery: Delivery::Unknown };
    assert_eq!(pipeline.next().await, Some((0, Err(late.into()))));
    assert_eq!(pipeline.next().await, None);
    until("the handler learns of it", async || waits.cancellation().is_cancelled()).await;
    // The late answer is for nobody.
    waits.reply(Ok(vec![7]));
    pipeline.ask(Echo(vec![2]));
    probe.expect::<Echo>().await.reply(Ok(vec![8]));
    assert_eq!(pipeline.next().await, Some((2, Ok(vec![8]))));
}

#[actix::test(start_paused = true)]
async fn a_dropped_pipeline_cancels_its_requests_and_no_others() {
    let (service, mut probe, _registration, _cut, nodes) = probed().await;
    let (mut dropped, mut kept) = (service.pipeline::<Echo>(), service.pipeline::<Echo>());
    for _ in 0..2 {
        dropped.ask(Echo(vec![0]));
        kept.ask(Echo(vec![1]));
    }
    let mut asked = Vec::new();
    for _ in 0..4 {
        asked.push(probe.expect::<Echo>().await);
    }
    // One has been answered, and waits to be taken.
    let cancelled = asked.remove(2);
    asked.remove(0).reply(Ok(vec![0]));
    until("it is answered", async || nodes[0].statistics().await.unwrap().p50.is_some()).await;
    drop(dropped);
    until("the handler learns of it", async || cancelled.cancellation().is_cancelled()).await;
    assert!(asked.iter().all(|asked| !asked.cancellation().is_cancelled()));
    asked.into_iter().for_each(|asked| assert!(asked.reply(Ok(vec![1]))));
    assert_eq!(kept.next().await, Some((0, Ok(vec![1]))));
    assert_eq!(kept.next().await, Some((1, Ok(vec![1]))));
    assert_eq!(kept.next().await, None);
}

#[actix::test(start_paused = true)]
async fn a_lost_session_ends_all_that_is_in_flight() {
    let (service, mut probe, _registration, cut, _nodes) = probed().await;
    let mut pipeline = service.pipeline::<Echo>();
    for _ in 0..3 {
        pipeline.ask(Echo(vec![0]));
    }
    let _asked = probe.expect::<Echo>().await;
    cut.cut("the cable is cut");
    for (number, answer) in answers(pipeline).await {
        let Err(AskError::Delivery(DeliveryError::SessionLost { delivery, .. })) = answer else {
            panic!("{number}: {answer:?}");
        };
        assert_eq!(delivery, Delivery::Unknown);
    }
}

#[actix::test(start_paused = true)]
async fn those_beyond_the_bound_are_refused_by_their_numbers() {
    let (service, _probe, _registration, _cut, _nodes) = probed().await;
    let mut pipeline = service.pipeline::<Echo>().timeout(Duration::from_secs(1));
    for _ in 0..5_000 {
        pipeline.ask(Echo(vec![0]));
    }
    let (mut overloaded, mut late) = (0, 0);
    for (_, answer) in answers(pipeline).await {
        match answer {
            Err(AskError::Delivery(DeliveryError::Overloaded { .. })) => overloaded += 1,
            Err(AskError::Delivery(DeliveryError::TimedOut { .. })) => late += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(overloaded + late, 5_000);
    assert!(overloaded > 0 && late > 0, "{overloaded} refused, {late} not answered in time");
}

//! The caller's side of a session, on a link of which the test is the other end.

use super::*;
use crate::transport::memory::{Line, MemoryLink, Network, link_pair};
use crate::{Priority, budget::Budget};
use futures_util::FutureExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use swarm_protocols::{
    Delivery, DeliveryError,
    wire::frame::{self, Answered, Intent, LANE_ANSWER_BYTES_MAX},
};

const HOUR: Duration = Duration::from_secs(3_600);

/// The caller's side to a peer that takes so many requests at once.
fn caller(in_flight: u32) -> (Arc<Outbound>, Arc<Way>, MemoryLink) {
    caller_of(in_flight, 1 << 10)
}

/// The same for answers of so many bytes.
fn caller_of(in_flight: u32, message_bytes_max: usize) -> (Arc<Outbound>, Arc<Way>, MemoryLink) {
    let (_wire, [here, there]) = link_pair(&Line::new(Network::perfect()));
    let limits = Limits { in_flight, ..Limits::default() };
    let share = Budget::new(1 << 20, 0).share(&"there".parse().unwrap());
    let outbound = Outbound::new(Arc::new(here), limits, message_bytes_max, share);
    let way = Way::new(Arc::clone(&outbound));
    (outbound, way, there)
}

fn sending(priority: Priority, own_stream: bool) -> Sending {
    Sending { timeout: HOUR, priority, own_stream }
}

#[actix::test]
async fn s14_requests_of_every_class_and_stream_share_one_limit() {
    let (_outbound, way, _there) = caller(3);
    let mut calls: Vec<WireCall> =
        [(Priority::High, false), (Priority::Low, false), (Priority::Normal, true)]
            .map(|(priority, own_stream)| {
                way.call(0, &mut b"x".to_vec(), sending(priority, own_stream), Intent::Ask)
            })
            .into();
    for call in &mut calls {
        assert_eq!(call.now_or_never(), None);
    }
    for own_stream in [false, true] {
        let over = way.call(0, &mut b"x".to_vec(), sending(Priority::Normal, own_stream), Intent::Ask).await;
        assert!(matches!(over, Err(DeliveryError::Overloaded { .. })), "{over:?}");
    }
    // The stream of its own is free at once, the number on a lane when the callee has answered.
    calls.pop();
    assert_eq!(
        way.call(0, &mut b"x".to_vec(), sending(Priority::Normal, false), Intent::Ask).now_or_never(),
        None
    );
}

/// A request, and what its answer is when `frames` have come.
async fn answered(frames: &[u8]) -> Result<Answered, DeliveryError> {
    answered_within(1 << 10, frames).await
}

async fn answered_within(message_bytes_max: usize, frames: &[u8]) -> Result<Answered, DeliveryError> {
    let (_outbound, way, there) = caller_of(3, message_bytes_max);
    let call = way.call(0, &mut b"x".to_vec(), sending(Priority::Normal, false), Intent::Ask);
    let mut stream = there.accept().await.unwrap();
    stream.send.write(frames.to_vec().into()).await.unwrap();
    call.await
}

#[actix::test]
async fn s2_a_long_answer_comes_in_parts_and_is_no_longer_than_this_node_takes() {
    let in_parts = |parts: &[usize]| {
        let mut frames = Vec::new();
        parts.iter().for_each(|bytes| frame::put_part(0, &vec![1; *bytes], &mut frames));
        frame::put_outcome(0, false, &[2; 24], &mut frames);
        frames
    };
    let whole = [vec![1; 1_000], vec![2; 24]].concat();
    assert_eq!(answered(&in_parts(&[600, 400])).await, Ok(Answered::Reply(whole.into())));
    let error = answered(&in_parts(&[600, 425])).await.unwrap_err();
    assert_eq!(error.to_string(), "the session ended: an answer to request 0 of more than this node takes");
    let mut given_up = Vec::new();
    frame::put_part(0, &[1; 600], &mut given_up);
    frame::put_undelivered(0, &DeliveryError::Cancelled, &mut given_up);
    assert_eq!(answered(&given_up).await, Ok(Answered::Undelivered(DeliveryError::Cancelled)));
}

#[actix::test]
async fn s2_a_piece_of_an_answer_on_a_lane_is_no_longer_than_the_text_says() {
    for (bytes, fits) in [(LANE_ANSWER_BYTES_MAX, true), (LANE_ANSWER_BYTES_MAX + 1, false)] {
        let (mut part, mut reply) = (Vec::new(), Vec::new());
        frame::put_part(0, &vec![1; bytes], &mut part);
        frame::put_undelivered(0, &DeliveryError::Cancelled, &mut part);
        frame::put_outcome(0, bytes.is_multiple_of(2), &vec![1; bytes], &mut reply);
        for frames in [&part, &reply] {
            let answer = answered_within(1 << 20, frames).await;
            assert_eq!(answer.is_ok(), fits, "{bytes} bytes: {answer:?}");
        }
    }
}

#[actix::test]
async fn s15_a_request_that_is_polled_after_its_end_takes_no_answer_of_another() {
    let (outbound, way, _there) = caller(3);
    let mut ended = way.call(0, &mut b"x".to_vec(), sending(Priority::Normal, false), Intent::Ask);
    outbound.lose("the cable was pulled");
    let lost =
        DeliveryError::SessionLost { reason: "the cable was pulled".to_owned(), delivery: Delivery::Unknown };
    assert_eq!((&mut ended).await, Err(lost));
    let again = catch_unwind(AssertUnwindSafe(|| (&mut ended).now_or_never())).unwrap_err();
    assert_eq!(again.downcast_ref(), Some(&"an ask was polled after it was ready"));
}

#[actix::test]
async fn answers_that_came_together_reach_their_callers_in_shares() {
    let (_outbound, way, there) = caller(300);
    let sending = sending(Priority::Normal, false);
    let mut calls: Vec<WireCall> =
        (0..300).map(|_| way.call(0, &mut b"x".to_vec(), sending, Intent::Ask)).collect();
    let mut stream = there.accept().await.unwrap();
    let mut answers = Vec::new();
    (0..300).for_each(|number| frame::put_outcome(number, false, b"y", &mut answers));
    stream.send.write(answers.into()).await.unwrap();
    // What the first of them ask next goes out while the others are still to be read.
    let mut shares = Vec::new();
    while !calls.is_empty() {
        tokio::task::yield_now().await;
        let waiting = calls.len();
        calls.retain_mut(|call| call.now_or_never().is_none());
        shares.push(waiting - calls.len());
    }
    assert_eq!(shares.iter().max(), Some(&100), "{shares:?}");
}

#[actix::test]
async fn answers_that_have_come_count_though_the_lane_or_the_session_ends_before_they_are_taken() {
    for session_ends in [false, true] {
        let (outbound, way, there) = caller(300);
        let sending = sending(Priority::Normal, false);
        let calls: Vec<WireCall> =
            (0..300).map(|_| way.call(0, &mut b"x".to_vec(), sending, Intent::Ask)).collect();
        let mut stream = there.accept().await.unwrap();
        let mut answers = Vec::new();
        (0..300).for_each(|number| frame::put_outcome(number, false, b"y", &mut answers));
        stream.send.write(answers.into()).await.unwrap();
        if !session_ends {
            drop(stream.recv);
        }
        let mut calls = calls.into_iter();
        assert_eq!(calls.next().unwrap().await, Ok(Answered::Reply("y".into())));
        if session_ends {
            outbound.lose("the peer has drained");
        }
        for call in calls {
            assert_eq!(call.await, Ok(Answered::Reply("y".into())));
        }
        let late = way.call(0, &mut b"x".to_vec(), sending, Intent::Ask).now_or_never();
        assert_eq!(late.is_some(), session_ends, "{late:?}");
    }
}

#[actix::test]
async fn an_answer_that_has_come_in_time_is_none_that_timed_out_while_others_were_taken() {
    let (_outbound, way, there) = caller(300);
    let short = Sending { timeout: Duration::from_millis(300), ..sending(Priority::Normal, false) };
    let mut calls: Vec<WireCall> =
        (0..300).map(|_| way.call(0, &mut b"x".to_vec(), short, Intent::Ask)).collect();
    let mut stream = there.accept().await.unwrap();
    let mut answers = Vec::new();
    (0..299).for_each(|number| frame::put_outcome(number, false, b"y", &mut answers));
    stream.send.write(answers.into()).await.unwrap();
    let unanswered = calls.pop().unwrap();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await, Ok(Answered::Reply("y".into())), "{number}");
        if number == 0 {
            // As a caller may that works before it waits for the next one.
            std::thread::sleep(Duration::from_millis(400));
        }
    }
    assert!(matches!(unanswered.await, Err(DeliveryError::TimedOut { .. })));
}

//! The caller's side of a session, on a link of which the test is the other end.

use super::*;
use crate::transport::memory::{Line, MemoryLink, Network, link_pair};
use crate::{Priority, budget::Budget};
use futures_util::FutureExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use swarm_protocols::{Delivery, DeliveryError, wire::frame::Intent};

const HOUR: Duration = Duration::from_secs(3_600);

/// The caller's side to a peer that takes so many requests at once.
fn caller(in_flight: u32) -> (Arc<Outbound>, Arc<Way>, MemoryLink) {
    let (_wire, [here, there]) = link_pair(&Line::new(Network::perfect()));
    let limits = Limits { in_flight, ..Limits::default() };
    let share = Budget::new(1 << 20).share(&"there".parse().unwrap());
    let outbound = Outbound::new(Arc::new(here), limits, 1 << 10, share);
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
            .map(|(priority, own_stream)| way.call(0, b"x", sending(priority, own_stream), Intent::Ask))
            .into();
    for call in &mut calls {
        assert_eq!(call.now_or_never(), None);
    }
    for own_stream in [false, true] {
        let over = way.call(0, b"x", sending(Priority::Normal, own_stream), Intent::Ask).await;
        assert!(matches!(over, Err(DeliveryError::Overloaded { .. })), "{over:?}");
    }
    // The stream of its own is free at once, the number on a lane when the callee has answered.
    calls.pop();
    assert_eq!(way.call(0, b"x", sending(Priority::Normal, false), Intent::Ask).now_or_never(), None);
}

#[actix::test]
async fn s15_a_request_that_is_polled_after_its_end_takes_no_answer_of_another() {
    let (outbound, way, _there) = caller(3);
    let mut ended = way.call(0, b"x", sending(Priority::Normal, false), Intent::Ask);
    outbound.lose("the cable was pulled");
    let lost =
        DeliveryError::SessionLost { reason: "the cable was pulled".to_owned(), delivery: Delivery::Unknown };
    assert_eq!((&mut ended).await, Err(lost));
    let again = catch_unwind(AssertUnwindSafe(|| (&mut ended).now_or_never())).unwrap_err();
    assert_eq!(again.downcast_ref(), Some(&"an ask was polled after it was ready"));
}

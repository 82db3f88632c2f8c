//! The order of requests when one session takes over from another, on links of which one is slower.

use super::super::*;
use super::*;
use crate::{budget::Budget, transport::memory::MemoryLink};
use crate::{
    mailbox::Remote,
    session::{Outbound, Way},
    transport::{
        Link,
        memory::{Line, link_pair},
    },
};
use std::sync::Arc;
use swarm_protocols::wire::{
    control::Limits,
    frame::{self, Frame, FrameReader, STREAM_LANE},
};
use tokio::time::timeout;

fn outbound(link: MemoryLink) -> Arc<Outbound> {
    let share = Budget::new(1 << 20, 0).share(&"there".parse().unwrap());
    Outbound::new(Arc::new(link), Limits::default(), 1 << 20, share)
}

#[test]
fn what_is_asked_after_a_handover_goes_out_when_the_peer_has_read_what_was_asked_before() {
    without_actix(async {
        let [old, new] = [(); 2].map(|()| Line::new(Network::perfect()));
        let [(_, [old, old_peer]), (_, [new, new_peer])] = [&old, &new].map(link_pair);
        let [old, new] = [old, new].map(outbound);
        let way = Way::new(Arc::clone(&old));
        let address = "b/service".parse().unwrap();
        let mailbox =
            Mailbox::<Service>::from_remote(Remote::new(Arc::clone(&way), address, vec![Ok(0), Ok(1)]));

        let first = mailbox.ask(Echo(vec![1])).into_future();
        assert!(!old.is_idle());
        way.hand_over(&new);
        let second = mailbox.ask(Echo(vec![2])).into_future();
        let mut lane_after = std::pin::pin!(new_peer.accept());
        timeout(SECOND, &mut lane_after).await.err().expect("the second one overtakes the first");

        // The peer reads the first request, which it does not answer yet, and what marks its place.
        let mut lane = old_peer.accept().await.unwrap();
        let mut reader = FrameReader::new(1 << 10);
        let mut read = Vec::new();
        let mut bytes = 0;
        while read.len() < 2 {
            let mut chunk = lane.recv.read().await.unwrap().unwrap();
            // The kind of the stream and its class go before the frames.
            let head = 2_usize.saturating_sub(bytes).min(chunk.len());
            bytes += chunk.len();
            if head > 0 {
                assert_eq!(chunk.split_to(head)[0], STREAM_LANE);
            }
            reader.feed(chunk);
            while let Some(frame) = reader.next_frame().unwrap() {
                let Frame::Request { head, .. } = Frame::decode(frame).unwrap() else { panic!("no request") };
                read.push((head.correlation, head.route));
            }
        }
        let [(asked, 0), (mark, u32::MAX)] = read[..] else { panic!("{read:?}") };
        timeout(SECOND, &mut lane_after).await.err().expect("before the peer has said that it read it");

        let mut answer = Vec::new();
        frame::put_undelivered(mark, &DeliveryError::NotExposed { what: "route".into() }, &mut answer);
        lane.send.write(answer.into()).await.unwrap();
        timeout(SECOND, &mut lane_after).await.expect("the second one is held back for ever").unwrap();
        assert!(!old.is_idle(), "the first request is not answered yet");

        let (mut answer, mut reply) = (Vec::new(), Vec::new());
        swarm_protocols::wire::codec::encode_into(&vec![1_u8], &mut reply).unwrap();
        frame::put_outcome(asked, false, &reply, &mut answer);
        lane.send.write(answer.into()).await.unwrap();
        assert_eq!(first.await, Ok(vec![1]));
        assert!(old.is_idle() && !new.is_idle());
        drop(second);
    });
}

#[test]
fn what_is_asked_after_a_handover_waits_for_what_was_told_before() {
    without_actix(async {
        let lines = [(); 2].map(|()| Line::new(Network::perfect()));
        let [(_, [old, _old_peer]), (_, [new, new_peer])] = lines.each_ref().map(link_pair);
        let [old, new] = [old, new].map(outbound);
        let way = Way::new(Arc::clone(&old));
        let address = "b/service".parse().unwrap();
        let mailbox =
            Mailbox::<Service>::from_remote(Remote::new(Arc::clone(&way), address, vec![Ok(0), Ok(1)]));

        mailbox.tell(Echo(vec![1])).await.unwrap();
        assert!(!old.is_idle(), "the message is not on its way yet");
        way.hand_over(&new);
        let _asked = mailbox.ask(Echo(vec![2])).into_future();
        let mut lane_after = std::pin::pin!(new_peer.accept());
        timeout(SECOND, &mut lane_after).await.err().expect("the request overtakes the message");
        assert!(!old.is_idle(), "nobody knows yet whether the peer has read the message");
        old.lose("it is gone");
        timeout(SECOND, &mut lane_after).await.expect("the request is held back for ever").unwrap();
    });
}

#[test]
fn a_lane_that_was_not_used_between_two_handovers_lets_nothing_overtake() {
    without_actix(async {
        let lines = [(); 3].map(|()| Line::new(Network::perfect()));
        let [(_, [old, _old_peer]), (_, [unused, _unused_peer]), (_, [new, new_peer])] =
            lines.each_ref().map(link_pair);
        let [old, unused, new] = [old, unused, new].map(outbound);
        let way = Way::new(Arc::clone(&old));
        let address = "b/service".parse().unwrap();
        let mailbox =
            Mailbox::<Service>::from_remote(Remote::new(Arc::clone(&way), address, vec![Ok(0), Ok(1)]));

        let _first = mailbox.ask(Echo(vec![1])).into_future();
        way.hand_over(&unused);
        way.hand_over(&new);
        let _second = mailbox.ask(Echo(vec![2])).into_future();
        let mut lane_after = std::pin::pin!(new_peer.accept());
        timeout(SECOND, &mut lane_after).await.err().expect("the second one overtakes the first");
        old.lose("it is gone");
        timeout(SECOND, &mut lane_after).await.expect("the second one is held back for ever").unwrap();
    });
}

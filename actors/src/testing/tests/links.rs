//! The link below a session, where the sessions themselves would hide what it does.

use super::super::{
    line::Line,
    memory_link::{MemoryLink, link_pair},
    *,
};
use super::*;
use crate::transport::{Link, LinkError, Stream};
use bytes::Bytes;
use std::sync::Arc;
use swarm_protocols::session::CloseCode;
use tokio::time::{Instant, timeout};

/// Both ends of a stream that `a` opened, with a first byte on it.
async fn stream(network: Network) -> (Arc<Line>, [MemoryLink; 2], [Stream; 2]) {
    let line = Line::new(network);
    let (_, [a, b]) = link_pair(&line);
    let mut opened = a.open().await.unwrap();
    opened.send.write(Bytes::from_static(b"1")).await.unwrap();
    let mut accepted = b.accept().await.unwrap();
    assert_eq!(accepted.recv.read().await, Ok(Some(Bytes::from_static(b"1"))));
    (line, [a, b], [opened, accepted])
}

fn slow() -> Network {
    Network::new(1, 100 * MS..101 * MS)
}

#[test]
fn a_sender_waits_when_a_window_is_under_way() {
    without_actix(async {
        let (_line, _links, [mut opened, mut accepted]) = stream(slow()).await;
        let window = Bytes::from(vec![0; 1024 * 1200]);
        timeout(MS, opened.send.write(window)).await.expect("there is no room for a window").unwrap();
        timeout(SECOND, opened.send.write(Bytes::from_static(b"x"))).await.unwrap_err();
        assert_eq!(accepted.recv.read().await.unwrap().unwrap().len(), 1200);
        timeout(MS, opened.send.write(Bytes::from_static(b"x"))).await.expect("there is room").unwrap();
    });
}

#[test]
fn the_end_of_a_stream_travels_as_its_bytes_do() {
    without_actix(async {
        let (line, _links, [mut opened, mut accepted]) = stream(slow()).await;
        line.split(Direction::ToAcceptor);
        opened.send.finish();
        timeout(SECOND, accepted.recv.read()).await.unwrap_err();
        line.heal(Direction::ToAcceptor);
        let healed = Instant::now();
        assert_eq!(accepted.recv.read().await, Ok(None));
        assert_eq!(healed.elapsed(), 100 * MS);
        // And the acknowledgement travels back.
        opened.send.stopped().await;
        assert_eq!(healed.elapsed(), 200 * MS);
    });
}

#[test]
fn a_stream_that_is_dropped_is_abandoned_in_both_directions() {
    without_actix(async {
        let (_line, _links, [opened, mut accepted]) = stream(slow()).await;
        let dropped = Instant::now();
        drop(opened);
        accepted.send.stopped().await;
        assert_eq!(dropped.elapsed(), 100 * MS);
        assert_eq!(accepted.recv.read().await, Err(LinkError::StreamAbandoned));
        let lost = accepted.send.write(Bytes::from_static(b"x")).await;
        assert_eq!(lost, Err(LinkError::StreamAbandoned));
    });
}

#[test]
fn a_read_that_is_given_up_loses_nothing() {
    without_actix(async {
        let (_line, _links, [mut opened, mut accepted]) = stream(slow()).await;
        opened.send.write(Bytes::from_static(b"2")).await.unwrap();
        for _ in 0..9 {
            timeout(10 * MS, accepted.recv.read()).await.unwrap_err();
        }
        assert_eq!(accepted.recv.read().await, Ok(Some(Bytes::from_static(b"2"))));
    });
}

#[test]
fn a_close_is_known_here_at_once_and_there_when_it_has_crossed() {
    without_actix(async {
        let (line, [a, b], [_opened, mut accepted]) = stream(slow()).await;
        line.split(Direction::ToAcceptor);
        a.close(CloseCode::Done, "enough");
        let enough = LinkError::Lost("enough".to_owned());
        assert_eq!(timeout(MS, a.open()).await.unwrap().err(), Some(enough.clone()));
        timeout(SECOND, accepted.recv.read()).await.unwrap_err();
        line.heal(Direction::ToAcceptor);
        assert_eq!(timeout(101 * MS, accepted.recv.read()).await.unwrap(), Err(enough.clone()));
        assert_eq!(timeout(MS, b.accept()).await.unwrap().err(), Some(enough));
    });
}

#[test]
fn what_had_arrived_before_a_split_can_be_read_in_it() {
    without_actix(async {
        let (line, _links, [mut opened, mut accepted]) = stream(slow()).await;
        opened.send.write(Bytes::from_static(b"2")).await.unwrap();
        tokio::time::sleep(101 * MS).await;
        line.split(Direction::ToAcceptor);
        opened.send.write(Bytes::from_static(b"3")).await.unwrap();
        assert_eq!(timeout(MS, accepted.recv.read()).await.unwrap(), Ok(Some(Bytes::from_static(b"2"))));
        timeout(SECOND, accepted.recv.read()).await.unwrap_err();
    });
}

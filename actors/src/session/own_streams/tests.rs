use super::*;
use crate::{
    budget::Budget,
    session::{TIMEOUT_MAX, calls::Places},
    transport::{Link, SendHalf},
};
use futures_util::{FutureExt, future::BoxFuture};
use std::sync::atomic::{AtomicUsize, Ordering};
use swarm_protocols::session::CloseCode;
use tokio::sync::Notify;

/// A link to a peer that allows a stream when it is told to, and takes nothing on it.
#[derive(Default)]
struct Slow {
    allow: Notify,
    asked_at_once: AtomicUsize,
    waiting: AtomicUsize,
    begun: Arc<AtomicUsize>,
}

struct Taken(Arc<AtomicUsize>);

impl Link for Slow {
    fn open(&self) -> BoxFuture<'_, Result<Stream, LinkError>> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {
            self.allow.notified().await;
            Ok(Stream { send: Box::new(Taken(Arc::clone(&self.begun))), recv: Box::new(Silent) })
        })
    }

    fn open_now(&self) -> Option<Stream> {
        self.asked_at_once.fetch_add(1, Ordering::Relaxed);
        None
    }

    fn accept(&self) -> BoxFuture<'_, Result<Stream, LinkError>> {
        Box::pin(std::future::pending())
    }

    fn allow_streams(&self, _: u32) {}

    fn set_window(&self, _: u32) {}

    fn close(&self, _: CloseCode, _: &str) {}
}

impl SendHalf for Taken {
    fn write(&mut self, _: Bytes) -> BoxFuture<'_, Result<(), LinkError>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::pending())
    }

    fn write_now(&mut self, _: &mut [Bytes]) -> Result<(), LinkError> {
        Ok(())
    }

    fn finish(&mut self) {}

    fn stopped(&mut self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn set_priority(&mut self, _: i32) {}
}

struct Silent;

impl RecvHalf for Silent {
    fn poll_read(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>, LinkError>> {
        Poll::Pending
    }
}

fn streams() -> (Arc<Slow>, Arc<OwnStreams>) {
    let link = Arc::<Slow>::default();
    let share = Budget::new(1 << 20, 0).share(&"peer".parse().unwrap());
    let exchanges = Exchanges::new(1 << 20);
    let streams = OwnStreams::new(Arc::clone(&link) as _, exchanges, Places::new(8), share, 1 << 20);
    (link, streams)
}

fn call(streams: &Arc<OwnStreams>) -> PendingCall<Exchanges> {
    let sending = Sending { timeout: TIMEOUT_MAX, priority: Priority::Normal, own_stream: true };
    let request = [Bytes::from_static(b"request"), Bytes::new(), Bytes::new()];
    streams.call(request, sending).ok().unwrap()
}

async fn until(counter: &AtomicUsize, count: usize) {
    while counter.load(Ordering::Relaxed) < count {
        tokio::task::yield_now().await;
    }
}

fn delivery(ended: Result<Answered, DeliveryError>) -> Delivery {
    match ended {
        Err(DeliveryError::SessionLost { delivery, .. }) => delivery,
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn a_request_was_not_sent_until_it_has_a_stream() {
    let (link, streams) = streams();
    let (begun, waits) = (call(&streams), call(&streams));
    until(&link.waiting, 1).await;
    link.allow.notify_one();
    until(&link.begun, 1).await;
    streams.lose("the peer is gone");
    assert_eq!((delivery(begun.await), delivery(waits.await)), (Delivery::Unknown, Delivery::NotSent));
}

#[actix::test]
async fn no_request_gets_a_stream_before_those_that_wait_for_one() {
    let (link, streams) = streams();
    let _calls = [call(&streams), call(&streams), call(&streams)];
    assert_eq!(link.asked_at_once.load(Ordering::Relaxed), 1);
}

#[actix::test]
async fn a_request_that_is_cancelled_before_it_has_a_stream_is_not_sent() {
    let (link, streams) = streams();
    let (cancelled, mut waits) = (call(&streams), call(&streams));
    until(&link.waiting, 1).await;
    drop(cancelled);
    link.allow.notify_one();
    until(&link.begun, 1).await;
    assert!((&mut waits).now_or_never().is_none());
    assert_eq!(link.begun.load(Ordering::Relaxed), 1);
}

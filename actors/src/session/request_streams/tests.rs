use super::*;
use crate::{budget::Budget, transport::LinkError};
use futures_util::future::{pending, ready};
use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

/// What a peer takes of a stream.
#[derive(Default)]
struct Peer {
    taken: Mutex<Vec<u8>>,
    finished: AtomicBool,
    arrived: AtomicBool,
}

/// A stream to a peer that takes so many bytes at once.
struct Half(Arc<Peer>, usize);

impl SendHalf for Half {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), LinkError>> {
        self.0.taken.lock().unwrap().extend_from_slice(&bytes);
        Box::pin(ready(Ok(())))
    }

    fn write_now(&mut self, chunks: &mut [Bytes]) -> Result<(), LinkError> {
        for chunk in chunks {
            let taken = chunk.split_to(chunk.len().min(self.1));
            self.0.taken.lock().unwrap().extend_from_slice(&taken);
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.0.finished.store(true, Ordering::Relaxed);
    }

    fn stopped(&mut self) -> BoxFuture<'static, ()> {
        match self.0.arrived.load(Ordering::Relaxed) {
            true => Box::pin(ready(())),
            false => Box::pin(pending()),
        }
    }

    fn set_priority(&mut self, _: i32) {}
}

fn answer(streams: &mut RequestStreams, peer: &Arc<Peer>, at_once: usize) {
    let number = streams.open(Box::new(Half(Arc::clone(peer), at_once)));
    streams.send(number, [Bytes::from_static(b"answer"), Bytes::new()], None);
}

fn streams(writers: &Arc<Gate>) -> RequestStreams {
    let share = Budget::new(1 << 20, 0).share(&"peer".parse().unwrap());
    RequestStreams::new(writers, Duration::from_secs(1), &share)
}

#[actix::test]
async fn an_answer_is_waited_for_until_it_has_arrived_however_many_come_after_it() {
    let mut streams = streams(&Gate::new(usize::MAX));
    let (slow, fast) = (Arc::<Peer>::default(), Arc::<Peer>::default());
    fast.arrived.store(true, Ordering::Relaxed);
    answer(&mut streams, &slow, 6);
    assert!(*slow.taken.lock().unwrap() == b"answer" && slow.finished.load(Ordering::Relaxed));
    (0..3 * ENDED_MAX).for_each(|_| answer(&mut streams, &fast, 6));
    assert_eq!((streams.len(), streams.ended.len()), (0, ENDED_MAX));
    streams.tidy();
    assert_eq!(streams.ended.len(), 1);
    let mut arrived = Box::pin(streams.arrived());
    assert!((&mut arrived).now_or_never().is_none());
}

#[actix::test]
async fn what_a_peer_does_not_take_at_once_is_written_by_a_task_that_is_counted() {
    let writers = Gate::new(usize::MAX);
    let mut streams = streams(&writers);
    let peer = Arc::<Peer>::default();
    peer.arrived.store(true, Ordering::Relaxed);
    answer(&mut streams, &peer, 2);
    assert_eq!((writers.inside(), peer.taken.lock().unwrap().len()), (1, 2));
    writers.empty().await;
    assert!(*peer.taken.lock().unwrap() == b"answer" && peer.finished.load(Ordering::Relaxed));
}

#[actix::test]
async fn who_watches_a_request_is_done_with_its_answer_though_the_peer_takes_none() {
    let mut streams = streams(&Gate::new(usize::MAX));
    let number = streams.open(Box::new(Half(Arc::default(), 0)));
    let mut watching = streams.stopped(number).unwrap();
    assert!((&mut watching).now_or_never().is_none());
    streams.send(number, [Bytes::from_static(b"answer"), Bytes::new()], None);
    watching.await;
}

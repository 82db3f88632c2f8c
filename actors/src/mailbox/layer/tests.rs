//! Small layers such as a user would write, with probes behind them.

use super::*;
use crate::{
    Answer, AskError, Call, EncodedMailbox, TellError,
    testing::{MemoryNode, Probe, pair, resolve_soon},
};
use actix::{Actor, Context, Handler};
use serde::{Deserialize, Serialize};
use std::{
    future::IntoFuture,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use swarm_protocols::{Delivery, Request, Role, protocol, wire::codec};

mod forwarding;
mod over_the_network;

const MS: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Request)]
#[request(name = "read", reply = u8, error = Broken, idempotent)]
struct Read(u8);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("the disk is broken")]
struct Broken;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Request)]
#[request(name = "append")]
struct Append(u8);

protocol! { Disk = "disk" { Read, Append } }

/// Asks again, a little later each time, where that does no harm.
struct Retry<P: Protocol> {
    inner: Mailbox<P>,
    attempts_max: u32,
    each: Duration,
}

impl<P: Protocol> Layer<P> for Retry<P> {
    fn choose(&self, attempt: &Attempt<'_>) -> Result<Choice<P>, DeliveryError> {
        let choice = Choice::new(self.inner.clone()).within(self.each);
        let (number, idempotent) = (attempt.number, attempt.idempotent);
        if number == self.attempts_max {
            return Ok(choice);
        }
        Ok(choice.again(move |end| match &end.how {
            Ended::Undelivered(error) if idempotent || error.delivery() == Delivery::NotSent => {
                Some(10 * MS * number)
            }
            _ => None,
        }))
    }
}

/// Refuses for a second after two attempts in a row without an answer.
struct Breaker<P: Protocol> {
    inner: Mailbox<P>,
    state: Arc<Mutex<BreakerState>>,
}

#[derive(Default)]
struct BreakerState {
    misses: u32,
    open_until: Option<Instant>,
}

impl<P: Protocol> Breaker<P> {
    fn guard(inner: Mailbox<P>) -> Mailbox<P> {
        Mailbox::layered(Self { inner, state: Arc::default() })
    }
}

impl<P: Protocol> Layer<P> for Breaker<P> {
    fn choose(&self, attempt: &Attempt<'_>) -> Result<Choice<P>, DeliveryError> {
        if let Some(until) = self.state.lock().unwrap().open_until
            && attempt.now < until
        {
            return Err(DeliveryError::Overloaded { retry_after: until - attempt.now });
        }
        let state = Arc::clone(&self.state);
        Ok(Choice::new(self.inner.clone()).ended(move |end| {
            let mut state = state.lock().unwrap();
            match end.how {
                Ended::Answered | Ended::Failed => *state = BreakerState::default(),
                Ended::Undelivered(_) => {
                    state.misses += 1;
                    state.open_until = (state.misses >= 2).then(|| end.now + 1000 * MS);
                }
                Ended::Cancelled => {}
            }
        }))
    }
}

/// Asks one after the other.
struct RoundRobin<P: Protocol> {
    mailboxes: Vec<Mailbox<P>>,
    next: AtomicUsize,
}

impl<P: Protocol> RoundRobin<P> {
    fn over(mailboxes: Vec<Mailbox<P>>) -> Mailbox<P> {
        Mailbox::layered(Self { mailboxes, next: AtomicUsize::new(0) })
    }
}

impl<P: Protocol> Layer<P> for RoundRobin<P> {
    fn choose(&self, _: &Attempt<'_>) -> Result<Choice<P>, DeliveryError> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.mailboxes.len();
        Ok(Choice::new(self.mailboxes[next].clone()))
    }
}

/// Asks a second time where the first answer takes long.
struct Hedge<P: Protocol> {
    inner: Mailbox<P>,
    after: Duration,
}

impl<P: Protocol> Layer<P> for Hedge<P> {
    fn choose(&self, attempt: &Attempt<'_>) -> Result<Choice<P>, DeliveryError> {
        let choice = Choice::new(self.inner.clone());
        Ok(if attempt.idempotent && attempt.number == 1 { choice.hedge_after(self.after) } else { choice })
    }
}

/// Writes down how attempts end.
struct Diary<P: Protocol> {
    inner: Mailbox<P>,
    ends: Ends,
}

type Ends = Arc<Mutex<Vec<(Ended, Duration)>>>;

impl<P: Protocol> Diary<P> {
    fn of(inner: Mailbox<P>) -> (Mailbox<P>, Ends) {
        let ends = Ends::default();
        (Mailbox::layered(Self { inner, ends: Arc::clone(&ends) }), ends)
    }
}

impl<P: Protocol> Layer<P> for Diary<P> {
    fn choose(&self, _: &Attempt<'_>) -> Result<Choice<P>, DeliveryError> {
        let ends = Arc::clone(&self.ends);
        let ended = move |end: &End| ends.lock().unwrap().push((end.how.clone(), end.took));
        Ok(Choice::new(self.inner.clone()).ended(ended))
    }
}

fn retry(inner: Mailbox<Disk>) -> Mailbox<Disk> {
    Mailbox::layered(Retry { inner, attempts_max: 3, each: 100 * MS })
}

fn late(after: Duration) -> DeliveryError {
    DeliveryError::TimedOut { after, delivery: Delivery::Unknown }
}

#[tokio::test(start_paused = true)]
async fn a_retry_asks_again_what_may_be_handled_twice_and_nothing_else() {
    let (disk, mut probe) = Probe::<Disk>::new();
    let disk = retry(disk);
    let (answer, ()) = tokio::join!(disk.ask(Read(7)), async {
        probe.expect::<Read>().await.stop();
        let slow = probe.expect::<Read>().await;
        let third = probe.expect::<Read>().await;
        assert!(slow.cancellation().is_cancelled(), "its time was over");
        assert_eq!(third.request(), &Read(7));
        third.reply(Ok(8));
    });
    assert_eq!(answer, Ok(8));
    let (answer, ()) = tokio::join!(disk.ask(Append(1)), async {
        probe.expect::<Append>().await.stop();
        probe.expect_none(5000 * MS).await;
    });
    assert_eq!(answer, Err(DeliveryError::Stopped.into()), "it may have been appended");
    let (answer, ()) = tokio::join!(disk.ask(Read(7)), async {
        probe.expect::<Read>().await.fail(Broken);
        probe.expect_none(5000 * MS).await;
    });
    assert_eq!(answer, Err(AskError::Handler(Broken)), "that is an answer");
}

#[tokio::test(start_paused = true)]
async fn no_attempt_outlives_the_time_of_its_caller() {
    let (disk, mut probe) = Probe::<Disk>::new();
    let (disk, began) = (retry(disk), Instant::now());
    let (answer, ()) = tokio::join!(disk.ask(Read(7)).timeout(150 * MS), async {
        let first = probe.expect::<Read>().await;
        let second = probe.expect::<Read>().await;
        assert_eq!(first.deadline(), Some(began + 100 * MS));
        assert_eq!(second.deadline(), Some(began + 150 * MS));
        probe.expect_none(1000 * MS).await;
    });
    assert_eq!((answer, began.elapsed() >= 150 * MS), (Err(late(40 * MS).into()), true));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_refuses_after_misses_and_lets_through_when_its_pause_is_over() {
    let (disk, mut probe) = Probe::<Disk>::new();
    let disk = Breaker::guard(disk);
    for _ in 0..2 {
        let (answer, ()) = tokio::join!(disk.ask(Read(1)), async { probe.expect::<Read>().await.stop() });
        assert_eq!(answer, Err(DeliveryError::Stopped.into()));
    }
    tokio::time::advance(400 * MS).await;
    let refused = DeliveryError::Overloaded { retry_after: 600 * MS };
    assert_eq!(disk.ask(Read(1)).await, Err(refused.into()));
    tokio::time::advance(600 * MS).await;
    let (answer, ()) = tokio::join!(disk.ask(Read(1)), async {
        probe.expect::<Read>().await.reply(Ok(2));
    });
    assert_eq!(answer, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn layers_nest() {
    let (one, mut probe_one) = Probe::<Disk>::new();
    let (two, mut probe_two) = Probe::<Disk>::new();
    let disk = Breaker::guard(retry(RoundRobin::over(vec![one, two])));
    let answers = async {
        for number in 0..4 {
            assert_eq!(disk.ask(Read(number)).await, Ok(number + 1), "each by way of the broken one");
        }
    };
    let serve = async {
        for number in 0..4 {
            probe_one.expect::<Read>().await.stop();
            let asked = probe_two.expect::<Read>().await;
            assert_eq!(asked.request(), &Read(number));
            asked.reply(Ok(number + 1));
        }
    };
    tokio::join!(answers, serve);
}

#[tokio::test(start_paused = true)]
async fn the_first_of_two_hedged_answers_counts_and_the_other_attempt_is_cancelled() {
    let (slow, mut slow_probe) = Probe::<Disk>::new();
    let (quick, mut quick_probe) = Probe::<Disk>::new();
    let (balanced, ends) = Diary::of(RoundRobin::over(vec![slow, quick]));
    let disk = Mailbox::layered(Hedge { inner: balanced, after: 20 * MS });
    let began = Instant::now();
    let (answer, ()) = tokio::join!(disk.ask(Read(7)), async {
        let slow = slow_probe.expect::<Read>().await;
        let quick = quick_probe.expect::<Read>().await;
        assert_eq!(began.elapsed(), 20 * MS);
        assert!(!slow.cancellation().is_cancelled());
        quick.reply(Ok(8));
        slow.hold().await;
    });
    assert_eq!(answer, Ok(8));
    let ended = ends.lock().unwrap().drain(..).map(|(how, _)| how).collect::<Vec<_>>();
    assert_eq!(ended, [Ended::Answered, Ended::Cancelled]);

    // An answer in time, and what must not be handled twice, are asked once.
    let (answer, ()) = tokio::join!(disk.ask(Append(7)), async {
        let asked = slow_probe.expect::<Append>().await;
        quick_probe.expect_none(100 * MS).await;
        asked.reply(Ok(()));
    });
    assert_eq!(answer, Ok(()));
    let (answer, ()) = tokio::join!(disk.ask(Read(7)), async {
        quick_probe.expect::<Read>().await.reply(Ok(9));
        slow_probe.expect_none(100 * MS).await;
    });
    assert_eq!(answer, Ok(9));
}

#[tokio::test(start_paused = true)]
async fn a_hedged_attempt_that_fails_leaves_the_other_one_alone() {
    let (one, mut probe_one) = Probe::<Disk>::new();
    let (two, mut probe_two) = Probe::<Disk>::new();
    let disk = Mailbox::layered(Hedge { inner: RoundRobin::over(vec![one, two]), after: 20 * MS });
    let (answer, ()) = tokio::join!(disk.ask(Read(7)), async {
        let first = probe_one.expect::<Read>().await;
        probe_two.expect::<Read>().await.stop();
        tokio::time::sleep(50 * MS).await;
        first.reply(Ok(8));
    });
    assert_eq!(answer, Ok(8));
}

/// Sends the first attempt to its mailbox and refuses the second one.
struct Once(Mailbox<Disk>);

impl Layer<Disk> for Once {
    fn choose(&self, attempt: &Attempt<'_>) -> Result<Choice<Disk>, DeliveryError> {
        match attempt.previous {
            None => Ok(Choice::new(self.0.clone()).again(|_| Some(MS))),
            Some(_) => Err(DeliveryError::Draining),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_never_says_that_less_was_done_than_an_earlier_attempt_leaves_open() {
    let (disk, mut probe) = Probe::<Disk>::new();
    let disk = Mailbox::layered(Once(disk));
    let (answer, ()) = tokio::join!(disk.ask(Append(7)), async { probe.expect::<Append>().await.stop() });
    assert_eq!(
        answer,
        Err(DeliveryError::Stopped.into()),
        "Draining alone would mean that nobody has seen it"
    );
}

#[tokio::test(start_paused = true)]
async fn every_attempt_ends_once_however_it_ends() {
    let (disk, mut probe) = Probe::<Disk>::new();
    let (disk, ends) = Diary::of(disk);
    let ended = || std::mem::take(&mut *ends.lock().unwrap());
    let (answer, ()) = tokio::join!(disk.ask(Read(7)), async {
        let asked = probe.expect::<Read>().await;
        tokio::time::sleep(30 * MS).await;
        asked.panic();
    });
    let panicked = DeliveryError::Panicked;
    assert_eq!(answer, Err(panicked.clone().into()));
    assert_eq!(ended(), [(Ended::Undelivered(panicked), 30 * MS)]);
    let (_, ()) = tokio::join!(disk.ask(Read(7)), async {
        probe.expect::<Read>().await.fail(Broken);
    });
    assert_eq!(ended(), [(Ended::Failed, Duration::ZERO)]);
    assert_eq!(disk.ask(Read(7)).timeout(5 * MS).await, Err(late(5 * MS).into()));
    assert_eq!(ended(), [(Ended::Undelivered(late(5 * MS)), 5 * MS)]);
    let _late = probe.expect::<Read>().await;

    let asked = disk.ask(Read(7)).into_future();
    let cancellation = probe.expect::<Read>().await.cancellation();
    tokio::time::advance(MS).await;
    assert!(!cancellation.is_cancelled());
    drop(asked);
    assert!(cancellation.is_cancelled(), "dropping the ask cancels what it leads to");
    assert_eq!(ended(), [(Ended::Cancelled, MS)]);
}

/// Refuses the first message, and has it told again.
struct Shy {
    inner: Mailbox<Disk>,
    refusing: Mailbox<Disk>,
}

impl Layer<Disk> for Shy {
    fn choose(&self, attempt: &Attempt<'_>) -> Result<Choice<Disk>, DeliveryError> {
        let mailbox = if attempt.number == 1 { &self.refusing } else { &self.inner };
        Ok(Choice::new(mailbox.clone()).again(|_| Some(MS)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_told_message_is_told_again_only_where_nobody_has_it() {
    let (inner, mut probe) = Probe::<Disk>::new();
    let full = || Breaker {
        inner: inner.clone(),
        state: Arc::new(Mutex::new(BreakerState { misses: 2, open_until: Some(Instant::now() + 1000 * MS) })),
    };
    let shy = Mailbox::layered(Shy { inner: inner.clone(), refusing: Mailbox::layered(full()) });
    shy.tell(Append(3)).await.unwrap();
    let told = probe.expect::<Append>().await;
    assert!(told.is_told() && told.request() == &Append(3));
    let refused = Mailbox::layered(full()).tell(Append(4)).await;
    let Err(TellError { message, cause: DeliveryError::Overloaded { .. } }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(message, Some(Append(4)));
}

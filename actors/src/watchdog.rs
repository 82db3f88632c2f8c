//! Who holds up an arbiter of a node: a thread beside it says so in the log.

use crate::{arbiters::Arbiters, log_limit, session::Handle};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};
use swarm_protocols::MailboxName;

/// How long an arbiter may be held up before that is said, beyond the time between two of its turns.
const STALL: Duration = Duration::from_secs(1);

/// What an arbiter tells its watchdog.
pub(crate) struct Heart {
    /// How far apart its turns are.
    period: Duration,
    /// Which it is of those beside the arbiter of the node.
    beside: Option<usize>,
    beats: Mutex<Beats>,
}

struct Beats {
    latest: Instant,
    /// Whether it was said that it is held up.
    is_stalled: bool,
    exposed: Vec<(MailboxName, &'static str, Arc<dyn Handle>)>,
}

impl Heart {
    /// Watches arbiters that turn at least once in every `period`, until what is returned is dropped. The first is that of
    /// the node, which [says itself](Self::beat) that it turns.
    pub(crate) fn watch_all(arbiters: &Arbiters, period: Duration) -> std::io::Result<Vec<Arc<Self>>> {
        let mut hearts = vec![Self::watch(period, None)?];
        for (index, arbiter) in arbiters.beside().enumerate() {
            let heart = Self::watch(period, Some(index + 1))?;
            let beating = Arc::downgrade(&heart);
            arbiter.spawn_fn(move || {
                actix_rt::spawn(async move {
                    while let Some(heart) = beating.upgrade() {
                        heart.beat();
                        drop(heart);
                        log_limit::summarise(tokio::time::Instant::now());
                        tokio::time::sleep(period).await;
                    }
                });
            });
            hearts.push(heart);
        }
        Ok(hearts)
    }

    /// Watches one of them.
    fn watch(period: Duration, beside: Option<usize>) -> std::io::Result<Arc<Self>> {
        let beats = Beats { latest: Instant::now(), is_stalled: false, exposed: Vec::new() };
        let heart = Arc::new(Self { period, beside, beats: Mutex::new(beats) });
        let (watched, log) = (Arc::downgrade(&heart), tracing::dispatcher::get_default(Clone::clone));
        let watch = move || tracing::dispatcher::with_default(&log, || watch(&watched));
        thread::Builder::new().name("watchdog".to_owned()).spawn(watch)?;
        Ok(heart)
    }

    /// The arbiter turns.
    pub(crate) fn beat(&self) {
        let mut beats = self.beats();
        let now = Instant::now();
        let held_up = now - std::mem::replace(&mut beats.latest, now);
        let was_stalled = std::mem::take(&mut beats.is_stalled);
        // A log that does not take lines must not hold up whoever waits for the lock.
        drop(beats);
        if was_stalled {
            tracing::warn!(beside = self.beside, ?held_up, "the arbiter of the node turns again");
        }
    }

    /// What is exposed from now on: names, requests, and who handles them.
    pub(crate) fn set_exposed(&self, exposed: Vec<(MailboxName, &'static str, Arc<dyn Handle>)>) {
        self.beats().exposed = exposed;
    }

    fn beats(&self) -> MutexGuard<'_, Beats> {
        // Nothing panics while it is locked.
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the arbiter, and says when to look again.
    fn look(&self) -> Duration {
        let mut beats = self.beats();
        let silent = beats.latest.elapsed();
        let allowed = self.period + STALL;
        if silent < allowed {
            return allowed - silent;
        }
        if !beats.is_stalled {
            beats.is_stalled = true;
            let busy = beats.exposed.iter().filter_map(|(name, request, handler)| {
                let in_progress = handler.in_progress();
                (in_progress > 0).then(|| format!("{name} ({in_progress}, the latest is {request})"))
            });
            let mut busy: Vec<String> = busy.collect();
            // One that accepts several versions of a request has it several times.
            busy.dedup();
            drop(beats);
            let in_progress = if busy.is_empty() { "nothing".to_owned() } else { busy.join(", ") };
            tracing::warn!(
                beside = self.beside,
                ?silent,
                in_progress,
                "the arbiter of the node is held up: what takes long belongs on workers"
            );
        }
        STALL
    }
}

fn watch(heart: &Weak<Heart>) {
    while let Some(look_again) = heart.upgrade().map(|heart| heart.look()) {
        thread::sleep(look_again);
    }
}

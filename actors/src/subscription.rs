//! [`Subscription`]: events for one who may be slow, within bounds.

use futures_util::{Stream, StreamExt};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Events of a node, for one subscriber; dropping it ends the subscription. It is a stream, so that an actor takes it
/// with `add_message_stream` or `add_stream`, and ends once the node has stopped.
///
/// A slow subscriber holds up nobody. Where 1,024 events wait for it, those of peers and names are summed up: what comes
/// and goes before it hears of either is left out, so that at most 1,024 events wait, or twice as many as there are to
/// tell. Of [dead letters](crate::DeadLetter) those beyond are [missed](Self::missed).
#[must_use = "dropping it ends the subscription"]
pub struct Subscription<E>(Arc<Shared<E>>);

impl<E> Subscription<E> {
    /// The next event; `None` once the node has stopped.
    pub async fn next(&mut self) -> Option<E> {
        StreamExt::next(self).await
    }

    /// How many events were left out because the subscriber was slow, and not summed up by others.
    pub fn missed(&self) -> u64 {
        self.0.queue().missed
    }
}

impl<E> Stream for Subscription<E> {
    type Item = E;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<E>> {
        let mut queue = self.0.queue();
        match queue.waiting.pop_front() {
            Some(event) => {
                if queue.waiting.is_empty() {
                    queue.summed_up_at = WAITING_MAX;
                }
                Poll::Ready(Some(event))
            }
            None if queue.ended => Poll::Ready(None),
            None => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<E> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({} waiting)", self.0.queue().waiting.len())
    }
}

/// How many events wait for a subscriber as they are.
const WAITING_MAX: usize = 1024;

/// What can be subscribed to. An event that neither begins nor ends anything is missed where too many wait.
pub(crate) trait Event: Clone {
    /// What begins and ends.
    type Subject: Ord;

    /// What begins with it.
    fn begins(&self) -> Option<&Self::Subject>;

    /// What ends with it.
    fn ends(&self) -> Option<&Self::Subject>;
}

/// Those who have subscribed to one kind of events.
pub(crate) struct Subscribers<E>(Vec<Feed<E>>);

impl<E: Event> Subscribers<E> {
    /// Tells those that are still there.
    pub(crate) fn tell(&mut self, event: &E) {
        if !self.is_empty() {
            self.0.iter().for_each(|feed| feed.tell(event.clone()));
        }
    }

    pub(crate) fn add(&mut self, feed: Feed<E>) {
        self.forget_gone();
        self.0.push(feed);
    }

    /// Whether nobody is there to be told.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.forget_gone();
        self.0.is_empty()
    }

    fn forget_gone(&mut self) {
        self.0.retain(|feed| Arc::strong_count(&feed.0) > 1);
    }
}

impl<E> Default for Subscribers<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// The other end of a [`Subscription`], which ends when this is dropped.
pub(crate) struct Feed<E>(Arc<Shared<E>>);

impl<E: Event> Feed<E> {
    pub(crate) fn tell(&self, event: E) {
        let mut queue = self.0.queue();
        queue.push(event);
        queue.wake();
    }
}

impl<E> Drop for Feed<E> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.ended = true;
        queue.wake();
    }
}

/// A subscription, and what feeds it.
pub(crate) fn subscription<E>() -> (Feed<E>, Subscription<E>) {
    let waiting = VecDeque::new();
    let queue = Queue { waiting, summed_up_at: WAITING_MAX, missed: 0, ended: false, waker: None };
    let shared = Arc::new(Shared(Mutex::new(queue)));
    (Feed(Arc::clone(&shared)), Subscription(shared))
}

/// Locked for moments only, never across a wait.
struct Shared<E>(Mutex<Queue<E>>);

struct Queue<E> {
    waiting: VecDeque<E>,
    /// How many wait when they are summed up next.
    summed_up_at: usize,
    missed: u64,
    ended: bool,
    waker: Option<Waker>,
}

impl<E> Shared<E> {
    fn queue(&self) -> MutexGuard<'_, Queue<E>> {
        // Nothing panics while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Event> Queue<E> {
    fn push(&mut self, event: E) {
        if self.waiting.len() >= WAITING_MAX && event.begins().is_none() && event.ends().is_none() {
            self.missed += 1;
            return;
        }
        self.waiting.push_back(event);
        if self.waiting.len() >= self.summed_up_at {
            self.sum_up();
            // As many come before the next time, so that each costs the same however many wait.
            self.summed_up_at = WAITING_MAX.max(2 * self.waiting.len());
        }
    }

    /// Leaves out what begins and ends while it waits.
    fn sum_up(&mut self) {
        let mut is_left = vec![true; self.waiting.len()];
        // Of each subject what is left and waits, the latest last.
        let mut left: BTreeMap<&E::Subject, Vec<usize>> = BTreeMap::new();
        for (at, event) in self.waiting.iter().enumerate() {
            let Some(subject) = event.begins().or(event.ends()) else { continue };
            let of_same = left.entry(subject).or_default();
            let begun = of_same.last().copied().filter(|begun| self.waiting[*begun].begins().is_some());
            match begun.filter(|_| event.ends().is_some()) {
                Some(begun) => {
                    of_same.pop();
                    (is_left[begun], is_left[at]) = (false, false);
                }
                None => of_same.push(at),
            }
        }
        let mut is_left = is_left.into_iter();
        self.waiting.retain(|_| is_left.next().unwrap_or(true));
    }
}

impl<E> Queue<E> {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[derive(Debug, Clone, PartialEq)]
    enum News {
        Came(u32),
        Went(u32),
    }
    use News::{Came, Went};

    impl Event for News {
        type Subject = u32;

        fn begins(&self) -> Option<&u32> {
            if let Came(of) = self { Some(of) } else { None }
        }

        fn ends(&self) -> Option<&u32> {
            if let Went(of) = self { Some(of) } else { None }
        }
    }

    fn heard(subscription: &mut Subscription<News>) -> Vec<News> {
        std::iter::from_fn(|| subscription.next().now_or_never().flatten()).collect()
    }

    #[test]
    fn s18_a_slow_subscriber_learns_what_is_there_from_a_bounded_queue() {
        let mut subscribers = Subscribers::default();
        let (feed, mut prompt) = subscription();
        subscribers.add(feed);
        let (feed, mut slow) = subscription();
        subscribers.add(feed);
        let mut told = Vec::new();
        let mut tell = |news: News| {
            subscribers.tell(&news);
            told.push(news);
            assert_eq!(heard(&mut prompt), told[told.len() - 1..], "nothing is left out where nothing waits");
        };
        [1, 2].into_iter().for_each(|of| tell(Came(of)));
        for round in 0..10_000 {
            let passing = 3 + round;
            for news in [Went(1), Came(1), Came(passing), Went(passing), Went(2), Came(2)] {
                tell(news);
            }
        }
        tell(Went(2));
        let heard = heard(&mut slow);
        assert!(heard.len() <= WAITING_MAX + 4, "{}", heard.len());
        let mut there = std::collections::BTreeSet::new();
        for news in heard {
            assert!(match news {
                Came(of) => there.insert(of),
                Went(of) => there.remove(&of),
            });
        }
        assert_eq!(there.into_iter().collect::<Vec<_>>(), [1]);
        assert_eq!(slow.missed(), 0);
    }

    #[test]
    fn s17_what_each_event_costs_does_not_grow_with_what_waits() {
        const SUBJECTS: u32 = 50_000;
        thread_local!(static COMPARED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
        #[derive(Clone, Eq)]
        struct Counted(u32);
        impl PartialEq for Counted {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other).is_eq()
            }
        }
        impl Ord for Counted {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                COMPARED.set(COMPARED.get() + 1);
                self.0.cmp(&other.0)
            }
        }
        impl PartialOrd for Counted {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        #[derive(Clone)]
        struct Told(bool, Counted);
        impl Event for Told {
            type Subject = Counted;

            fn begins(&self) -> Option<&Counted> {
                Some(&self.1).filter(|_| self.0)
            }

            fn ends(&self) -> Option<&Counted> {
                Some(&self.1).filter(|_| !self.0)
            }
        }
        let (feed, mut subscription) = subscription();
        // What ends here began before, so that nothing is left out.
        (0..SUBJECTS).for_each(|of| feed.tell(Told(false, Counted(of))));
        (0..SUBJECTS).for_each(|of| feed.tell(Told(true, Counted(of))));
        let compared = COMPARED.get() / u64::from(2 * SUBJECTS);
        assert!(compared <= 200, "{compared} a message");
        let heard = std::iter::from_fn(|| subscription.next().now_or_never().flatten());
        assert_eq!(heard.count() as u32, 2 * SUBJECTS);
    }

    #[tokio::test]
    async fn s18_nothing_is_kept_for_subscribers_that_are_gone() {
        let mut subscribers = Subscribers::<News>::default();
        for _ in 0..1_000 {
            let (feed, _gone) = subscription();
            subscribers.add(feed);
        }
        assert!(subscribers.0.len() <= 2, "{}", subscribers.0.len());
        assert!(subscribers.is_empty());
    }

    #[tokio::test]
    async fn a_subscription_ends_with_the_one_that_tells() {
        let (feed, mut subscription) = subscription();
        feed.tell(Came(1));
        let waits = tokio::spawn(async move { (subscription.next().await, subscription.next().await) });
        tokio::task::yield_now().await;
        drop(feed);
        assert_eq!(waits.await.unwrap(), (Some(Came(1)), None));
    }
}

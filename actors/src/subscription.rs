//! [`Subscription`]: events for one who may be slow, within bounds.

use futures_util::{Stream, StreamExt};
use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Events of a node, for one subscriber; dropping it ends the subscription. It is a stream, so that an actor takes it
/// with `add_message_stream` or `add_stream`, and ends once the node has stopped.
///
/// A slow subscriber holds up nobody. Where 1,024 events wait for it, those of peers and names are summed up from then
/// on: what comes and goes before it hears of either is left out, so that no more waits than there is to tell. Of [dead
/// letters](crate::DeadLetter) those beyond are [missed](Self::missed).
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
            Some(event) => Poll::Ready(Some(event)),
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
    type Subject: PartialEq;

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
    let queue = Queue { waiting: VecDeque::new(), missed: 0, ended: false, waker: None };
    let shared = Arc::new(Shared(Mutex::new(queue)));
    (Feed(Arc::clone(&shared)), Subscription(shared))
}

/// Locked for moments only, never across a wait.
struct Shared<E>(Mutex<Queue<E>>);

struct Queue<E> {
    waiting: VecDeque<E>,
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
        if self.waiting.len() >= WAITING_MAX {
            if event.begins().is_none() && event.ends().is_none() {
                self.missed += 1;
                return;
            }
            let is_of_same = |earlier: &E| {
                let subjects = [earlier.begins(), earlier.ends()];
                event.ends().is_some_and(|subject| subjects.contains(&Some(subject)))
            };
            let latest = self.waiting.iter().rposition(is_of_same);
            if let Some(begun) = latest.filter(|latest| self.waiting[*latest].begins().is_some()) {
                self.waiting.remove(begun);
                return;
            }
        }
        self.waiting.push_back(event);
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

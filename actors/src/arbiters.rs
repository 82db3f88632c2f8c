//! The arbiters of a node: the one that it lives on, and those beside it over which its sessions are spread.

use actix::{Actor, Addr, Context};
use actix_rt::{Arbiter, ArbiterHandle};
use std::{
    io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    runtime::{EnterGuard, Handle},
    sync::oneshot,
    task::JoinHandle,
};
use tracing::subscriber::NoSubscriber;

/// The arbiters of a node. Those beside its own end when nothing has a place on any of them and nobody gives out more.
pub(crate) struct Arbiters {
    beside: Vec<Beside>,
    /// How many places there are on each, the one of the node first.
    places: Vec<AtomicUsize>,
}

/// An arbiter beside that of the node.
struct Beside {
    arbiter: ArbiterHandle,
    runtime: Handle,
}

impl Arbiters {
    /// The current one, and so many beside it that they are `count`.
    pub(crate) async fn start(count: NonZeroUsize) -> io::Result<Arc<Self>> {
        let mut started = Self { beside: Vec::new(), places: vec![AtomicUsize::new(0)] };
        for _ in 1..count.get() {
            // What was started before ends with an error.
            started.add(Arbiter::try_new()?.handle()).await?;
        }
        // Every test holds where all sessions are on so many other arbiters than their node.
        #[cfg(test)]
        if let Ok(beside) = std::env::var("SWARM_TEST_ARBITERS") {
            for _ in started.beside.len()..beside.parse().unwrap() {
                started.add(Arbiter::new().handle()).await?;
            }
            started.places[0] = AtomicUsize::new(usize::MAX / 2);
        }
        Ok(Arc::new(started))
    }

    /// The current one alone.
    pub(crate) fn one() -> Arc<Self> {
        Arc::new(Self { beside: Vec::new(), places: vec![AtomicUsize::new(0)] })
    }

    async fn add(&mut self, arbiter: ArbiterHandle) -> io::Result<()> {
        let (sender, runtime) = oneshot::channel();
        let log = tracing::dispatcher::get_default(Clone::clone);
        arbiter.spawn_fn(move || {
            if !log.is::<NoSubscriber>() {
                // It writes to the same log as long as it runs.
                actix_rt::spawn(async move {
                    let _log = tracing::dispatcher::set_default(&log);
                    std::future::pending::<()>().await;
                });
            }
            let _left = sender.send(Handle::current());
        });
        let runtime = runtime.await.map_err(|_| io::Error::other("it ended at once"))?;
        self.beside.push(Beside { arbiter, runtime });
        self.places.push(AtomicUsize::new(0));
        Ok(())
    }

    /// Those beside that of the node.
    pub(crate) fn beside(&self) -> impl Iterator<Item = &ArbiterHandle> {
        self.beside.iter().map(|beside| &beside.arbiter)
    }

    /// Spawns a task on each.
    pub(crate) fn on_each<F>(&self, mut make: impl FnMut() -> F) -> Vec<JoinHandle<()>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = vec![actix_rt::spawn(make())];
        tasks.extend(self.beside.iter().map(|beside| beside.runtime.spawn(make())));
        tasks
    }

    /// A place where there are the fewest.
    pub(crate) fn place(self: &Arc<Self>) -> Place {
        let taken = |index: &usize| self.places[*index].load(Ordering::Relaxed);
        let index = (0..self.places.len()).min_by_key(taken).unwrap_or(0);
        self.places[index].fetch_add(1, Ordering::Relaxed);
        Place { arbiters: Arc::clone(self), index }
    }
}

impl Drop for Arbiters {
    fn drop(&mut self) {
        for Beside { arbiter, .. } in &self.beside {
            // One that has ended already is what is wanted.
            arbiter.stop();
        }
    }
}

/// Where a connection and its session run, until this is dropped.
pub(crate) struct Place {
    arbiters: Arc<Arbiters>,
    index: usize,
}

impl Place {
    /// The arbiter, where it is not that of the node.
    fn arbiter(&self) -> Option<&Beside> {
        self.arbiters.beside.get(self.index.checked_sub(1)?)
    }

    /// Does work there that keeps the place. `None` where the arbiter has ended.
    pub(crate) fn run<W>(self, work: impl FnOnce(Self) -> W) -> impl Future<Output = Option<W::Output>>
    where
        W: Future<Output: Send> + Send + 'static,
    {
        let arbiter = self.arbiter().map(|beside| beside.arbiter.clone());
        let work = work(self);
        async move {
            let Some(arbiter) = arbiter else { return Some(work.await) };
            let (sender, done) = oneshot::channel();
            arbiter.spawn(async move {
                // Whoever began it may have left.
                let _left = sender.send(work.await);
            });
            done.await.ok()
        }
    }

    /// Lets tasks of tokio that are spawned meanwhile run there.
    pub(crate) fn enter(&self) -> Option<EnterGuard<'_>> {
        self.arbiter().map(|beside| beside.runtime.enter())
    }

    /// Starts an actor there, which keeps the place. To be called on the arbiter of the node.
    pub(crate) fn start<A: Actor<Context = Context<A>>>(
        self,
        make: impl FnOnce(Self) -> A + Send + 'static,
    ) -> Addr<A> {
        match self.arbiter().map(|beside| beside.arbiter.clone()) {
            Some(arbiter) => A::start_in_arbiter(&arbiter, |_| make(self)),
            None => make(self).start(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.arbiters.places[self.index].fetch_sub(1, Ordering::Relaxed);
    }
}

//! Worker threads for work that would block an arbiter.

use std::{num::NonZeroUsize, panic::resume_unwind, sync::Arc};
use tokio::sync::Semaphore;

/// A bounded number of worker threads and a bounded queue before them.
///
/// An arbiter serves the network and many actors: computing or blocking on one of them stops them
/// all. Actors are given workers when they are made and run such work there.
#[derive(Debug, Clone)]
pub struct Workers {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

/// Why work was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// The queue is full.
    #[error("all workers are busy and their queue is full")]
    Busy,
    /// The work panicked.
    #[error("the work panicked")]
    Panicked,
}

impl Workers {
    /// `threads` threads, and at most `queued` pieces of work that wait for one.
    pub fn new(threads: NonZeroUsize, queued: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(threads.get())),
            admitted: Arc::new(Semaphore::new(threads.get() + queued)),
        }
    }

    /// Runs `work` on a worker thread. Dropping the future gives up a place in the queue; work that
    /// runs is not stopped by that, so long work should look at a
    /// [`Cancellation`](crate::Cancellation).
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkError> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| WorkError::Busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| WorkError::Busy)?;
        let job = tokio::task::spawn_blocking(move || {
            let _permits = (admitted, running);
            work()
        });
        job.await.map_err(|_| WorkError::Panicked)
    }
}

/// Work on so many bytes, such as decoding or hashing, takes about a millisecond and is done on the arbiter.
pub(crate) const HERE_BYTES_MAX: usize = 256 << 10;

/// Does some work on so many bytes: at once where they are few, and else on a thread of its own. What it takes of memory
/// is bounded by those who ask for it.
pub(crate) fn beside<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = T> {
    let done = if bytes <= HERE_BYTES_MAX {
        Ok(work())
    } else {
        #[cfg(test)]
        BESIDE.set(BESIDE.get() + 1);
        Err(tokio::task::spawn_blocking(work))
    };
    async move {
        match done {
            Ok(done) => done,
            Err(job) => match job.await.map_err(tokio::task::JoinError::try_into_panic) {
                Ok(done) => done,
                Err(Ok(panic)) => resume_unwind(panic),
                // The runtime ends, and with it whoever waits.
                Err(Err(_cancelled)) => std::future::pending().await,
            },
        }
    }
}

#[cfg(test)]
thread_local! {
    /// How often this thread had something done beside it.
    pub(crate) static BESIDE: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn work_beyond_threads_and_queue_is_refused() {
        let workers = Workers::new(NonZeroUsize::MIN, 1);
        let (release, wait) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let workers = workers.clone();
            async move { workers.run(move || wait.recv()).await }
        });
        let second = tokio::spawn({
            let workers = workers.clone();
            async move { workers.run(|| 2).await }
        });
        while workers.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(workers.run(|| 3).await, Err(WorkError::Busy));
        release.send(()).unwrap();
        first.await.unwrap().unwrap().unwrap();
        assert_eq!(second.await.unwrap(), Ok(2));
        assert_eq!(workers.run(|| 3).await, Ok(3));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_costs_no_thread() {
        let workers = Workers::new(NonZeroUsize::MIN, 0);
        for _ in 0..3 {
            assert_eq!(workers.run(|| panic!("as the test wants")).await, Err::<(), _>(WorkError::Panicked));
        }
        assert_eq!(workers.run(|| 1).await, Ok(1));
    }
}

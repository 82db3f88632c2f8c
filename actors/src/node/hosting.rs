//! Where a node runs: on the arbiter that started it, or on a thread of its own.

use super::{Node, NodeConfig, StartError};
use actix_rt::System;
use std::{convert::Infallible, sync::Arc, thread};
use tokio::sync::oneshot;

/// The thread of a node that was started where no actix system runs.
#[derive(Debug, Clone)]
pub(super) struct Host(Arc<System>);

impl Host {
    /// Lets the thread end.
    pub(super) fn stop(&self) {
        self.0.stop();
    }
}

/// As long as it is here, some work of a node goes on.
pub(super) type Hold = oneshot::Sender<Infallible>;

/// Starts a node on a thread of its own, with an actix system.
pub(super) async fn start(config: NodeConfig) -> Result<Node, StartError> {
    let (sender, started) = oneshot::channel();
    let name = format!("node-{}", config.identity.id());
    let serve = move || {
        let runner = System::new();
        let system = runner.block_on(async { System::current() });
        let node = runner.block_on(Node::start_here(config));
        let failed = node.is_err();
        let host = Host(Arc::new(system));
        let given = sender.send(node.map(|node| Node { host: Some(host), ..node })).is_ok();
        if given && !failed {
            // Whoever started it hears of nothing that happens here, so there is nobody to tell.
            let _ended = runner.run();
        }
    };
    thread::Builder::new().name(name).spawn(serve).map_err(StartError::Thread)?;
    started.await.unwrap_or(Err(StartError::Thread(std::io::Error::other("it ended at once"))))
}

impl Node {
    /// Runs `work` on the arbiter of the node, where its sessions are, or some of them where it runs on
    /// [several](super::NodeConfig::arbiters): this is where the actors that it exposes do best, and where a program without an actix system, such as one under `#[tokio::main]`, can start any.
    ///
    /// # Panics
    /// Where the arbiter has ended, or `work` panics.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, done) = oneshot::channel();
        let sent = self.arbiter.spawn_fn(move || {
            // Whoever asked may have left.
            let _left = sender.send(work());
        });
        assert!(sent, "the arbiter of the node has ended");
        done.await.expect("the work panicked, or the arbiter of the node ended meanwhile")
    }

    /// Begins `work` on the arbiter of the node. It ends when what is returned is dropped, or the future of this.
    pub(super) async fn while_held<F: Future<Output = ()> + 'static>(
        &self,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> Hold {
        let (hold, dropped) = oneshot::channel();
        let begin = move || {
            actix_rt::spawn(async move {
                tokio::select! {
                    biased;
                    _ = dropped => {}
                    () = work() => {}
                }
            });
        };
        self.run(begin).await;
        hold
    }
}

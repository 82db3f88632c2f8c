//! The test kit: how to test an actor, a swarm of nodes and a rule, in virtual time and without a
//! socket.
//!
//! | to stand in for | there is |
//! |---|---|
//! | an actor, of which the test looks at every message | [`Probe`], with [`Asked`] for the answers |
//! | an actor that answers by a script | [`MockActor`], verified when its [`MockGuard`] is dropped |
//! | two nodes and the QUIC between them | [`pair`], or [`pair_over`] a bad [`Network`] with a [`Partition`] |
//! | the clock of actors and nodes | `tokio::time::pause` |
//! | the clock of a rule that is given `now` | [`FakeClock`] |
//!
//! An application names the crate `actix_swarm` where these pages say `swarm_actors` and `swarm_protocols`;
//! for a paused clock it has tokio with the feature `test-util` among its development dependencies.
//!
//! Probes and mocks pass messages and answers through the codec of the wire: what cannot travel between two nodes,
//! such as a field that is skipped where it is empty, fails in the unit test.
//!
//! Everything that waits is bounded, and a panic names the line of the test, what was expected and
//! what came. Three examples of the repository, which run as tests too, show more, to be copied:
//!
//! | example | what it tests |
//! |---|---|
//! | `examples/test_an_actor.rs` | an actor against a script, message by message, and against one that says nothing |
//! | `examples/test_over_a_bad_network.rs` | what actors do about losses, delays and partitions |
//! | `examples/test_a_rule.rs` | a rule without an actor, by the crate `proptest`, on thousands of histories |
//!
//! An actor that is given [mailboxes](crate::Mailbox) does not know who is behind them. Let it be a
//! mock where the test cares about what the actor makes of the answers, and a probe where the test
//! decides message by message, or is slow on purpose.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//! use swarm_actors::{Mailbox, testing::{MockActor, Probe}};
//! use swarm_protocols::{Request, protocol};
//!
//! /// What a thermometer is asked: the temperature in degrees Celsius.
//! #[derive(Serialize, Deserialize, Request)]
//! #[request(name = "read", reply = f64)]
//! struct Read;
//! protocol! { Thermometer = "thermometer" { Read } }
//!
//! // What is under test. It knows a protocol, not an actor.
//! async fn is_freezing(thermometer: Mailbox<Thermometer>) -> Option<bool> {
//!     let celsius = thermometer.ask(Read).timeout(Duration::from_secs(10)).await;
//!     celsius.ok().map(|celsius| celsius < 0.0)
//! }
//!
//! # actix::System::new().block_on(async {
//! tokio::time::pause();
//! // A script. That it is followed to its end is verified when the guard goes.
//! let (thermometer, _verified) = MockActor::<Thermometer>::new().once::<Read>(|_| Ok(-3.5)).start();
//! assert_eq!(is_freezing(thermometer).await, Some(true));
//! // A thermometer that says nothing. The ten seconds pass at once: a paused clock jumps when all wait for it.
//! let (thermometer, mut probe) = Probe::<Thermometer>::new();
//! let test = async { probe.expect::<Read>().await.hold().await };
//! assert_eq!(tokio::join!(is_freezing(thermometer), test), (None, ()));
//! # });
//! ```

mod asked;
mod carry;
mod fake_clock;
mod memory;
mod mock;
mod probe;

pub use crate::transport::memory::{Direction, Network};
pub use asked::Asked;
pub use fake_clock::FakeClock;
pub use memory::{Cut, MemoryNode, Partition, pair, pair_over, resolve_soon};
pub use mock::{MockActor, MockGuard};
pub use probe::Probe;

#[cfg(test)]
mod tests;

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
//! what came. The examples `test_an_actor`, `test_over_a_bad_network` and `test_a_rule` of the
//! repository hold what follows at more length, to be run and to be copied.
//!
//! # An actor with mocked mailboxes
//! An actor that is given [mailboxes](crate::Mailbox) does not know who is behind them. Let it be a
//! mock where the test cares about what the actor makes of the answers, and a probe where the test
//! decides message by message, or is slow on purpose.
//!
//! ```
//! use actix::{Actor, Context, Handler};
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//! use swarm_actors::testing::{MockActor, Probe};
//! use swarm_actors::{Answer, Call, Mailbox};
//! use swarm_protocols::{Request, protocol};
//!
//! /// What a thermometer is asked: the temperature in degrees Celsius.
//! #[derive(Serialize, Deserialize, Request)]
//! #[request(name = "read", reply = f64)]
//! struct Read;
//! /// What the actor under test is asked; it answers nothing if it does not know.
//! #[derive(Serialize, Deserialize, Request)]
//! #[request(name = "is-freezing", reply = Option<bool>)]
//! struct IsFreezing;
//! protocol! { Thermometer = "thermometer" { Read } }
//! protocol! { FrostWatch = "frost-watch" { IsFreezing } }
//!
//! struct Watch {
//!     thermometer: Mailbox<Thermometer>,
//! }
//!
//! impl Actor for Watch {
//!     type Context = Context<Self>;
//! }
//!
//! impl Handler<Call<IsFreezing>> for Watch {
//!     type Result = Answer<IsFreezing>;
//!
//!     fn handle(&mut self, call: Call<IsFreezing>, _: &mut Self::Context) -> Self::Result {
//!         let thermometer = self.thermometer.clone();
//!         call.answer(async move |_| {
//!             let celsius = thermometer.ask(Read).timeout(Duration::from_secs(10)).await;
//!             Ok(celsius.ok().map(|celsius| celsius < 0.0))
//!         })
//!     }
//! }
//!
//! fn watch(thermometer: Mailbox<Thermometer>) -> Mailbox<FrostWatch> {
//!     Mailbox::start(Watch { thermometer })
//! }
//!
//! # actix::System::new().block_on(async {
//! tokio::time::pause();
//!
//! // A script: frost, then none. That both are asked for is verified when the guard goes.
//! let script = MockActor::<Thermometer>::new().once::<Read>(|_| Ok(-3.5)).once::<Read>(|_| Ok(21.0));
//! let (thermometer, _verified) = script.start();
//! let knows = watch(thermometer);
//! assert_eq!(knows.ask(IsFreezing).await, Ok(Some(true)));
//! assert_eq!(knows.ask(IsFreezing).await, Ok(Some(false)));
//!
//! // A thermometer that says nothing. The ten seconds pass at once: a paused clock jumps when all
//! // wait for it.
//! let (thermometer, mut probe) = Probe::<Thermometer>::new();
//! let knows = watch(thermometer);
//! let test = async { probe.expect::<Read>().await.hold().await };
//! let (answer, ()) = tokio::join!(async { knows.ask(IsFreezing).await }, test);
//! assert_eq!(answer, Ok(None));
//! # });
//! ```
//!
//! # Two nodes over a bad network
//! The nodes of a pair are those of production, from the handshake to the lanes; only what lies below
//! them is simulated. [`Network`] says what that leaves out, and why a loss is a delay.
//!
//! ```
//! use std::time::Duration;
//! use swarm_actors::testing::{MemoryNode, MockActor, Network, pair_over, resolve_soon};
//! use swarm_actors::{AskError, Mailbox};
//! use swarm_protocols::{DeliveryError, Role};
//! # use serde::{Deserialize, Serialize};
//! # use swarm_protocols::{Request, protocol};
//! # #[derive(Serialize, Deserialize, Request)]
//! # #[request(name = "read", reply = f64)]
//! # struct Read;
//! # protocol! { Thermometer = "thermometer" { Read } }
//!
//! # actix::System::new().block_on(async {
//! tokio::time::pause();
//! let delay = Duration::from_millis(5)..Duration::from_millis(40);
//! let network = Network { loss: 0.2, duplication: 0.05, ..Network::new(7, delay) };
//! let (desk, hut) = (MemoryNode::new("desk", Role::Operator), MemoryNode::new("hut", Role::Agent));
//! let (desk, hut, mut partition) = pair_over(desk, hut, network).await;
//!
//! let (thermometer, _verified) = MockActor::<Thermometer>::new().on::<Read>(|_| Ok(-3.5)).start();
//! let _exposed = hut.expose("thermometer", thermometer).allow(Role::Operator).register().await?;
//! let thermometer: Mailbox<Thermometer> = resolve_soon(&desk, "hut/thermometer").await;
//!
//! // Losses cost time and nothing else.
//! assert_eq!(thermometer.ask(Read).await, Ok(-3.5));
//!
//! // So does a short partition: the request is answered when the network is healed.
//! partition.split();
//! let (celsius, ()) = tokio::join!(async { thermometer.ask(Read).await }, async {
//!     tokio::time::sleep(Duration::from_secs(5)).await;
//!     partition.heal();
//! });
//! assert_eq!(celsius, Ok(-3.5));
//!
//! // A long one is another thing: after ten seconds of silence both sides give up.
//! partition.split();
//! let lost = thermometer.ask(Read).await;
//! assert!(matches!(lost, Err(AskError::Delivery(DeliveryError::SessionLost { .. }))));
//!
//! partition.heal();
//! partition.reconnect().await;
//! let thermometer: Mailbox<Thermometer> = resolve_soon(&desk, "hut/thermometer").await;
//! assert_eq!(thermometer.ask(Read).await, Ok(-3.5));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # A rule by property test
//! What is hard about an actor belongs into a rule without an actor: a value that takes events and
//! `now`, and says what to do. It needs no runtime, so a property can be tried on thousands of
//! histories, here with the crate `proptest`.
//!
//! ```
//! use proptest::prelude::*;
//! use std::{collections::VecDeque, time::{Duration, Instant}};
//! use swarm_actors::testing::FakeClock;
//!
//! const WINDOW: Duration = Duration::from_secs(60);
//! const CALLS: usize = 3;
//!
//! /// Lets at most three calls a minute through.
//! #[derive(Default)]
//! struct Allowance {
//!     calls: VecDeque<Instant>,
//! }
//!
//! impl Allowance {
//!     /// Lets a call through, or says how long to wait.
//!     fn call(&mut self, now: Instant) -> Result<(), Duration> {
//!         while self.calls.front().is_some_and(|first| now - *first >= WINDOW) {
//!             self.calls.pop_front();
//!         }
//!         if self.calls.len() == CALLS {
//!             return Err(WINDOW - (now - self.calls[0]));
//!         }
//!         self.calls.push_back(now);
//!         Ok(())
//!     }
//! }
//!
//! proptest!(|(pauses in prop::collection::vec(0_u64..40, 1..100))| {
//!     let (mut clock, mut allowance) = (FakeClock::new(), Allowance::default());
//!     let mut passed: Vec<Instant> = Vec::new();
//!     for pause in pauses {
//!         let mut now = clock.advance(Duration::from_secs(pause));
//!         if let Err(wait) = allowance.call(now) {
//!             // Whoever waits as long as he was told gets through.
//!             now = clock.advance(wait);
//!             prop_assert_eq!(allowance.call(now), Ok(()));
//!         }
//!         passed.push(now);
//!         // Never more than three in a minute, wherever that begins.
//!         let in_window = passed.iter().filter(|time| now - **time < WINDOW).count();
//!         prop_assert!(in_window <= CALLS);
//!     }
//! });
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

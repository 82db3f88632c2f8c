//! The test kit: [`Probe`] stands in for an actor, [`pair`] joins two nodes without a socket.
//!
//! Under a paused tokio clock both run in virtual time:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//! use swarm_actors::{AskError, testing::Probe};
//! use swarm_protocols::{DeliveryError, NoError, Request, protocol};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct PriceOf(String);
//! impl Request for PriceOf {
//!     const NAME: &'static str = "price-of";
//!     const VERSION: u16 = 1;
//!     type Reply = f64;
//!     type Error = NoError;
//! }
//! protocol! { Quotes = "quotes" { PriceOf } }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let (quotes, mut probe) = Probe::<Quotes>::new();
//! let code_under_test = async { quotes.ask(PriceOf("SPY".into())).await };
//! let test = async {
//!     let asked = probe.expect::<PriceOf>().await;
//!     assert_eq!(asked.request(), &PriceOf("SPY".into()));
//!     asked.reply(Ok(396.33));
//! };
//! let (price, ()) = tokio::join!(code_under_test, test);
//! assert_eq!(price, Ok(396.33));
//! # });
//! ```

mod asked;
mod fake_clock;
mod line;
mod memory;
mod mock;
mod network;
mod probe;

pub use asked::Asked;
pub use fake_clock::FakeClock;
pub use memory::{Cut, Direction, MemoryNode, Partition, pair, pair_over, resolve_soon};
pub use mock::{MockActor, MockGuard};
pub use network::Network;
pub use probe::Probe;

#[cfg(test)]
mod tests;

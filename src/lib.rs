//! actix actors that live on many machines.
//!
//! Declare what can be asked, expose an actor on one machine, ask it from another. The caller holds
//! a [`Mailbox`], and the same type would hold an actor of its own process or, in a test, a
//! [`Probe`](testing::Probe). In between is QUIC, on which both sides have shown a certificate.
//!
//! ```
//! use actix::prelude::*;
//! use actix_swarm::{Call, Mailbox, NoError, Node, NodeConfig, Request, Role, protocol};
//! use serde::{Deserialize, Serialize};
//! # use actix_swarm::identity::{Authority, Validity};
//! # use std::time::{Duration, SystemTime};
//!
//! // What both machines know.
//! #[derive(Serialize, Deserialize, Request)]
//! #[request(name = "mean", reply = f64)]
//! struct Mean { prices: Vec<f64> }
//!
//! protocol! { pub Statistics = "statistics" { Mean } }
//!
//! // The actor, an ordinary one.
//! struct Statistician;
//!
//! impl Actor for Statistician {
//!     type Context = Context<Self>;
//! }
//!
//! impl Handler<Call<Mean>> for Statistician {
//!     type Result = Result<f64, NoError>;
//!
//!     fn handle(&mut self, call: Call<Mean>, _: &mut Self::Context) -> Self::Result {
//!         let prices = &call.request.prices;
//!         Ok(prices.iter().sum::<f64>() / prices.len() as f64)
//!     }
//! }
//!
//! # #[actix::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let day = Validity::starting(SystemTime::now(), Duration::from_secs(86_400))?;
//! # let authority = Authority::new("example", day)?;
//! # let identity_a = authority.issue(&"agent-1".parse()?, Role::Agent, day)?;
//! # let identity_b = authority.issue(&"desk".parse()?, Role::Operator, day)?;
//! // In a program an identity is a folder that `swarm ca issue` or `enrol` made: `Identity::load_directory("agent-1")?`.
//! // Machine A: start the actor and expose it to operators.
//! let a = Node::start(NodeConfig::new(identity_a, "127.0.0.1:0".parse()?)).await?;
//! let mailbox = Mailbox::start(Statistician);
//! let _exposed = a.expose::<Statistics>("statistics", mailbox).allow(Role::Operator).register().await?;
//!
//! // Machine B: connect, resolve, ask.
//! # let address_of_a = a.address().expect("it listens");
//! let b = Node::start(NodeConfig::new(identity_b, "127.0.0.1:0".parse()?)).await?;
//! b.connect("agent-1".parse()?, address_of_a).await?;
//! let statistics: Mailbox<Statistics> = b.resolve("agent-1/statistics").await?;
//! let mean = statistics.ask(Mean { prices: vec![395.1, 396.3, 397.5] }).await?;
//! assert_eq!(mean, 396.3);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//! - The [`guide`]: concepts, writing an actor, deploying, the security model.
//! - Asking: [`Mailbox`], [`Ask`], [`Pipeline`], and what can go wrong: [`AskError`], [`DeliveryError`].
//! - Answering: [`Call`], [`Answer`], [`Workers`] for what takes long.
//! - Choosing among mailboxes: [`Layer`].
//! - Machines: [`Node`], [`identity`], [`PeerEvent`]; staying connected, certified and drained: [`guide::embedding`].
//! - Own work for many machines: [`task`], [`content_store`], [`protocols::part`]; the [guide](guide::own_task_kind) shows it.
//! - Testing: [`testing`].
//! - Actors that are ready to use: [`coordinator`], and with the feature `kernels`, which is on by default,
//!   [`pattern_matcher`] and [`correlator`]; what they are asked is in [`protocols`].
//! - Certificates that renew themselves, and machines that enrol: [`certificate_authority`],
//!   [`certificate_keeper`], [`enrolment`].
//! - Patterns on disk, whose parts agents share: [`pattern_file`].
//! - Arithmetic without actors: the crate `swarm-kernels`.
//! - The wire, for other languages: `protocols/SPEC.md` in the repository.

pub mod guide;

pub use swarm_actors::*;
#[doc(inline)]
pub use swarm_protocols as protocols;
pub use swarm_protocols::{
    Accepts, Blob, ContentHash, Delivery, DeliveryError, Floats, MailboxAddress, MailboxName, NoError,
    NodeId, Protocol, Role, Visitor, protocol, session, wire,
};

pub use request::Request;

/// The trait `Request` with the derive macro for crates that know it from here.
mod request {
    pub use swarm_derive::RequestOfActixSwarm as Request;
    pub use swarm_protocols::*;
}

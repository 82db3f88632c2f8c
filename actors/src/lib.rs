//! The actors around the sans-IO state machines of [`swarm_protocols`]: the node, the bridge from the streams of a
//! transport to mailboxes, sessions, and the actors of a swarm.
//!
//! The parts that an application meets: [`Node`], [`Mailbox`], [`Call`] and, in tests,
//! [`testing::Probe`].

mod arbiters;
mod budget;
mod call;
pub mod certificate_authority;
pub mod certificate_keeper;
pub mod content_store;
pub mod coordinator;
#[cfg(feature = "kernels")]
pub mod correlator;
pub mod enrolment;
mod gate;
pub mod identity;
mod log_limit;
mod mailbox;
mod node;
#[cfg(feature = "kernels")]
mod parts;
#[cfg(feature = "kernels")]
pub mod pattern_file;
#[cfg(feature = "kernels")]
pub mod pattern_matcher;
mod quic_bridge;
mod session;
mod subscription;
pub mod task;
#[cfg(test)]
mod temp_folder;
pub mod testing;
pub mod transport;
mod watchdog;
mod workers;

pub use call::{Answer, Call, Caller, Cancellation, Outcome, Priority};
pub use mailbox::{
    ActorPorts, Ask, AskError, AskFuture, Attempt, Choice, EncodedAsk, EncodedAskError, EncodedMailbox, End,
    Ended, InboxPorts, Layer, Mailbox, Pipeline, TIMEOUT_DEFAULT, TIMEOUT_MAX, Tell, TellError,
};
pub use node::{
    ConnectError, ConnectionState, ExposedName, Exposing, InvalidPeerAddress, KeptConnection, NameEvent,
    Node, NodeConfig, NodeStatistics, Peer, PeerAddress, PeerEvent, Refusal, Registration, ResolveError,
    SessionStatistics, SetIdentityError, StartError, StopSignal, StopSignals, Wanted,
};
pub use session::{DeadLetter, DeadLetters, ExposeError};
pub use subscription::Subscription;
pub use workers::{WorkError, Workers};

//! actix shells over the rules of [`swarm_protocols`]: the node, the bridge from QUIC streams to
//! mailboxes, sessions, and the actors of a swarm.
//!
//! The parts that an application meets: [`Node`], [`Mailbox`], [`Call`] and, in tests,
//! [`testing::Probe`].

mod call;
pub mod certificate_authority;
pub mod coordinator;
pub mod correlator;
pub mod enrolment;
mod gate;
mod groups;
pub mod identity;
mod mailbox;
mod node;
mod part_store;
pub mod pattern_file;
pub mod pattern_matcher;
mod quic_bridge;
mod session;
pub mod testing;
pub mod transport;
mod workers;

pub use call::{Answer, Call, Caller, Cancellation, Outcome};
pub use mailbox::{
    ActorPorts, Ask, AskError, AskFuture, EncodedAsk, EncodedAskError, EncodedMailbox, Mailbox, Priority,
    TIMEOUT_DEFAULT, TIMEOUT_MAX, Tell, TellError,
};
pub use node::{
    ConnectError, ExposedName, Exposing, NameEvent, Node, NodeConfig, NodeStatistics, Peer, PeerEvent,
    Refusal, Registration, ResolveError, SessionStatistics, SetIdentityError, StartError, Wanted,
};
pub use session::ExposeError;
pub use workers::{WorkError, Workers};

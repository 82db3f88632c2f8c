//! What the parties of a swarm agree on.
//!
//! This crate is pure: it holds no actor, no socket, no clock and no randomness. It has two kinds
//! of content: declarations (requests, the wire) and rules, which are sans-IO state machines that
//! take events and `now` and say what is to be done.

// The derive macro names this crate from outside, also in here.
extern crate self as swarm_protocols;

mod backoff;
mod blob;
pub mod certificates;
pub mod classification;
pub mod content;
pub mod content_store;
pub mod coordinator;
pub mod correlation;
mod delivery;
pub mod distance;
mod floats;
mod identity;
pub mod part;
pub mod pattern_file;
pub mod peers;
mod request;
pub mod series_group;
pub mod series_matcher;
pub mod series_search;
pub mod session;
pub mod similar_windows;
pub mod wire;

pub use backoff::Backoff;
pub use blob::Blob;
pub use content::ContentHash;
pub use delivery::{Delivery, DeliveryError, acceptance, printable, unstacked, visible};
pub use floats::Floats;
pub use identity::{
    Caller, InvalidAddress, InvalidName, InvalidRole, MailboxAddress, MailboxName, NAME_BYTES_MAX, NodeId,
    Role, is_name,
};
pub use request::{Accepts, NoError, Ports, Protocol, Request, ServedBy, Visitor};
#[doc(hidden)]
pub use request::{is_new, is_older};
pub use swarm_derive::Request;

//! Enrolment over the network: a listener of its own on a coordinator, and the newcomer that asks there.
//!
//! A connection carries one request and its answer, on one stream, and nothing else can be reached through it.
//! The newcomer shows no certificate; what it knows of the coordinator is the fingerprint of the authority in its
//! token, which is not sent before the coordinator has proved itself. `protocols/SPEC.md` says it byte by byte.

mod listener;
mod newcomer;
#[cfg(test)]
mod tests;

pub use listener::{CONNECTIONS_MAX, EnrolmentError, EnrolmentListener, TIME_MAX};
pub use newcomer::{EnrolError, enrol};

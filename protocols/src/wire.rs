//! The wire: how messages become bytes. `SPEC.md` beside this crate says the same for other
//! languages.

pub mod codec;
pub mod control;
pub mod frame;
#[cfg(test)]
pub(crate) mod spec_vectors;
pub mod varint;

/// How the reason of UNENCODABLE begins where there is no room for an answer: that is no fault of whoever gave it.
pub const NO_ROOM: &str = "there is no room for an answer";

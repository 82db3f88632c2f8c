//! The wire: how messages become bytes. `SPEC.md` beside this crate says the same for other
//! languages.

pub mod codec;
pub mod control;
pub mod frame;
#[cfg(test)]
pub(crate) mod spec_vectors;
pub mod varint;

//! Actors.

pub mod identity;

//! The command line of actix-swarm.
mod swarm;
fn main() {}

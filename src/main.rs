//! The command line of actix-swarm.

fn main() {}

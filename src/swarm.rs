//! A swarm from a topology file: its nodes, its jobs and what they are fed with.

pub(crate) mod document;
pub(crate) mod node_file;
pub(crate) mod prices;
pub(crate) mod report;
pub(crate) mod topology;

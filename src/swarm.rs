//! A swarm from a topology file: its nodes, its jobs and what they are fed with.

pub(crate) mod document;
pub(crate) mod fleet;
pub(crate) mod jobs;
pub(crate) mod member;
pub(crate) mod node_file;
pub(crate) mod node_options;
pub(crate) mod operator;
pub(crate) mod outcome;
pub(crate) mod prices;
pub(crate) mod process;
pub(crate) mod progress;
pub(crate) mod reconnection;
pub(crate) mod report;
pub(crate) mod run_folder;
pub(crate) mod spread;
pub(crate) mod supervision;
pub(crate) mod task_file;
pub(crate) mod topology;
mod words;

//! What the tasks of each client hold of the content that clients share.

use crate::content_store::{Contents, Held};
use std::collections::BTreeMap;
use swarm_protocols::{
    ContentHash,
    coordinator::{QueueLimit, TaskError},
};

/// The inputs that the tasks of a coordinator hold, by client; the empty name is that of whoever is no node.
#[derive(Debug, Default)]
pub(super) struct InputsHeld(BTreeMap<String, Own>);

/// Those of one client, each counted once however many of its tasks hold it.
#[derive(Debug, Default)]
struct Own {
    tasks: BTreeMap<ContentHash, usize>,
    bytes: usize,
}

impl InputsHeld {
    /// Whether a client may have a new task with these inputs: then it may hold as much as is left beside. What others hold
    /// as well counts for it too.
    pub(super) fn check(&self, client: &str, inputs: &[Held], contents: &Contents) -> Result<(), TaskError> {
        // The inputs are among what is held.
        let (bytes_max, held) = contents.bytes_max_and_held();
        let of_client = self.0.get(client);
        let is_new = |input: &&Held| of_client.is_none_or(|own| !own.tasks.contains_key(&input.hash()));
        let new: usize = inputs.iter().filter(is_new).map(Held::counted).sum();
        let own = of_client.map_or(0, |own| own.bytes) + new;
        if new > 0 && held + own > bytes_max {
            return Err(TaskError::QueueFull { limit: QueueLimit::Inputs(bytes_max as u64) });
        }
        Ok(())
    }

    /// A task of this client is on the board; none of its inputs is named twice.
    pub(super) fn add(&mut self, client: &str, inputs: &[Held]) {
        if inputs.is_empty() {
            return;
        }
        let own = self.0.entry(client.to_owned()).or_default();
        for input in inputs {
            let tasks = own.tasks.entry(input.hash()).or_default();
            own.bytes += if *tasks == 0 { input.counted() } else { 0 };
            *tasks += 1;
        }
    }

    /// A task of this client has left the board.
    pub(super) fn remove(&mut self, client: &str, inputs: &[Held]) {
        let Some(own) = self.0.get_mut(client) else { return };
        for input in inputs {
            let tasks = own.tasks.get_mut(&input.hash()).expect("it was added with its task");
            *tasks -= 1;
            if *tasks == 0 {
                own.tasks.remove(&input.hash());
                own.bytes -= input.counted();
            }
        }
        if own.tasks.is_empty() {
            self.0.remove(client);
        }
    }
}

//! What clients hold against agents whose answers were impossible. Each for itself: what one client says of an agent
//! counts for no other.

use super::Offset;
use crate::{NodeId, coordinator::AVOIDED_MAX};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How long an agent is held something against.
const HELD: Duration = Duration::from_secs(600);

/// How many clients are known, those who said something last.
const CLIENTS_MAX: usize = 100;

/// When a client said last that it avoids an agent.
#[derive(Debug, Default)]
pub(super) struct Distrust(BTreeMap<String, BTreeMap<NodeId, Offset>>);

impl Distrust {
    /// A task of this client avoids these agents.
    pub(super) fn note(&mut self, client: &str, avoided: &BTreeSet<NodeId>, now: Offset) {
        if avoided.is_empty() {
            return;
        }
        let agents = self.0.entry(client.to_owned()).or_default();
        agents.retain(|_, said| now.since(*said) < HELD);
        agents.extend(avoided.iter().map(|agent| (agent.clone(), now)));
        while agents.len() > AVOIDED_MAX {
            remove_oldest(agents, |said| *said);
        }
        if self.0.len() > CLIENTS_MAX {
            remove_oldest(&mut self.0, |agents| agents.values().max().copied().unwrap_or_default());
        }
    }

    /// Whom this client does not trust.
    pub(super) fn of(&self, client: &str, now: Offset) -> BTreeSet<NodeId> {
        let held = |(agent, said): (&NodeId, &Offset)| (now.since(*said) < HELD).then(|| agent.clone());
        self.0.get(client).into_iter().flatten().filter_map(held).collect()
    }
}

fn remove_oldest<K: Ord + Clone, V>(map: &mut BTreeMap<K, V>, age: impl Fn(&V) -> Offset) {
    let oldest = map.iter().min_by_key(|(_, value)| age(value)).map(|(key, _)| key.clone());
    oldest.into_iter().for_each(|key| drop(map.remove(&key)));
}

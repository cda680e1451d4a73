//! The names of a queue's keys: a fixed set under one hash tag, so that they share a slot of Redis Cluster.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tidemill_core::QueueName;

use super::script::Script;

/// The set of all queues' names, the one key outside of the queues' hash tags.
pub(super) const QUEUES: &str = "tidemill:queues";
/// The short name of a key that never exists, which all scripts declare in a Cluster. While the queue's slot is on its way
/// from one node to another, a node refuses a script (TRYAGAIN, or ASK) of whose keys it lacks some, before anything is
/// written; one that finds all of its keys begins, and fails half-way on a key that it empties, and so loses, itself. The key
/// that is never there makes that a refusal, on both nodes, until the slot has settled.
const ABSENT: &str = "absent";
/// Most queues whose key names are remembered; beyond, they are made anew each time.
const REMEMBERED: usize = 4_096;

/// `tidemill:{queue}:name`.
pub(super) fn key(queue: &QueueName, name: &str) -> String {
    format!("tidemill:{{{queue}}}:{name}")
}

/// The keys of each script, by its name.
type ByScript = HashMap<&'static str, Arc<[String]>>;

/// Key names that have been made before.
#[derive(Debug)]
pub(super) struct KeyNames {
    with_absent: bool,
    known: RwLock<HashMap<QueueName, ByScript>>,
}

impl KeyNames {
    /// Names for a Cluster, or for one server.
    pub(super) fn new(is_cluster: bool) -> Self {
        Self { with_absent: is_cluster, known: RwLock::default() }
    }

    /// The keys that `script` declares, for `queue`: those of its head, in order, and in a Cluster the one that never exists.
    pub(super) fn of(&self, queue: &QueueName, script: &Script) -> Arc<[String]> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = known.get(queue).and_then(|scripts| scripts.get(script.name)) {
            return Arc::clone(keys);
        }
        drop(known);
        let absent = self.with_absent.then_some(ABSENT);
        let keys: Arc<[String]> = script.keys.iter().copied().chain(absent).map(|short| key(queue, short)).collect();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < REMEMBERED || known.contains_key(queue) {
            known.entry(queue.clone()).or_default().insert(script.name, Arc::clone(&keys));
        }
        keys
    }
}

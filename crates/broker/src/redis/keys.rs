//! The names of a queue's keys: a fixed set under one hash tag, so that they share a slot of Redis Cluster.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tidemill_core::QueueName;

use super::script::Script;

/// The set of all queues' names, the one key outside of the queues' hash tags.
pub(super) const QUEUES: &str = "tidemill:queues";
/// Most queues whose key names are remembered; beyond, they are made anew each time.
const REMEMBERED: usize = 4_096;

/// `tidemill:{queue}:name`.
pub(super) fn key(queue: &QueueName, name: &str) -> String {
    format!("tidemill:{{{queue}}}:{name}")
}

/// The keys of each script, by its name.
type ByScript = HashMap<&'static str, Arc<[String]>>;

/// Key names that have been made before.
#[derive(Debug, Default)]
pub(super) struct KeyNames {
    known: RwLock<HashMap<QueueName, ByScript>>,
}

impl KeyNames {
    /// The keys that `script` declares, for `queue`.
    pub(super) fn of(&self, queue: &QueueName, script: &Script) -> Arc<[String]> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = known.get(queue).and_then(|scripts| scripts.get(script.name)) {
            return Arc::clone(keys);
        }
        drop(known);
        let keys: Arc<[String]> = script.keys.iter().map(|short| key(queue, short)).collect();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < REMEMBERED || known.contains_key(queue) {
            known.entry(queue.clone()).or_default().insert(script.name, Arc::clone(&keys));
        }
        keys
    }
}

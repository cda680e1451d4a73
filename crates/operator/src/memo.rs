//! What this process last did for each TaskQueue. Nothing here is needed to go on: a new leader begins without it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use tokio::time::Instant;

use crate::crd::{TaskQueue, TaskQueueStatus};
use crate::gauge::Key;

/// What was last done for all TaskQueues.
#[derive(Default)]
pub(crate) struct Memos {
    all: Mutex<HashMap<Key, Memo>>,
}

/// What was last done for one.
#[derive(Clone, Default)]
pub(crate) struct Memo {
    /// Which of those that ever had this name.
    uid: Option<String>,
    /// The last status that was written, and when.
    pub(crate) status: Option<(TaskQueueStatus, Instant)>,
    /// The worker Deployment as the last apply left it. The watch may not have told of that yet.
    pub(crate) deployment: Option<Arc<Deployment>>,
    /// A change of the number of pods that no status says yet.
    pub(crate) scaled: Option<(u32, u32)>,
    /// The broker may have been asked to hold claims back.
    pub(crate) held: bool,
    /// The copy of the installation's broker access is known to be gone.
    pub(crate) copy_gone: bool,
}

impl Memos {
    /// What is known of `task_queue`.
    pub(crate) fn of(&self, task_queue: &TaskQueue) -> Memo {
        let memo = self.lock().get(&key(task_queue)).filter(|memo| memo.uid == task_queue.uid()).cloned();
        memo.unwrap_or_default()
    }

    /// Notes something.
    pub(crate) fn note(&self, task_queue: &TaskQueue, note: impl FnOnce(&mut Memo)) {
        let mut all = self.lock();
        let memo = all.entry(key(task_queue)).or_default();
        if memo.uid != task_queue.uid() {
            *memo = Memo { uid: task_queue.uid(), ..Memo::default() };
        }
        note(memo);
    }

    /// Forgets whoever has this name.
    pub(crate) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Memo>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A TaskQueue's namespace and name.
pub(crate) fn key(task_queue: &TaskQueue) -> Key {
    (task_queue.namespace().unwrap_or_default(), task_queue.name_any())
}

//! What the process keeps in memory of each queue: who waits, who watches, and whether there is work.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidemill_core::{Event, EventBatch, QueueName};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use crate::subscription::{Delivery, Publisher, Subscription};

/// Longest sleep of a waiter between two looks at the clock, which others may move (a suspended laptop, a test).
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Stands for "nothing will fall due".
const NEVER: u64 = u64::MAX;

/// All queues, by name.
#[derive(Default)]
pub(super) struct Hub {
    queues: Mutex<HashMap<QueueName, Arc<Shared>>>,
    closed: CancellationToken,
}

/// One queue. The writer sets it after each commit.
#[derive(Default)]
pub(super) struct Shared {
    publisher: Mutex<Option<Publisher>>,
    last_batch: AtomicU64,
    /// Whether the queue was dropped. Its watchers hear of one that is created anew.
    gone: AtomicBool,
    pending: AtomicU64,
    paused: AtomicBool,
    due_at_ms: AtomicU64,
    woken: Notify,
}

impl Hub {
    pub(super) fn get(&self, name: &QueueName) -> Option<Arc<Shared>> {
        locked(&self.queues).get(name).filter(|shared| !shared.gone.load(Ordering::SeqCst)).cloned()
    }

    pub(super) fn get_or_insert(&self, name: &QueueName) -> Arc<Shared> {
        let new = || {
            let publisher = Mutex::new((!self.is_closed()).then(Publisher::default));
            Arc::new(Shared { publisher, due_at_ms: AtomicU64::new(NEVER), ..Shared::default() })
        };
        let shared = locked(&self.queues).entry(name.clone()).or_insert_with(new).clone();
        if shared.gone.swap(false, Ordering::SeqCst) && !self.is_closed() {
            locked(&shared.publisher).get_or_insert_default();
        }
        shared
    }

    #[cfg(feature = "conformance")]
    pub(super) fn all(&self) -> Vec<(QueueName, Arc<Shared>)> {
        locked(&self.queues).iter().map(|(name, shared)| (name.clone(), shared.clone())).collect()
    }

    #[cfg(feature = "conformance")]
    pub(super) fn forget(&self, name: &QueueName) {
        locked(&self.queues).remove(name);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Ends all waiters and watchers.
    pub(super) fn close(&self) {
        self.closed.cancel();
        for shared in locked(&self.queues).values() {
            locked(&shared.publisher).take();
        }
    }

    /// Returns when `shared` has work, something of it falls due, someone wakes this waiter, or at `until`.
    pub(super) async fn wait(&self, shared: &Shared, clock: &dyn Clock, until: Duration) {
        let deadline = Instant::now() + until;
        let mut woken = pin!(shared.woken.notified());
        loop {
            let now_ms = clock.now_ms();
            let due_at_ms = shared.due_at_ms.load(Ordering::SeqCst);
            let over = self.is_closed() || shared.gone.load(Ordering::SeqCst);
            if over || shared.has_work() || due_at_ms <= now_ms || Instant::now() >= deadline {
                return;
            }
            let until_due = Duration::from_millis(due_at_ms.saturating_sub(now_ms));
            let look_again = Instant::now() + until_due.min(LOOK_AGAIN);
            tokio::select! {
                () = &mut woken => return,
                () = self.closed.cancelled() => return,
                () = tokio::time::sleep_until(deadline.min(look_again)) => {}
            }
        }
    }
}

impl Shared {
    /// `None` once the broker is closed.
    pub(super) fn subscribe(&self) -> Option<Subscription> {
        locked(&self.publisher).as_ref().map(Publisher::subscribe)
    }

    pub(super) fn is_watched(&self) -> bool {
        locked(&self.publisher).as_ref().is_some_and(|publisher| publisher.watchers() > 0)
    }

    /// Hands the events of one operation to whoever watches.
    pub(super) fn publish(&self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let number = self.last_batch.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(publisher) = locked(&self.publisher).as_ref() {
            publisher.publish(Delivery::Batch(Arc::new(EventBatch { number, events })));
        }
    }

    /// Tells whoever watches to read the state anew.
    pub(super) fn publish_gap(&self) {
        if let Some(publisher) = locked(&self.publisher).as_ref() {
            publisher.publish(Delivery::Gap);
        }
    }

    /// Takes over what was committed. A waiter is woken where something falls due earlier than it knows.
    pub(super) fn set(&self, pending: u64, paused: bool, due_at_ms: Option<u64>) {
        self.pending.store(pending, Ordering::SeqCst);
        self.paused.store(paused, Ordering::SeqCst);
        let due_at_ms = due_at_ms.unwrap_or(NEVER);
        if due_at_ms < self.due_at_ms.swap(due_at_ms, Ordering::SeqCst) {
            self.woken.notify_one();
        }
    }

    /// The queue is no more. Whoever waits learns it from the next operation; the buffer of events stays for watchers.
    pub(super) fn leave(&self) {
        self.gone.store(true, Ordering::SeqCst);
        locked(&self.publisher).take_if(|publisher| publisher.watchers() == 0);
        self.set(0, false, None);
        self.woken.notify_waiters();
    }

    /// Wakes one waiter where there is work.
    pub(super) fn wake(&self) {
        if self.has_work() {
            self.woken.notify_one();
        }
    }

    fn has_work(&self) -> bool {
        self.pending.load(Ordering::SeqCst) > 0 && !self.paused.load(Ordering::SeqCst)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Events on their way from a store to whoever watches.

use std::sync::Arc;

use tidemill_core::EventBatch;
use tokio::sync::broadcast;

/// Batches that a slow watcher may be behind before it is told of a gap.
const BUFFERED_BATCHES: usize = 4_096;

/// What a watcher is handed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The events of one operation.
    Batch(Arc<EventBatch>),
    /// Events were lost here (a reconnection, a watcher that lagged): read the state anew.
    Gap,
}

/// The events of one queue from now on.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Delivery>,
    last: Option<u64>,
    held: Option<Arc<EventBatch>>,
}

/// The store's end of the subscriptions of one queue.
#[derive(Debug, Clone)]
pub struct Publisher {
    sender: broadcast::Sender<Delivery>,
}

impl Default for Publisher {
    fn default() -> Self {
        Self { sender: broadcast::channel(BUFFERED_BATCHES).0 }
    }
}

impl Publisher {
    /// A watcher's end.
    pub fn subscribe(&self) -> Subscription {
        Subscription { receiver: self.sender.subscribe(), last: None, held: None }
    }

    /// How many watch.
    pub fn watchers(&self) -> usize {
        self.sender.receiver_count()
    }

    /// Hands `delivery` to whoever watches.
    pub fn publish(&self, delivery: Delivery) {
        if self.sender.send(delivery).is_err() {
            tracing::trace!("nobody watches");
        }
    }
}

impl Subscription {
    /// The next delivery; `None` when the broker has been closed. Safe to drop while it waits.
    ///
    /// A number that is not one more than the last is a gap, whatever the reason.
    pub async fn next(&mut self) -> Option<Delivery> {
        if let Some(batch) = self.held.take() {
            self.last = Some(batch.number);
            return Some(Delivery::Batch(batch));
        }
        let delivery = loop {
            match self.receiver.recv().await {
                // Told twice: by the server that had the queue, and by the one that has it now.
                Ok(Delivery::Batch(batch)) if self.last == Some(batch.number) => {}
                delivery => break delivery,
            }
        };
        match delivery {
            Ok(Delivery::Batch(batch)) => {
                if self.last.is_some_and(|last| batch.number != last + 1) {
                    self.held = Some(batch);
                    return Some(self.gap());
                }
                self.last = Some(batch.number);
                Some(Delivery::Batch(batch))
            }
            Ok(Delivery::Gap) | Err(broadcast::error::RecvError::Lagged(_)) => Some(self.gap()),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    fn gap(&mut self) -> Delivery {
        self.last = None;
        Delivery::Gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(number: u64) -> Delivery {
        Delivery::Batch(Arc::new(EventBatch { number, events: Vec::new() }))
    }

    #[tokio::test]
    async fn a_missing_number_is_told_as_a_gap_before_the_next_batch() {
        let publisher = Publisher::default();
        let mut subscription = publisher.subscribe();
        for number in [7, 8, 8, 10] {
            publisher.publish(batch(number));
        }
        drop(publisher);
        let mut seen = Vec::new();
        while let Some(delivery) = subscription.next().await {
            seen.push(delivery);
        }
        assert_eq!(seen, [batch(7), batch(8), Delivery::Gap, batch(10)]);
    }

    #[tokio::test]
    async fn a_watcher_that_lags_is_told() {
        let publisher = Publisher::default();
        let mut subscription = publisher.subscribe();
        for number in 0..=BUFFERED_BATCHES as u64 {
            publisher.publish(batch(number));
        }
        assert_eq!(subscription.next().await, Some(Delivery::Gap));
        assert_eq!(subscription.next().await, Some(batch(1)));
    }
}

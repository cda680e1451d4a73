//! One subscription per watched queue, however many clients watch it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use prometheus_client::metrics::gauge::Gauge;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use tidemill_broker::{Broker, Delivery, Subscription};
use tidemill_core::{Event, QueueName, TaskRef};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::feed::{Feed, Reader};

/// How long a subscription stays that nobody uses: a page that is reloaded finds it still there.
const UNUSED_FOR: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Pumps {
    feeds: HashMap<QueueName, Arc<Feed>>,
    tasks: JoinSet<()>,
}

/// All subscriptions of this process.
pub(crate) struct Hub {
    broker: Arc<dyn Broker>,
    pumps: Arc<Mutex<Pumps>>,
    behind: Gauge,
}

impl Hub {
    /// Counts in `behind` how many messages clients have still to be sent.
    pub(crate) fn new(broker: Arc<dyn Broker>, behind: Gauge) -> Self {
        Self { broker, pumps: Arc::default(), behind }
    }

    /// A reader of the queue's messages. When this returns, the subscription is in force.
    pub(crate) async fn join(&self, queue: &QueueName) -> tidemill_broker::Result<Reader> {
        let mut pumps = self.pumps.lock().await;
        while pumps.tasks.try_join_next().is_some() {}
        if let Some(feed) = pumps.feeds.get(queue) {
            return Ok(feed.read());
        }
        let subscription = self.broker.subscribe(queue).await?;
        let feed = Feed::new(self.behind.clone());
        let reader = feed.read();
        pumps.feeds.insert(queue.clone(), feed.clone());
        pumps.tasks.spawn(pump(subscription, queue.clone(), feed, self.pumps.clone()));
        Ok(reader)
    }

    /// Ends all subscriptions.
    pub(crate) async fn close(&self) {
        let mut pumps = self.pumps.lock().await;
        pumps.feeds.clear();
        pumps.tasks.abort_all();
        while pumps.tasks.join_next().await.is_some() {}
    }
}

async fn pump(mut subscription: Subscription, queue: QueueName, feed: Arc<Feed>, pumps: Arc<Mutex<Pumps>>) {
    let mut unused_since = None;
    loop {
        match timeout(UNUSED_FOR, subscription.next()).await {
            Ok(Some(Delivery::Batch(batch))) => feed.push(batch.events.iter().filter_map(message)),
            Ok(Some(Delivery::Gap)) => {
                tracing::warn!(queue = queue.as_str(), "events were lost; WebSocket clients are told to reload");
                feed.lose();
            }
            Ok(None) => break,
            Err(_) => {}
        }
        if feed.readers() > 0 {
            unused_since = None;
            continue;
        }
        if unused_since.get_or_insert_with(Instant::now).elapsed() < UNUSED_FOR {
            continue;
        }
        let mut pumps = pumps.lock().await;
        if feed.readers() == 0 {
            pumps.feeds.remove(&queue);
            return;
        }
    }
    pumps.lock().await.feeds.remove(&queue);
    feed.lose();
}

struct Short<'a>(&'a TaskRef);

impl Serialize for Short<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(&self.0.id, &self.0.duration_ms)?;
        map.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Message<'a> {
    Scheduled(Vec<Short<'a>>),
    Next(Short<'a>),
    Start(Short<'a>),
    Done(Short<'a>),
}

/// An event as clients read it: `{"start": {"task789": 2500}}`.
fn message(event: &Event) -> Option<Utf8Bytes> {
    let message = match event {
        Event::Scheduled(tasks) => Message::Scheduled(tasks.iter().map(Short).collect()),
        Event::Next(task) => Message::Next(Short(task)),
        Event::Start(task) => Message::Start(Short(task)),
        Event::Done(task, _) => Message::Done(Short(task)),
    };
    serde_json::to_string(&message).map(Utf8Bytes::from).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_core::{State, TaskId};

    #[test]
    fn each_event_has_the_form_that_its_readers_know() {
        let task = |id: &str, duration_ms| TaskRef { id: TaskId::new(id).unwrap(), duration_ms };
        let text = |event| message(&event).unwrap().to_string();
        assert_eq!(
            text(Event::Scheduled(vec![task("task789", 2500), task("a\"b", 0)])),
            r#"{"scheduled":[{"task789":2500},{"a\"b":0}]}"#
        );
        assert_eq!(text(Event::Next(task("t", 1))), r#"{"next":{"t":1}}"#);
        assert_eq!(text(Event::Start(task("t", 1))), r#"{"start":{"t":1}}"#);
        assert_eq!(text(Event::Done(task("t", 1), State::Dead)), r#"{"done":{"t":1}}"#);
    }
}

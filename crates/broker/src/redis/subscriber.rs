//! Events: one connection of its own, on which all watched queues' channels are subscribed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use redis::aio::{PubSubSink, PubSubStream};
use tidemill_core::{Event, EventBatch, QueueName, TaskId, TaskRef};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::keys::key;
use super::link::classify;
use crate::error::{BrokerError, Result};
use crate::subscription::{Delivery, Publisher, Subscription};

/// How long a subscription may take to be in force.
const SUBSCRIBE_DEADLINE: Duration = Duration::from_millis(1_700);
/// How often the connection is asked whether it still lives.
const PING_EVERY: Duration = Duration::from_secs(5);
/// The pause before a new connection is tried, which doubles up to the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Subscriptions that may wait to be made.
const REQUESTS: usize = 64;

/// The number of the message that says that the queue was dropped; batches are numbered from 1.
const DROPPED: u64 = 0;

type Publishers = Arc<Mutex<HashMap<String, Publisher>>>;

struct Request {
    channel: String,
    in_force: oneshot::Sender<Result<()>>,
}

/// The subscribing connection of a process.
#[derive(Debug)]
pub(super) struct Subscriber {
    publishers: Publishers,
    requests: mpsc::Sender<Request>,
    task: JoinHandle<()>,
}

impl Subscriber {
    pub(super) fn new(client: redis::Client) -> Self {
        let publishers = Publishers::default();
        let (requests, inbox) = mpsc::channel(REQUESTS);
        let task = tokio::spawn(serve(client, Arc::clone(&publishers), inbox));
        Self { publishers, requests, task }
    }

    /// Watches a queue. The subscription is in force when this returns.
    pub(super) async fn subscribe(&self, queue: &QueueName) -> Result<Subscription> {
        let channel = key(queue, "channel");
        let unavailable = |reason: &str| BrokerError::Unavailable { operation: "subscribe", reason: reason.to_owned() };
        let subscription = {
            let mut publishers = self.publishers.lock().unwrap_or_else(PoisonError::into_inner);
            publishers.entry(channel.clone()).or_default().subscribe()
        };
        let (in_force, answer) = oneshot::channel();
        let ask = async {
            self.requests.send(Request { channel, in_force }).await.map_err(|_| unavailable("the broker is closed"))?;
            answer.await.map_err(|_| unavailable("the connection was lost"))?
        };
        timeout(SUBSCRIBE_DEADLINE, ask).await.map_err(|_| unavailable("no answer in time"))??;
        Ok(subscription)
    }

    /// Ends all subscriptions.
    pub(super) fn close(&self) {
        self.task.abort();
        self.publishers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.close();
    }
}

async fn serve(client: redis::Client, publishers: Publishers, mut inbox: mpsc::Receiver<Request>) {
    let mut pause = PAUSE.0;
    let Some(mut first) = inbox.recv().await.map(Some) else { return };
    let mut was_lost = false;
    loop {
        match connect(&client, &publishers).await {
            Ok(connection) => {
                pause = PAUSE.0;
                if std::mem::replace(&mut was_lost, true) {
                    // Who read the state anew since the loss was told has missed what happened after.
                    tell_gap(&publishers);
                }
                let ended = listen(connection, &publishers, &mut inbox, first.take()).await;
                tell_gap(&publishers);
                match ended {
                    Some(error) => tracing::debug!(%error, "the subscribing connection was lost"),
                    None => return,
                }
            }
            Err(error) => {
                if let Some(request) = first.take() {
                    answer(request, Err(classify("subscribe", &error)));
                }
                while let Ok(request) = inbox.try_recv() {
                    answer(request, Err(classify("subscribe", &error)));
                }
            }
        }
        sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Tells all watchers to read the state anew.
fn tell_gap(publishers: &Publishers) {
    for publisher in publishers.lock().unwrap_or_else(PoisonError::into_inner).values() {
        publisher.publish(Delivery::Gap);
    }
}

/// A subscribing connection.
struct Connection {
    sink: PubSubSink,
    stream: PubSubStream,
    subscribed: Vec<String>,
}

/// Connects, and subscribes to all that was watched before.
async fn connect(client: &redis::Client, publishers: &Publishers) -> redis::RedisResult<Connection> {
    let connecting = async {
        let (mut sink, stream) = client.get_async_pubsub().await?.split();
        let subscribed = watched(publishers);
        for channel in &subscribed {
            sink.subscribe(channel).await?;
        }
        Ok(Connection { sink, stream, subscribed })
    };
    timeout(SUBSCRIBE_DEADLINE, connecting)
        .await
        .unwrap_or_else(|_| Err((redis::ErrorKind::Io, "no answer in time").into()))
}

/// The channels that somebody watches; those that nobody watches any more are dropped.
fn watched(publishers: &Publishers) -> Vec<String> {
    let mut publishers = publishers.lock().unwrap_or_else(PoisonError::into_inner);
    publishers.retain(|_, publisher| publisher.watchers() > 0);
    publishers.keys().cloned().collect()
}

/// Serves one connection until it fails (the error) or the broker is closed (`None`).
async fn listen(
    connection: Connection,
    publishers: &Publishers,
    inbox: &mut mpsc::Receiver<Request>,
    first: Option<Request>,
) -> Option<redis::RedisError> {
    let Connection { mut sink, mut stream, mut subscribed } = connection;
    if let Some(request) = first {
        answer(request, Ok(()));
    }
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = stream.next() => {
                let Some(message) = message else {
                    return Some((redis::ErrorKind::Io, "the connection ended").into());
                };
                deliver(publishers, message.get_channel_name(), message.get_payload_bytes());
            }
            request = inbox.recv() => {
                let request = request?;
                if !subscribed.contains(&request.channel) {
                    if let Err(error) = within(sink.subscribe(request.channel.clone())).await {
                        answer(request, Err(classify("subscribe", &error)));
                        return Some(error);
                    }
                    subscribed.push(request.channel.clone());
                }
                answer(request, Ok(()));
            }
            _ = ping.tick() => {
                let live = watched(publishers);
                for channel in subscribed.iter().filter(|channel| !live.contains(channel)) {
                    if let Err(error) = within(sink.unsubscribe(channel.clone())).await {
                        return Some(error);
                    }
                }
                subscribed.retain(|channel| live.contains(channel));
                if let Err(error) = within(sink.ping::<redis::Value>()).await {
                    return Some(error);
                }
            }
        }
    }
}

async fn within<T>(action: impl Future<Output = redis::RedisResult<T>>) -> redis::RedisResult<T> {
    timeout(SUBSCRIBE_DEADLINE, action)
        .await
        .unwrap_or_else(|_| Err((redis::ErrorKind::Io, "no answer in time").into()))
}

fn answer(request: Request, answer: Result<()>) {
    if request.in_force.send(answer).is_err() {
        tracing::trace!("whoever asked for a subscription has left");
    }
}

fn deliver(publishers: &Publishers, channel: &str, payload: &[u8]) {
    let publishers = publishers.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(publisher) = publishers.get(channel) else { return };
    let delivery = parse(payload).map_or_else(
        || {
            tracing::warn!(channel, "a message of events cannot be read");
            Delivery::Gap
        },
        |batch| if batch.number == DROPPED { Delivery::Gap } else { Delivery::Batch(Arc::new(batch)) },
    );
    publisher.publish(delivery);
}

/// Reads a message as `lua/lib/events.lua` writes it.
fn parse(payload: &[u8]) -> Option<EventBatch> {
    let mut lines = std::str::from_utf8(payload).ok()?.split('\n');
    let number = lines.next()?.parse().ok()?;
    let mut events = Vec::new();
    for line in lines {
        let mut fields = line.splitn(4, ' ');
        let (kind, duration, state, id) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let task = TaskRef { id: TaskId::new(id).ok()?, duration_ms: duration.parse().ok()? };
        match (kind, events.last_mut()) {
            ("S", Some(Event::Scheduled(tasks))) => tasks.push(task),
            ("S", _) => events.push(Event::Scheduled(vec![task])),
            ("N", _) => events.push(Event::Next(task)),
            ("B", _) => events.push(Event::Start(task)),
            ("D", _) => events.push(Event::Done(task, state.parse().ok()?)),
            _ => return None,
        }
    }
    Some(EventBatch { number, events })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_whatever_its_ids_contain() {
        let batch = parse(b"7\nS 100 - a b\nS 0 - N 1 - c\nN 100 - a b\nB 100 - a b\nD 100 succeeded a b").unwrap();
        let task = |id: &str, duration_ms| TaskRef { id: TaskId::new(id).unwrap(), duration_ms };
        let first = task("a b", 100);
        assert_eq!(batch.number, 7);
        assert_eq!(
            batch.events,
            [
                Event::Scheduled(vec![first.clone(), task("N 1 - c", 0)]),
                Event::Next(first.clone()),
                Event::Start(first.clone()),
                Event::Done(first, tidemill_core::State::Succeeded),
            ]
        );
    }

    #[test]
    fn a_message_that_makes_no_sense_is_no_message() {
        for nonsense in [&b""[..], b"x", b"1\nZ 0 - a", b"1\nB zero - a", b"1\nB 0 -", b"1\nD 0 gone a"] {
            assert_eq!(parse(nonsense), None, "{nonsense:?}");
        }
    }
}

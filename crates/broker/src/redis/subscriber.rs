//! Events: a connection of its own to each server that keeps watched queues, on which their channels are subscribed.
//!
//! In a Cluster a message reaches subscribers on all nodes, but a script can ask only its own node whether anyone listens
//! (`PUBSUB NUMSUB`), and says nothing where nobody does. So a queue is listened to on the node that has its slot. When the
//! slot gets another home, the subscription goes there too, and whoever watches is told to read the state anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt as _;
use redis::aio::{PubSubSink, PubSubStream};
use tidemill_core::{Event, EventBatch, QueueName, TaskId, TaskRef};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::keys::key;
use super::node::Node;
use super::refusal::classify;
use super::slots::slot;
use super::topology::Topology;
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

/// What the one listener is known by where there is but one server at a time.
const PRIMARY: &str = "the primary";

/// The number of the message that says that the queue was dropped; batches are numbered from 1.
const DROPPED: u64 = 0;

/// A channel that is watched.
#[derive(Debug, Default)]
struct Watched {
    publisher: Publisher,
    /// Whether a subscription was in force before: when one is again, something may have been missed.
    was_in_force: bool,
}

struct Request {
    channel: String,
    in_force: oneshot::Sender<Result<()>>,
}

/// The subscribing connections of a process.
#[derive(Debug)]
pub(super) struct Subscriber {
    hub: Arc<Hub>,
}

/// What the connections share.
#[derive(Debug)]
struct Hub {
    topology: Arc<Topology>,
    channels: Mutex<HashMap<String, Watched>>,
    listeners: Mutex<HashMap<String, Listener>>,
}

#[derive(Debug)]
struct Listener {
    requests: mpsc::Sender<Request>,
    task: JoinHandle<()>,
}

impl Subscriber {
    pub(super) fn new(topology: Arc<Topology>) -> Self {
        Self { hub: Arc::new(Hub { topology, channels: Mutex::default(), listeners: Mutex::default() }) }
    }

    /// Watches a queue. The subscription is in force when this returns.
    pub(super) async fn subscribe(&self, queue: &QueueName) -> Result<Subscription> {
        let channel = key(queue, "channel");
        let unavailable = |reason: &str| BrokerError::Unavailable { operation: "subscribe", reason: reason.to_owned() };
        let subscription = {
            let mut channels = self.hub.channels.lock().unwrap_or_else(PoisonError::into_inner);
            channels.entry(channel.clone()).or_default().publisher.subscribe()
        };
        let (in_force, answer) = oneshot::channel();
        let ask = async {
            let node = self.hub.topology.locate(slot(channel.as_bytes())).await?;
            let requests = self.hub.listener(&node);
            requests.send(Request { channel, in_force }).await.map_err(|_| unavailable("the broker is closed"))?;
            answer.await.map_err(|_| unavailable("the connection was lost"))?
        };
        timeout(SUBSCRIBE_DEADLINE, ask).await.map_err(|_| unavailable("no answer in time"))??;
        Ok(subscription)
    }

    /// Ends all subscriptions.
    pub(super) fn close(&self) {
        self.hub.topology.close();
        for (_, listener) in self.hub.listeners.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            listener.task.abort();
        }
        self.hub.channels.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.close();
    }
}

impl Hub {
    /// What the listener of a server is known by: where there is but one at a time, it keeps its listener when another
    /// takes over.
    fn home(&self, node: &Node) -> String {
        if self.topology.is_cluster() { node.name.clone() } else { PRIMARY.to_owned() }
    }

    /// The listener of this server; it begins where there is none.
    fn listener(self: &Arc<Self>, node: &Node) -> mpsc::Sender<Request> {
        let home = self.home(node);
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listeners.get(&home).filter(|listener| !listener.task.is_finished()) {
            return listener.requests.clone();
        }
        let (requests, inbox) = mpsc::channel(REQUESTS);
        let line = Line {
            home: home.clone(),
            client: self.topology.is_cluster().then(|| node.client.clone()),
            hub: Arc::downgrade(self),
            topology: Arc::clone(&self.topology),
            changes: self.topology.changes(),
            inbox,
            first: None,
        };
        listeners.insert(home, Listener { requests: requests.clone(), task: tokio::spawn(line.serve()) });
        requests
    }

    /// The channels that someone watches, of queues that this home keeps as far as is known. Those that nobody watches are
    /// forgotten. Those that another keeps are left to its listener, which finds them here as well.
    fn watched_at(self: &Arc<Self>, home: &str) -> Vec<String> {
        let all: Vec<_> = {
            let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
            channels.retain(|_, watched| watched.publisher.watchers() > 0);
            channels.keys().cloned().collect()
        };
        let is_here = |channel: &String| match self.topology.known(slot(channel.as_bytes())) {
            Some(node) if self.home(&node) != home => {
                self.listener(&node);
                false
            }
            _ => true,
        };
        all.into_iter().filter(is_here).collect()
    }

    /// Tells the watchers of these channels to read the state anew.
    fn tell_gap(&self, named: &[String]) {
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        for watched in named.iter().filter_map(|channel| channels.get(channel)) {
            watched.publisher.publish(Delivery::Gap);
        }
    }

    /// Subscriptions of these channels have come into force. Who watched them before, and perhaps read the state anew when
    /// the loss was told, has missed what happened since.
    fn in_force(&self, named: &[String]) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        for channel in named {
            if let Some(watched) = channels.get_mut(channel)
                && std::mem::replace(&mut watched.was_in_force, true)
            {
                watched.publisher.publish(Delivery::Gap);
            }
        }
    }

    fn deliver(&self, channel: &str, payload: &[u8]) {
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(watched) = channels.get(channel) else { return };
        let delivery = parse(payload).map_or_else(
            || {
                tracing::warn!(channel, "a message of events cannot be read");
                Delivery::Gap
            },
            |batch| if batch.number == DROPPED { Delivery::Gap } else { Delivery::Batch(Arc::new(batch)) },
        );
        watched.publisher.publish(delivery);
    }
}

/// A subscribing connection, once it is made.
struct Connection {
    sink: PubSubSink,
    stream: PubSubStream,
    subscribed: Vec<String>,
}

/// Why a connection is left.
enum Ended {
    /// It failed.
    Failed(redis::RedisError),
    /// Another server keeps the queues now.
    Moved,
    /// The broker is closed.
    Closed,
}

/// The listener of one home.
struct Line {
    home: String,
    /// Its server, where there are several; where there is one at a time, that is looked for each time.
    client: Option<redis::Client>,
    hub: Weak<Hub>,
    topology: Arc<Topology>,
    changes: watch::Receiver<u64>,
    inbox: mpsc::Receiver<Request>,
    /// A request that came while there was no connection.
    first: Option<Request>,
}

impl Line {
    async fn serve(mut self) {
        let mut pause = PAUSE.0;
        loop {
            self.changes.mark_unchanged();
            let Some(hub) = self.hub.upgrade() else { return };
            let watched = hub.watched_at(&self.home);
            if watched.is_empty() && self.first.is_none() {
                drop(hub);
                if !self.rest().await {
                    return;
                }
                continue;
            }
            match self.connect(watched).await {
                Ok(mut connection) => {
                    pause = PAUSE.0;
                    hub.in_force(&connection.subscribed);
                    drop(hub);
                    let ended = self.listen(&mut connection).await;
                    let Some(hub) = self.hub.upgrade() else { return };
                    hub.tell_gap(&connection.subscribed);
                    match ended {
                        Ended::Failed(error) => tracing::debug!(%error, "the subscribing connection was lost"),
                        Ended::Moved => tracing::debug!("another server keeps the queues now"),
                        Ended::Closed => return,
                    }
                }
                Err(error) => {
                    while let Some(request) = self.first.take().or_else(|| self.inbox.try_recv().ok()) {
                        answer(request, Err(classify("subscribe", &error)));
                    }
                }
            }
            self.topology.doubt();
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Waits until something is to be listened to. Whether the broker is still open.
    async fn rest(&mut self) -> bool {
        tokio::select! {
            request = self.inbox.recv() => {
                self.first = request;
                self.first.is_some()
            }
            changed = self.changes.changed() => changed.is_ok(),
        }
    }

    /// Connects, and subscribes to all that is watched already.
    async fn connect(&self, watched: Vec<String>) -> redis::RedisResult<Connection> {
        let connecting = async {
            // Where something is in doubt, this is when it is asked for.
            let located = self.topology.locate(0).await;
            let client = match (&self.client, located) {
                (Some(client), _) => client.clone(),
                (None, Ok(node)) => node.client.clone(),
                (None, Err(error)) => {
                    return Err((redis::ErrorKind::Io, "the server is not known", error.to_string()).into());
                }
            };
            let (mut sink, stream) = client.get_async_pubsub().await?.split();
            for channel in &watched {
                sink.subscribe(channel).await?;
            }
            Ok(Connection { sink, stream, subscribed: watched })
        };
        within(connecting).await
    }

    /// Serves one connection until it ends.
    async fn listen(&mut self, connection: &mut Connection) -> Ended {
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if let Some(request) = self.first.take()
            && let Err(error) = self.subscribe(connection, request).await
        {
            return Ended::Failed(error);
        }
        loop {
            tokio::select! {
                message = connection.stream.next() => {
                    let Some(message) = message else {
                        return Ended::Failed((redis::ErrorKind::Io, "the connection ended").into());
                    };
                    let Some(hub) = self.hub.upgrade() else { return Ended::Closed };
                    hub.deliver(message.get_channel_name(), message.get_payload_bytes());
                }
                request = self.inbox.recv() => {
                    let Some(request) = request else { return Ended::Closed };
                    if let Err(error) = self.subscribe(connection, request).await {
                        return Ended::Failed(error);
                    }
                }
                changed = self.changes.changed() => {
                    if changed.is_err() {
                        return Ended::Closed;
                    }
                    if self.client.is_none() {
                        return Ended::Moved;
                    }
                    if let Err(error) = self.follow(connection).await {
                        return Ended::Failed(error);
                    }
                }
                _ = ping.tick() => {
                    if self.client.is_some() {
                        // Nobody tells a subscriber that a slot has moved.
                        self.topology.doubt();
                        if let Err(error) = self.topology.locate(0).await {
                            tracing::debug!(%error, "the Cluster does not say who has which slot");
                        }
                    }
                    if let Err(error) = self.follow(connection).await {
                        return Ended::Failed(error);
                    }
                    if let Err(error) = within(connection.sink.ping::<redis::Value>()).await {
                        return Ended::Failed(error);
                    }
                }
            }
        }
    }

    /// Grants a request.
    async fn subscribe(&self, connection: &mut Connection, request: Request) -> redis::RedisResult<()> {
        if !connection.subscribed.contains(&request.channel) {
            if let Err(error) = within(connection.sink.subscribe(request.channel.clone())).await {
                answer(request, Err(classify("subscribe", &error)));
                return Err(error);
            }
            connection.subscribed.push(request.channel.clone());
            if let Some(hub) = self.hub.upgrade() {
                hub.in_force(std::slice::from_ref(&request.channel));
            }
        }
        answer(request, Ok(()));
        Ok(())
    }

    /// Subscribes to what is watched and kept here now, and no longer to what is not.
    async fn follow(&self, connection: &mut Connection) -> redis::RedisResult<()> {
        let Some(hub) = self.hub.upgrade() else { return Ok(()) };
        let wanted = hub.watched_at(&self.home);
        let Connection { sink, subscribed, .. } = connection;
        for channel in subscribed.extract_if(.., |channel| !wanted.contains(channel)) {
            within(sink.unsubscribe(channel)).await?;
        }
        for channel in wanted {
            if !subscribed.contains(&channel) {
                within(sink.subscribe(channel.clone())).await?;
                hub.in_force(std::slice::from_ref(&channel));
                subscribed.push(channel);
            }
        }
        Ok(())
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

//! Waiting for work: one connection per queue that is waited for, with a blocking pop on the wake-up marker.
//!
//! A blocking pop is never abandoned half-way: a pop that nobody hears any more could swallow the marker. So it runs in a
//! task of its own, which puts a marker back that came when nobody in this process waited any more: another's may. Each
//! marker is handed to one who waits, who is then no longer counted: one that was woken and has not left yet takes no other.
//!
//! A worker with nothing else to do has its next exchange sent behind the pop, on the same connection: the server carries it
//! out as soon as it has popped the marker, and the worker has its claims a round trip and two wake-ups sooner.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisResult, Value};
use tidemill_core::QueueName;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::dial;
use super::keys::key;
use super::node::Node;
use super::refusal::Verdict;
use super::slots::slot;
use super::topology::Topology;

/// The longest single pop: what a lost marker can cost.
const POP_SECONDS: u32 = 5;
/// How much longer than a pop its answer may take before the connection counts as dead.
const POP_GRACE: Duration = Duration::from_secs(2);
/// The pause after a pop that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// The waiting connections of a process.
#[derive(Debug)]
pub(super) struct Waiters {
    topology: Arc<Topology>,
    lines: Mutex<HashMap<QueueName, Arc<Line>>>,
}

#[derive(Debug, Default)]
struct Line {
    /// Who waits now, and perhaps some that have left.
    waiting: Mutex<VecDeque<oneshot::Sender<()>>>,
    /// What is to be sent behind the next pop, or the one under way.
    errand: Mutex<Option<Errand>>,
    asked: Notify,
    /// A marker was swallowed: whoever waits next need not.
    owes: AtomicBool,
    popper: Mutex<Option<JoinHandle<()>>>,
}

type Reply = BoxFuture<'static, RedisResult<Value>>;

/// A command that is on its way behind a pop: to where, the reply to come, and word of a pop that failed.
struct Sent {
    node: Arc<Node>,
    reply: Reply,
    broken: oneshot::Receiver<()>,
}

/// A command that waits for the marker.
struct Errand {
    command: Cmd,
    /// Takes the reply to come: nobody stands between it and who waits for it.
    sent: oneshot::Sender<Sent>,
    left: Arc<AtomicBool>,
}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errand").finish_non_exhaustive()
    }
}

/// Held while somebody waits for a reply: whoever leaves without it says so.
#[derive(Debug, Default)]
struct Patience {
    left: Arc<AtomicBool>,
    has_reply: bool,
}

impl Drop for Patience {
    fn drop(&mut self) {
        if !self.has_reply {
            self.left.store(true, Ordering::Release);
        }
    }
}

impl Line {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<oneshot::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_awaited(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.retain(|waiter| !waiter.is_closed());
        !waiting.is_empty() || self.has_errand()
    }

    fn has_errand(&self) -> bool {
        self.errand().as_ref().is_some_and(|errand| !errand.sent.is_closed())
    }

    fn errand(&self) -> MutexGuard<'_, Option<Errand>> {
        self.errand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the one that has waited longest, or else whoever has an errand, which is not sent behind a pop then but at
    /// once. Whether there was one.
    fn wake(&self) -> bool {
        {
            let mut waiting = self.waiting();
            if std::iter::from_fn(|| waiting.pop_front()).any(|waiter| waiter.send(()).is_ok()) {
                return true;
            }
        }
        self.errand().take().is_some_and(|errand| !errand.sent.is_closed())
    }

    /// Wakes whoever waits, or will wait next.
    fn owe(&self) {
        if !self.wake() {
            self.owes.store(true, Ordering::Release);
        }
    }
}

/// One who waits. A marker that came too late to be seen by one who leaves is owed to the next.
struct Waiter<'a> {
    line: &'a Line,
    woken: oneshot::Receiver<()>,
    is_done: bool,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.woken.close();
        if !self.is_done && self.woken.try_recv().is_ok() {
            self.line.owe();
        }
    }
}

impl Waiters {
    pub(super) fn new(topology: Arc<Topology>) -> Self {
        Self { topology, lines: Mutex::default() }
    }

    /// Waits for the marker of `queue`, or until `until` has passed.
    pub(super) async fn wait(&self, queue: &QueueName, until: Duration) {
        let line = self.line(queue);
        if line.owes.swap(false, Ordering::AcqRel) {
            return;
        }
        let (sender, woken) = oneshot::channel();
        let mut waiter = Waiter { line: &line, woken, is_done: false };
        line.waiting().push_back(sender);
        line.asked.notify_one();
        if !matches!(timeout(until, &mut waiter.woken).await, Ok(Ok(()))) {
            tracing::trace!(%queue, "waited in vain");
        }
        // Whoever has waited to the end looks for work, with or without a marker.
        waiter.is_done = true;
    }

    /// Has `command` carried out when the marker of `queue` has come, and gives the reply. `None` where that did not come about
    /// before `until` has passed, or another command waits already: then it may have been carried out, or may be yet.
    pub(super) async fn and_then(&self, queue: &QueueName, command: Cmd, until: Duration) -> Option<Value> {
        let line = self.line(queue);
        if line.has_errand() || line.owes.swap(false, Ordering::AcqRel) {
            return None;
        }
        let (mut patience, (sent, sending)) = (Patience::default(), oneshot::channel());
        *line.errand() = Some(Errand { command, sent, left: Arc::clone(&patience.left) });
        line.asked.notify_one();
        let replied = async {
            let Sent { node, reply, broken } = sending.await.ok()?;
            let reply = tokio::select! {
                biased;
                reply = reply => reply.inspect_err(|error| tracing::debug!(%error, "what waited for the marker failed")).ok(),
                Ok(()) = broken => None,
            }?;
            // Of one that has been replaced, it may be of no worth.
            (!self.topology.has_left(&node)).then_some(reply)
        };
        let value = timeout(until, replied).await.ok()??;
        patience.has_reply = true;
        Some(value)
    }

    /// Ends all waiting.
    pub(super) fn close(&self) {
        for (_, line) in self.lines.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            if let Some(popper) = line.popper.lock().unwrap_or_else(PoisonError::into_inner).take() {
                popper.abort();
            }
            line.waiting().clear();
            line.errand().take();
        }
    }

    fn line(&self, queue: &QueueName) -> Arc<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(queue) {
            return Arc::clone(line);
        }
        let line = Arc::new(Line::default());
        let marker = key(queue, "wake");
        let popper = Popper {
            slot: slot(marker.as_bytes()),
            marker,
            changes: self.topology.changes(),
            topology: Arc::clone(&self.topology),
            connected: None,
        };
        let popper = tokio::spawn(popper.serve(Arc::clone(&line)));
        *line.popper.lock().unwrap_or_else(PoisonError::into_inner) = Some(popper);
        lines.insert(queue.clone(), Arc::clone(&line));
        line
    }
}

impl Drop for Waiters {
    fn drop(&mut self) {
        self.close();
    }
}

/// A command that was sent behind a pop.
struct Behind {
    left: Arc<AtomicBool>,
    broken: oneshot::Sender<()>,
}

impl Behind {
    /// Sends what waits for that. The first look at a command sends it.
    async fn send(line: &Line, node: Arc<Node>, mut connection: MultiplexedConnection) -> Option<Self> {
        let Errand { command, sent, left } = line.errand().take()?;
        let mut reply: Reply = async move { connection.send_packed_command(&command).await }.boxed();
        if let Poll::Ready(failed) = futures::poll!(&mut reply) {
            reply = std::future::ready(failed).boxed();
        }
        let (broken, hears) = oneshot::channel();
        sent.send(Sent { node, reply, broken: hears }).is_ok().then_some(Self { left, broken })
    }

    /// Whether somebody still waits for the reply, or has it, and so has taken up the marker.
    fn has_marker(&self) -> bool {
        !self.left.load(Ordering::Acquire)
    }
}

/// Pops one queue's marker, on a connection of its own to wherever the queue is.
struct Popper {
    topology: Arc<Topology>,
    changes: watch::Receiver<u64>,
    slot: u16,
    marker: String,
    connected: Option<(Arc<Node>, MultiplexedConnection)>,
}

impl Popper {
    async fn serve(mut self, line: Arc<Line>) {
        loop {
            if !line.is_awaited() {
                line.asked.notified().await;
                continue;
            }
            match self.pop(&line).await {
                Ok(true) if line.wake() => {}
                Ok(true) => self.put_back(&line).await,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, "the waiting connection failed");
                    self.find_out(&error);
                    sleep(PAUSE).await;
                    // A marker may have been lost: there may be work.
                    line.owe();
                }
            }
        }
    }

    /// Leaves the marker to another process; where that fails, to whoever waits here next.
    async fn put_back(&mut self, line: &Line) {
        let Some((_, connection)) = &mut self.connected else { return line.owe() };
        let mut command = redis::cmd("RPUSH");
        command.arg(&self.marker).arg("1");
        if !matches!(timeout(POP_GRACE, command.query_async::<u64>(connection)).await, Ok(Ok(_))) {
            tracing::debug!("a wake-up that nobody waits for could not be put back");
            line.owe();
        }
    }

    /// Whether there was a marker that nobody has taken up.
    async fn pop(&mut self, line: &Line) -> RedisResult<bool> {
        let mut behind = None;
        let popped = self.pop_before(line, &mut behind).await;
        match (popped, behind) {
            (Ok(popped), behind) => Ok(popped && !behind.is_some_and(|behind| behind.has_marker())),
            (Err(error), behind) => {
                if behind.is_some_and(|behind| behind.broken.send(()).is_ok()) {
                    tracing::debug!("an exchange that waited is sent again");
                }
                Err(error)
            }
        }
    }

    /// Whether there was a marker. What is asked for meanwhile is sent behind the pop, once.
    async fn pop_before(&mut self, line: &Line, behind: &mut Option<Behind>) -> RedisResult<bool> {
        let marker = self.marker.clone();
        let (node, mut connection) = self.connection().await?;
        let mut command = redis::cmd("BLPOP");
        command.arg(marker).arg(POP_SECONDS);
        let deadline = Duration::from_secs(u64::from(POP_SECONDS)) + POP_GRACE;
        let follower = connection.clone();
        let popping = async { command.query_async::<Option<(String, String)>>(&mut connection).await };
        let mut popping = std::pin::pin!(timeout(deadline, popping));
        loop {
            // The pop is looked at first, and so it is sent first.
            tokio::select! {
                biased;
                answer = &mut popping => return match answer {
                    Ok(outcome) => outcome.map(|popped| popped.is_some()),
                    Err(_) => Err((redis::ErrorKind::Io, "a blocking pop was not answered in time").into()),
                },
                () = self.left_behind() => {
                    return Err((redis::ErrorKind::Io, "another server keeps the queue now").into());
                }
                () = std::future::ready(()), if behind.is_none() && line.has_errand() => {
                    *behind = Behind::send(line, Arc::clone(&node), follower.clone()).await;
                }
                () = line.asked.notified(), if behind.is_none() => {}
            }
        }
    }

    async fn connection(&mut self) -> RedisResult<(Arc<Node>, MultiplexedConnection)> {
        if let Some((node, connection)) = &self.connected {
            return Ok((Arc::clone(node), connection.clone()));
        }
        self.changes.mark_unchanged();
        let node = self.topology.locate(self.slot).await;
        let node = node.map_err(|error| (redis::ErrorKind::Io, "the server is not known", error.to_string()))?;
        let connection = dial::connect(&node.client, None).await?;
        self.connected = Some((Arc::clone(&node), connection.clone()));
        Ok((node, connection))
    }

    /// Comes back when the queue is no longer where this is connected to, or another server answers there.
    async fn left_behind(&mut self) {
        while self.changes.changed().await.is_ok() {
            let is_same = match (&self.connected, self.topology.known(self.slot)) {
                (Some((node, _)), Some(known)) => self.topology.is_cluster() && node.name == known.name,
                _ => false,
            };
            if !is_same {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Begins anew after an error, elsewhere if it says so. While a slot is on its way its marker is asked for again and again:
    /// whoever waits looks for work after each pause.
    fn find_out(&mut self, error: &redis::RedisError) {
        let Some((node, _)) = self.connected.take() else { return self.topology.doubt() };
        match Verdict::on(error) {
            Verdict::Moved(address) => {
                if let Err(error) = self.topology.moved(self.slot, &address, &node) {
                    tracing::debug!(%error, "the queue's new server cannot be used");
                }
            }
            Verdict::Elsewhere | Verdict::Lost => self.topology.doubt(),
            _ => {}
        }
    }
}

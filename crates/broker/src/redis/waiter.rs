//! Waiting for work: one connection per queue that is waited for, with a blocking pop on the wake-up marker.
//!
//! A blocking pop is never abandoned half-way: a pop that nobody hears any more could swallow the marker. So it runs in a
//! task of its own, which puts a marker back that came when nobody in this process waited any more: another's may.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tidemill_core::QueueName;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::sync::watch;
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

#[derive(Debug)]
struct Line {
    /// How many wait now.
    asking: AtomicUsize,
    asked: Notify,
    woken: Notify,
    popper: Mutex<Option<JoinHandle<()>>>,
}

/// Counts one who waits, until dropped.
struct Asking<'a>(&'a Line);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Waiters {
    pub(super) fn new(topology: Arc<Topology>) -> Self {
        Self { topology, lines: Mutex::default() }
    }

    /// Waits for the marker of `queue`, or until `until` has passed.
    pub(super) async fn wait(&self, queue: &QueueName, until: Duration) {
        let line = self.line(queue);
        line.asking.fetch_add(1, Ordering::Relaxed);
        let _asking = Asking(&line);
        line.asked.notify_one();
        if timeout(until, line.woken.notified()).await.is_err() {
            tracing::trace!(%queue, "waited in vain");
        }
    }

    /// Ends all waiting.
    pub(super) fn close(&self) {
        for (_, line) in self.lines.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            if let Some(popper) = line.popper.lock().unwrap_or_else(PoisonError::into_inner).take() {
                popper.abort();
            }
            line.woken.notify_waiters();
        }
    }

    fn line(&self, queue: &QueueName) -> Arc<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(queue) {
            return Arc::clone(line);
        }
        let line = Arc::new(Line {
            asking: AtomicUsize::new(0),
            asked: Notify::new(),
            woken: Notify::new(),
            popper: Mutex::new(None),
        });
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
            if line.asking.load(Ordering::Relaxed) == 0 {
                line.asked.notified().await;
                continue;
            }
            match self.pop().await {
                Ok(true) if line.asking.load(Ordering::Relaxed) == 0 => self.put_back(&line).await,
                Ok(true) => line.woken.notify_one(),
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, "the waiting connection failed");
                    self.find_out(&error);
                    sleep(PAUSE).await;
                    line.woken.notify_one();
                }
            }
        }
    }

    /// Leaves the marker to another process; where that fails, to whoever waits here next.
    async fn put_back(&mut self, line: &Line) {
        let Some((_, connection)) = &mut self.connected else { return line.woken.notify_one() };
        let mut command = redis::cmd("RPUSH");
        command.arg(&self.marker).arg("1");
        if !matches!(timeout(POP_GRACE, command.query_async::<u64>(connection)).await, Ok(Ok(_))) {
            tracing::debug!("a wake-up that nobody waits for could not be put back");
            line.woken.notify_one();
        }
    }

    /// Whether there was a marker.
    async fn pop(&mut self) -> redis::RedisResult<bool> {
        let marker = self.marker.clone();
        let connection = self.connection().await?;
        let mut command = redis::cmd("BLPOP");
        command.arg(marker).arg(POP_SECONDS);
        let mut connection = connection.clone();
        let deadline = Duration::from_secs(u64::from(POP_SECONDS)) + POP_GRACE;
        let answer = timeout(deadline, command.query_async::<Option<(String, String)>>(&mut connection));
        tokio::select! {
            answer = answer => match answer {
                Ok(outcome) => outcome.map(|popped| popped.is_some()),
                Err(_) => Err((redis::ErrorKind::Io, "a blocking pop was not answered in time").into()),
            },
            () = self.left_behind() => Err((redis::ErrorKind::Io, "another server keeps the queue now").into()),
        }
    }

    async fn connection(&mut self) -> redis::RedisResult<&MultiplexedConnection> {
        if self.connected.is_none() {
            self.changes.mark_unchanged();
            let node = self.topology.locate(self.slot).await;
            let node = node.map_err(|error| (redis::ErrorKind::Io, "the server is not known", error.to_string()))?;
            let connection = dial::connect(&node.client, None).await?;
            self.connected = Some((node, connection));
        }
        match &self.connected {
            Some((_, connection)) => Ok(connection),
            None => Err((redis::ErrorKind::Io, "there is no connection").into()),
        }
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

//! Waiting for work: one connection per queue that is waited for, with a blocking pop on the wake-up marker.
//!
//! A blocking pop is never abandoned half-way: a pop that nobody hears any more could swallow the marker. So it runs in a
//! task of its own, which puts a marker back that came when nobody in this process waited any more: another's may.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tidemill_core::QueueName;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::keys::key;

/// The longest single pop: what a lost marker can cost.
const POP_SECONDS: u32 = 5;
/// How much longer than a pop its answer may take before the connection counts as dead.
const POP_GRACE: Duration = Duration::from_secs(2);
/// The pause after a pop that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// The waiting connections of a process.
#[derive(Debug)]
pub(super) struct Waiters {
    client: redis::Client,
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
    pub(super) fn new(client: redis::Client) -> Self {
        Self { client, lines: Mutex::default() }
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
        let popper = tokio::spawn(pop_for(self.client.clone(), key(queue, "wake"), Arc::clone(&line)));
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

async fn pop_for(client: redis::Client, marker: String, line: Arc<Line>) {
    let mut connection: Option<MultiplexedConnection> = None;
    loop {
        if line.asking.load(Ordering::Relaxed) == 0 {
            line.asked.notified().await;
            continue;
        }
        match pop(&client, &mut connection, &marker).await {
            Ok(true) if line.asking.load(Ordering::Relaxed) == 0 => put_back(&mut connection, &marker, &line).await,
            Ok(true) => line.woken.notify_one(),
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(%error, "the waiting connection failed");
                connection = None;
                sleep(PAUSE).await;
                line.woken.notify_one();
            }
        }
    }
}

/// Leaves the marker to another process; where that fails, to whoever waits here next.
async fn put_back(connection: &mut Option<MultiplexedConnection>, marker: &str, line: &Line) {
    let Some(connected) = connection else { return line.woken.notify_one() };
    let mut command = redis::cmd("RPUSH");
    command.arg(marker).arg("1");
    if !matches!(timeout(POP_GRACE, command.query_async::<u64>(connected)).await, Ok(Ok(_))) {
        tracing::debug!("a wake-up that nobody waits for could not be put back");
        line.woken.notify_one();
    }
}

/// Whether there was a marker.
async fn pop(
    client: &redis::Client,
    connection: &mut Option<MultiplexedConnection>,
    marker: &str,
) -> redis::RedisResult<bool> {
    let connected = if let Some(connected) = connection {
        connected
    } else {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(None);
        connection.insert(client.get_multiplexed_async_connection_with_config(&config).await?)
    };
    let mut command = redis::cmd("BLPOP");
    command.arg(marker).arg(POP_SECONDS);
    let deadline = Duration::from_secs(u64::from(POP_SECONDS)) + POP_GRACE;
    match timeout(deadline, command.query_async::<Option<(String, String)>>(connected)).await {
        Ok(outcome) => outcome.map(|popped| popped.is_some()),
        Err(_) => Err((redis::ErrorKind::Io, "a blocking pop was not answered in time").into()),
    }
}

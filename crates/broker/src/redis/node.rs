//! One server, and the connections for commands to it: made when they are needed, replaced when they are lost.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use redis::aio::MultiplexedConnection;
use redis::{Client, RedisResult};
use tokio::sync::{Mutex, OnceCell};

use super::dial;
use super::durable::Witness;
use super::link::OPERATION_DEADLINE;

/// Connections for commands. More than one keeps what is small from waiting behind what is large. Whoever comes when the first
/// has nothing to do gets the first, so that a process with little to do has but one.
const COMMAND_LANES: usize = 4;
/// Connections for what waits for replicas: such a wait holds up all that follows it on its connection.
const DURABLE_LANES: usize = 2;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traffic {
    /// Commands that are answered at once.
    Commands,
    /// Commands after which replicas are waited for.
    Durable,
}

/// One server.
pub(super) struct Node {
    /// `host:port`, or the path of a socket.
    pub name: String,
    /// The host by which it was reached.
    pub host: String,
    /// For connections of one's own.
    pub client: Client,
    /// What it says of itself, once it was found fit.
    pub fit: OnceCell<String>,
    /// Counts how often its connections were lost; one of an earlier era is not used any more.
    era: AtomicU64,
    commands: [Lane; COMMAND_LANES],
    durable: [Lane; DURABLE_LANES],
}

#[derive(Default)]
struct Lane {
    open: RwLock<Option<Open>>,
    dialing: Mutex<()>,
    busy: AtomicUsize,
}

#[derive(Clone)]
struct Open {
    era: u64,
    connection: MultiplexedConnection,
    witness: Arc<Witness>,
}

/// A turn on a connection. The connection counts it as under way until it is dropped.
pub(super) struct Turn<'a> {
    /// The connection.
    pub connection: MultiplexedConnection,
    /// Who waits for replicas on it.
    pub witness: Arc<Witness>,
    era: u64,
    _busy: Busy<'a>,
}

impl Node {
    pub(super) fn new(name: String, host: String, client: Client) -> Self {
        Self {
            name,
            host,
            client,
            fit: OnceCell::new(),
            era: AtomicU64::new(0),
            commands: Default::default(),
            durable: Default::default(),
        }
    }

    /// A turn on the connection that has the least to do; it is made where there is none.
    pub(super) async fn turn(&self, traffic: Traffic) -> RedisResult<Turn<'_>> {
        let lanes = match traffic {
            Traffic::Commands => &self.commands[..],
            Traffic::Durable => &self.durable[..],
        };
        let mut lane = &lanes[0];
        for other in &lanes[1..] {
            if other.busy.load(Ordering::Relaxed) < lane.busy.load(Ordering::Relaxed) {
                lane = other;
            }
        }
        let busy = Busy::on(&lane.busy);
        let Open { era, connection, witness } = lane.open(self).await?;
        Ok(Turn { connection, witness, era, _busy: busy })
    }

    /// The connection of this turn was lost, and so are, in all likelihood, the others. Whether that is news: only the first
    /// of those who had a turn in this era ends it.
    pub(super) fn lost(&self, turn: &Turn<'_>) -> bool {
        self.era.compare_exchange(turn.era, turn.era + 1, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("name", &self.name).field("fit", &self.fit.get()).finish_non_exhaustive()
    }
}

/// Counts a turn, until dropped.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn on(turns: &'a AtomicUsize) -> Self {
        turns.fetch_add(1, Ordering::Relaxed);
        Self(turns)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lane {
    fn current(&self, era: u64) -> Option<Open> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().filter(|open| open.era == era).cloned()
    }

    async fn open(&self, node: &Node) -> RedisResult<Open> {
        if let Some(open) = self.current(node.era.load(Ordering::Acquire)) {
            return Ok(open);
        }
        let _alone = self.dialing.lock().await;
        let era = node.era.load(Ordering::Acquire);
        if let Some(open) = self.current(era) {
            return Ok(open);
        }
        let connection = dial::connect(&node.client, Some(OPERATION_DEADLINE)).await?;
        let open = Open { era, connection, witness: Arc::default() };
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = Some(open.clone());
        Ok(open)
    }
}

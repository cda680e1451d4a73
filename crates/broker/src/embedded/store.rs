//! The writer's view of the database: its connection, the queues that it knows, and what is to be told after a commit.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use tidemill_core::{Counters, Event, QueueName, QueueOwner, QueueSettings, State};

use super::clock::Clock;
use super::database::Directory;
use super::fault::{Fault, Outcome, Trouble};
use super::hub::{Hub, Shared};
use super::rows::{code, int};
use super::session::Session;
use crate::error::BrokerError;

/// What the writer's thread owns.
pub(super) struct Store {
    pub(super) connection: Connection,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) hub: Arc<Hub>,
    directory: Directory,
    queues: HashMap<QueueName, Known>,
    told: Vec<Told>,
    dropped: Vec<Arc<Shared>>,
}

/// One queue, as it will be committed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Queue {
    pub(super) pk: i64,
    pub(super) settings: QueueSettings,
    pub(super) figures: Figures,
    pub(super) owner: Option<QueueOwner>,
}

/// The numbers of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Figures {
    /// Whether claims are held back.
    pub(super) paused: bool,
    /// When maintenance last ran.
    pub(super) maintained_at_ms: u64,
    /// The highest order number given out, at the tail.
    pub(super) tail: i64,
    /// The lowest order number given out, at the head.
    pub(super) head: i64,
    /// How many tasks stand in each state, in the order of `State::ALL`.
    counts: [u64; State::ALL.len()],
    /// How often each transition happened.
    pub(super) counters: Counters,
}

struct Known {
    queue: Queue,
    shared: Arc<Shared>,
    changed: bool,
    next_due_ms: Option<u64>,
}

/// What one operation has to tell once it is committed.
struct Told {
    name: QueueName,
    events: Vec<Event>,
}

impl Figures {
    pub(super) fn count(&self, state: State) -> u64 {
        self.counts[code(state)]
    }

    /// One task more stands in `state`.
    pub(super) fn enter(&mut self, state: State) {
        self.counts[code(state)] += 1;
    }

    /// One task fewer stands in `state`.
    pub(super) fn leave(&mut self, state: State) {
        let count = &mut self.counts[code(state)];
        *count = count.saturating_sub(1);
    }

    pub(super) fn live(&self) -> u64 {
        State::ALL.into_iter().filter(|state| state.is_live()).map(|state| self.count(state)).sum()
    }
}

impl Store {
    /// Opens the database of `directory` and makes its queues known.
    pub(super) fn open(
        directory: Directory,
        durable: bool,
        clock: Arc<dyn Clock>,
        hub: Arc<Hub>,
    ) -> crate::error::Result<Self> {
        let connection = directory.open_writer(durable)?;
        let (queues, told, dropped) = (HashMap::new(), Vec::new(), Vec::new());
        let mut store = Self { connection, clock, hub, directory, queues, told, dropped };
        store.reload().and_then(|()| store.shorten_leases()).map_err(|fault| fault.into_error("open"))?;
        Ok(store)
    }

    /// No lease is longer than its queue grants, even where the machine's clock was turned back while the store was
    /// closed: otherwise tasks of workers that are gone would stay active until it has caught up.
    fn shorten_leases(&self) -> Outcome<()> {
        let now_ms = self.clock.now_ms();
        for known in self.queues.values() {
            let latest = now_ms.saturating_add(u64::from(known.queue.settings.lease_ms));
            self.connection
                .prepare_cached("UPDATE workers SET lease_until = ?2 WHERE queue = ?1 AND lease_until > ?2")?
                .execute(params![known.queue.pk, int(latest)])?;
        }
        Ok(())
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Makes every stored queue known anew.
    pub(super) fn reload(&mut self) -> Outcome<()> {
        self.queues.clear();
        let names: Vec<String> = {
            let mut statement = self.connection.prepare_cached("SELECT name FROM queues")?;
            statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
        };
        for name in names {
            let name = QueueName::new(name).map_err(Fault::damaged)?;
            if let Some(known) = self.known(&name)? {
                let Figures { paused, .. } = known.queue.figures;
                let pending = known.queue.figures.count(State::Pending);
                let (shared, pk) = (known.shared.clone(), known.queue.pk);
                shared.set(pending, paused, next_due(&self.connection, pk)?);
            }
        }
        Ok(())
    }

    pub(super) fn begin(&mut self) -> std::result::Result<(), Trouble> {
        self.told.clear();
        self.dropped.clear();
        Ok(self.connection.execute_batch("BEGIN IMMEDIATE")?)
    }

    /// Runs `body`, and undoes what it did where it says `false`. An error is of the whole transaction.
    pub(super) fn in_savepoint(&mut self, body: impl FnOnce(&mut Self) -> bool) -> std::result::Result<(), Trouble> {
        self.connection.prepare_cached("SAVEPOINT request")?.execute([])?;
        let told = self.told.len();
        if !body(self) {
            self.told.truncate(told);
            if self.connection.is_autocommit() {
                return Err(Trouble::away("the disk refused another request of the same commit"));
            }
            self.connection.prepare_cached("ROLLBACK TO request")?.execute([])?;
        }
        self.connection.prepare_cached("RELEASE request")?.execute([])?;
        Ok(())
    }

    pub(super) fn commit(&mut self) -> std::result::Result<(), Trouble> {
        for known in self.queues.values_mut().filter(|known| known.changed) {
            let Queue { pk, settings, figures, owner } = &known.queue;
            let settings = serde_json::to_string(settings).map_err(Fault::from)?;
            let owner = owner.as_ref().map(serde_json::to_string).transpose().map_err(Fault::from)?;
            let figures_text = serde_json::to_string(figures).map_err(Fault::from)?;
            self.connection
                .prepare_cached("UPDATE queues SET settings = ?2, figures = ?3, owner = ?4 WHERE pk = ?1")?
                .execute(params![pk, settings, figures_text, owner])?;
            let waits = figures.count(State::Delayed) + figures.count(State::Retrying) > 0;
            known.next_due_ms = if waits { next_due(&self.connection, *pk)? } else { None };
        }
        Ok(self.connection.execute_batch("COMMIT")?)
    }

    /// Undoes all since [`Store::begin`], and forgets what it thought to know of the queues.
    pub(super) fn roll_back(&mut self) {
        self.queues.clear();
        self.told.clear();
        self.dropped.clear();
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }

    /// Lets waiters see what was committed. To be done before anyone is answered, who may wait next.
    pub(super) fn show(&mut self) {
        for shared in self.dropped.drain(..) {
            // One that was created anew in the same transaction goes by the same name to its waiters and watchers.
            let anew = self.queues.values_mut().find(|known| Arc::ptr_eq(&known.shared, &shared));
            match anew {
                Some(known) => known.changed = true,
                None => shared.leave(),
            }
            shared.publish_gap();
        }
        for known in self.queues.values_mut().filter(|known| known.changed) {
            let figures = &known.queue.figures;
            known.shared.set(figures.count(State::Pending), figures.paused, known.next_due_ms);
            known.changed = false;
        }
    }

    /// Tells watchers what was committed, and wakes waiters.
    pub(super) fn announce(&mut self) {
        for Told { name, events } in self.told.drain(..) {
            if let Some(known) = self.queues.get(&name) {
                known.shared.publish(events);
                known.shared.wake();
            }
        }
    }

    /// Runs `body` on a queue; what it changed is committed with the transaction, and what it announced told after.
    pub(super) fn on_queue<T>(
        &mut self,
        operation: &'static str,
        name: &QueueName,
        body: impl FnOnce(&mut Session<'_>) -> Outcome<T>,
    ) -> Outcome<T> {
        let now_ms = self.clock.now_ms();
        let Some(known) = self.known(name)? else {
            return Err(BrokerError::UnknownQueue { operation, queue: name.clone() }.into());
        };
        let watched = known.shared.is_watched();
        let queue = known.queue.clone();
        let mut session = Session::new(&self.connection, name, queue, now_ms, watched)?;
        let value = body(&mut session)?;
        let (queue, events) = session.finish()?;
        if let Some(known) = self.queues.get_mut(name)
            && known.queue != queue
        {
            known.queue = queue;
            known.changed = true;
        }
        self.told.push(Told { name: name.clone(), events });
        Ok(value)
    }

    /// Creates a queue if there is none. Whether it did.
    pub(super) fn create(&mut self, name: &QueueName, settings: &QueueSettings) -> Outcome<bool> {
        if self.known(name)?.is_some() {
            return Ok(false);
        }
        let figures = Figures { maintained_at_ms: self.clock.now_ms(), ..Figures::default() };
        self.connection
            .prepare_cached("INSERT INTO queues (name, settings, figures) VALUES (?1, ?2, ?3)")?
            .execute(params![name.as_str(), serde_json::to_string(settings)?, serde_json::to_string(&figures)?])?;
        self.known(name)?;
        Ok(true)
    }

    /// A queue as it will be committed.
    pub(super) fn queue(&mut self, name: &QueueName) -> Outcome<Option<&Queue>> {
        Ok(self.known(name)?.map(|known| &known.queue))
    }

    /// Knows no more of a queue whose rows are gone. What was to be told of it is not: its watchers read anew.
    pub(super) fn forget(&mut self, name: &QueueName) {
        self.told.retain(|told| told.name != *name);
        self.dropped.extend(self.queues.remove(name).map(|known| known.shared));
    }

    /// Works the log into the database and lets go of the files.
    pub(super) fn close(self) {
        let Self { connection, directory, .. } = self;
        if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::debug!(%error, "the log stays beside the database; the next start works it in");
        }
        if let Err((_, error)) = connection.close() {
            tracing::warn!(%error, "the database was not closed cleanly");
        }
        directory.release();
    }

    fn known(&mut self, name: &QueueName) -> Outcome<Option<&mut Known>> {
        if !self.queues.contains_key(name) {
            let Some(queue) = load(&self.connection, name)? else {
                return Ok(None);
            };
            let shared = self.hub.get_or_insert(name);
            let known = Known { queue, shared, changed: false, next_due_ms: None };
            self.queues.insert(name.clone(), known);
        }
        Ok(self.queues.get_mut(name))
    }
}

/// A queue as it is stored.
pub(super) fn load(connection: &Connection, name: &QueueName) -> Outcome<Option<Queue>> {
    let row = connection
        .prepare_cached("SELECT pk, settings, figures, owner FROM queues WHERE name = ?1")?
        .query_row([name.as_str()], |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get::<_, Option<String>>(3)?))
        })
        .optional()?;
    let Some((pk, settings, figures, owner)) = row else {
        return Ok(None);
    };
    let owner = owner.map(|owner| serde_json::from_str(&owner)).transpose()?;
    Ok(Some(Queue { pk, settings: serde_json::from_str(&settings)?, figures: serde_json::from_str(&figures)?, owner }))
}

/// When the next delayed or retrying task is due.
pub(super) fn next_due(connection: &Connection, queue: i64) -> Outcome<Option<u64>> {
    let mut statement = connection
        .prepare_cached("SELECT rank FROM tasks WHERE queue = ?1 AND state = ?2 ORDER BY rank, seq LIMIT 1")?;
    let mut earliest: Option<u64> = None;
    for state in [State::Delayed, State::Retrying] {
        let due: Option<i64> = statement.query_row(params![queue, int(code(state))], |row| row.get(0)).optional()?;
        let due = due.map(|due| u64::try_from(due).unwrap_or(0));
        earliest = earliest.into_iter().chain(due).min();
    }
    Ok(earliest)
}

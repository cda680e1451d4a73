//! Who owns a queue, and how its owner drops it.

use rusqlite::params;
use tidemill_core::{QueueName, QueueOwner, State};

use super::fault::Outcome;
use super::rows::{code, int, select_task};
use super::session::Session;
use super::store::Store;
use crate::contract::Ownership;

/// What one step of dropping a queue did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropping {
    /// Nothing: it is not theirs who asked, or unknown.
    Refused,
    /// So many tasks are left for further steps.
    Left(u64),
    /// The queue is gone.
    Gone,
}

impl Session<'_> {
    pub(super) fn own(&mut self, owner: QueueOwner, instead_of: Option<&QueueOwner>) -> Ownership {
        if let Some(kept) = &self.queue.owner
            && !kept.same_place(&owner)
            && Some(kept) != instead_of
        {
            return Ownership::Theirs(kept.clone());
        }
        self.queue.owner = Some(owner);
        Ownership::Ours
    }

    pub(super) fn disown(&mut self, owner: &QueueOwner) -> bool {
        self.queue.owner.take_if(|kept| kept == owner).is_some()
    }

    /// Forgets up to `limit` tasks that no worker holds, without a word. How many.
    fn forget_some(&mut self, limit: u64) -> Outcome<u64> {
        let mut forgotten = 0;
        for state in State::ALL.into_iter().filter(|state| *state != State::Active) {
            let tasks = self.tasks(
                select_task!("FROM tasks WHERE queue = ?1 AND state = ?2 LIMIT ?3"),
                params![self.queue.pk, int(code(state)), int(limit - forgotten)],
            )?;
            for task in &tasks {
                self.erase(task)?;
            }
            forgotten += tasks.len() as u64;
        }
        Ok(forgotten)
    }
}

impl Store {
    /// One step of dropping a queue: forgets up to `most` tasks; where no more are left, the queue with all that it has.
    pub(super) fn drop_queue(&mut self, name: &QueueName, owner: &QueueOwner, most: u64) -> Outcome<Dropping> {
        let Some(queue) = self.queue(name)? else { return Ok(Dropping::Refused) };
        if queue.owner.as_ref() != Some(owner) {
            return Ok(Dropping::Refused);
        }
        let tasks: u64 = State::ALL.into_iter().map(|state| queue.figures.count(state)).sum();
        let pk = queue.pk;
        if tasks > most {
            let forgotten = self.on_queue("drop_queue", name, |session| session.forget_some(most))?;
            if forgotten > 0 {
                return Ok(Dropping::Left(tasks - forgotten));
            }
        }
        for statement in [
            "DELETE FROM attempts WHERE task IN (SELECT pk FROM tasks WHERE queue = ?1)",
            "DELETE FROM tasks WHERE queue = ?1",
            "DELETE FROM workers WHERE queue = ?1",
            "DELETE FROM queues WHERE pk = ?1",
        ] {
            self.connection.prepare_cached(statement)?.execute([pk])?;
        }
        self.forget(name);
        Ok(Dropping::Gone)
    }
}

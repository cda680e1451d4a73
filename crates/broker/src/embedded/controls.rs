//! What people do to single tasks and to queues.

use rusqlite::params;
use tidemill_core::{Event, State, TaskId};

use super::fault::Outcome;
use super::rows::{Task, code, int, select_task};
use super::session::Session;
use crate::contract::{Cancelled, Deleted, Requeued};

impl Session<'_> {
    pub(super) fn cancel(&mut self, id: &TaskId) -> Outcome<Cancelled> {
        let Some(mut task) = self.find(id)? else {
            return Ok(Cancelled::Unknown);
        };
        match task.state {
            State::Active => {
                self.connection.prepare_cached("UPDATE tasks SET cancel = 1 WHERE pk = ?1")?.execute([task.pk])?;
                Ok(Cancelled::Asked)
            }
            state if state.is_live() => {
                self.end(&mut task, State::Cancelled, None)?;
                self.announce_head()?;
                Ok(Cancelled::Now)
            }
            ended => Ok(Cancelled::Ended(ended)),
        }
    }

    pub(super) fn retry(&mut self, id: &TaskId) -> Outcome<Requeued> {
        let Some(mut task) = self.find(id)? else {
            return Ok(Requeued::Unknown);
        };
        if matches!(task.state, State::Pending | State::Active | State::Succeeded) {
            return Ok(Requeued::Refused(task.state));
        }
        if !task.state.is_live() {
            self.announce(|| Event::Scheduled(vec![task.reference()]));
        }
        task.failures = 0;
        task.losses = 0;
        self.put_at_tail(&mut task)?;
        self.figures().counters.requeued += 1;
        self.announce_head()?;
        Ok(Requeued::Pending)
    }

    pub(super) fn delete(&mut self, id: &TaskId) -> Outcome<Deleted> {
        let Some(task) = self.find(id)? else {
            return Ok(Deleted::Unknown);
        };
        if task.state == State::Active {
            return Ok(Deleted::Active);
        }
        self.drop_task(&task)?;
        self.announce_head()?;
        Ok(Deleted::Forgotten)
    }

    /// Deletes the first `limit` tasks of a state, as lists show them. How many.
    pub(super) fn purge(&mut self, state: State, limit: u64) -> Outcome<u64> {
        if state == State::Active {
            return Ok(0);
        }
        let first = self.tasks(
            select_task!("FROM tasks WHERE queue = ?1 AND state = ?2 ORDER BY rank, seq LIMIT ?3"),
            params![self.queue.pk, int(code(state)), int(limit)],
        )?;
        for task in &first {
            self.drop_task(task)?;
        }
        self.announce_head()?;
        Ok(first.len() as u64)
    }

    pub(super) fn pause(&mut self, paused: bool) -> bool {
        std::mem::replace(&mut self.figures().paused, paused) != paused
    }

    /// Forgets a task that no worker holds. One that waits is cancelled by that.
    fn drop_task(&mut self, task: &Task) -> Outcome<()> {
        self.erase(task)?;
        let counters = &mut self.figures().counters;
        counters.deleted += 1;
        if task.state.is_live() {
            counters.cancelled += 1;
            self.announce(|| Event::Done(task.reference(), State::Cancelled));
        }
        Ok(())
    }
}

//! What time does to a queue: due tasks, lost workers, old history.

use rusqlite::params;
use tidemill_core::{State, WorkerId};

use super::fault::Outcome;
use super::rows::{Task, Worker, code, int, select_task};
use super::session::Session;
use crate::contract::{Lost, Maintained};

impl Session<'_> {
    /// One run of maintenance, which does at most so many of each.
    pub(super) fn maintain(&mut self, most: usize) -> Outcome<Maintained> {
        let lease_ms = u64::from(self.queue.settings.lease_ms);
        let away_ms = self.now_ms.saturating_sub(self.queue.figures.maintained_at_ms);
        let renewed = away_ms > self.queue.settings.outage_ms();
        self.figures().maintained_at_ms = self.now_ms;
        let promoted = self.promote(most)?;
        let mut more = promoted >= most;
        let mut lost = Vec::new();
        if renewed {
            self.connection
                .prepare_cached("UPDATE workers SET lease_until = ?2 WHERE queue = ?1 AND lost = 0")?
                .execute(params![self.queue.pk, int(self.now_ms + lease_ms)])?;
        } else {
            lost = self.return_lost(most)?;
            more |= lost.len() >= most;
        }
        self.announce_head()?;
        let mut forgotten = 0;
        for state in [State::Succeeded, State::Dead, State::Cancelled] {
            let left = (most as u64).saturating_sub(forgotten);
            forgotten += self.forget_excess(state, left)?;
            let left = (most as u64).saturating_sub(forgotten);
            forgotten += self.forget_old(state, left)?;
        }
        more |= forgotten >= most as u64;
        Ok(Maintained { promoted: promoted as u64, lost, forgotten, renewed, more })
    }

    /// Makes up to `limit` tasks pending that are due, in the order of their times. How many.
    ///
    /// Those that were set aside go back to the head, and keep their order there.
    pub(super) fn promote(&mut self, limit: usize) -> Outcome<usize> {
        let figures = &self.queue.figures;
        if figures.count(State::Delayed) + figures.count(State::Retrying) == 0 {
            return Ok(0);
        }
        let mut due = Vec::new();
        for state in [State::Delayed, State::Retrying] {
            due.extend(self.tasks(
                select_task!("FROM tasks WHERE queue = ?1 AND state = ?2 AND rank <= ?3 ORDER BY rank, seq LIMIT ?4"),
                params![self.queue.pk, int(code(state)), int(self.now_ms), int(limit)],
            )?);
        }
        due.sort_by_key(|task| task.rank);
        due.truncate(limit);
        let promoted = due.len();
        let (aside, others): (Vec<Task>, Vec<Task>) = due.into_iter().partition(|task| task.aside);
        for mut task in others {
            self.put_at_tail(&mut task)?;
        }
        for mut task in aside.into_iter().rev() {
            self.put_at_head(&mut task)?;
        }
        Ok(promoted)
    }

    /// Returns up to `limit` tasks of workers whose leases ran out, and forgets those workers that hold none any more.
    ///
    /// The newest claims go back first, so that what the next run returns comes before them again.
    fn return_lost(&mut self, limit: usize) -> Outcome<Vec<Lost>> {
        let (queue, now) = (self.queue.pk, int(self.now_ms));
        let newly = self
            .connection
            .prepare_cached("UPDATE workers SET lost = 1 WHERE queue = ?1 AND lease_until <= ?2")?
            .execute(params![queue, now])?;
        let workers = self.lost_workers()?;
        if workers.is_empty() {
            return Ok(Vec::new());
        }
        tracing::debug!(queue = %self.name, newly, "workers are lost");
        let held = self.tasks(
            select_task!(
                "FROM tasks WHERE worker IN (SELECT pk FROM workers WHERE queue = ?1 AND lost = 1) \
                 ORDER BY seq DESC LIMIT ?2"
            ),
            params![queue, int(limit)],
        )?;
        let all = held.len() < limit;
        let mut lost = Vec::with_capacity(held.len());
        for mut task in held {
            if let Some(worker) = workers.iter().find(|worker| task.worker == Some(worker.pk)) {
                lost.push(self.lose(&mut task, worker)?);
            }
        }
        lost.reverse();
        for worker in workers {
            if all {
                self.forget_worker(&worker)?;
            } else {
                let left = lost.iter().filter(|lost| lost.worker == worker.id).count();
                self.connection
                    .prepare_cached("UPDATE workers SET active = active - ?2 WHERE pk = ?1")?
                    .execute(params![worker.pk, int(left)])?;
            }
        }
        Ok(lost)
    }

    fn lost_workers(&self) -> Outcome<Vec<Worker>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT pk, id, lost, active, number FROM workers WHERE queue = ?1 AND lost = 1")?;
        let mut rows = statement.query([self.queue.pk])?;
        let mut workers = Vec::new();
        while let Some(row) = rows.next()? {
            workers.push(Worker::read(row)?);
        }
        Ok(workers)
    }

    /// Forgets up to `limit` ended tasks that are older than is kept. How many.
    fn forget_old(&mut self, state: State, limit: u64) -> Outcome<u64> {
        if limit == 0 || self.queue.figures.count(state) == 0 {
            return Ok(0);
        }
        let ended_by = self.now_ms.saturating_sub(u64::from(self.keep(state).age_s) * 1_000);
        let old = self.tasks(
            select_task!("FROM tasks WHERE queue = ?1 AND state = ?2 AND rank <= ?3 ORDER BY rank, seq LIMIT ?4"),
            params![self.queue.pk, int(code(state)), int(ended_by), int(limit)],
        )?;
        for task in &old {
            self.erase(task)?;
        }
        Ok(old.len() as u64)
    }

    /// Ends an incarnation in good order.
    pub(super) fn retire(&mut self, id: &WorkerId) -> Outcome<()> {
        let Some(worker) = self.worker(id)? else {
            return Ok(());
        };
        let held = self.tasks(select_task!("FROM tasks WHERE worker = ?1 ORDER BY seq DESC"), [worker.pk])?;
        for mut task in held {
            self.release(&mut task)?;
        }
        self.forget_worker(&worker)?;
        self.announce_head()
    }
}

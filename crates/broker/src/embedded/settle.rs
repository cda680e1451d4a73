//! How claims end.

use std::collections::HashSet;

use rusqlite::params;
use tidemill_core::{Failure, FailureKind, Outcome as Ending, Settlement, State, TaskType, WorkerInfo};

use super::fault::{Fault, Outcome};
use super::rows::{Task, Worker, int, select_task, unsigned};
use super::session::{Attempt, Session};
use crate::contract::{Lost, SET_ASIDE_MS, Settled};
use crate::error::BrokerError;

use crate::contract::BATCH_MAX;

const UNSUPPORTED: &str = "unsupported task";
const WORKER_LOST: &str = "worker lost";

impl Session<'_> {
    /// Settles in order, except that releases come last and from the back: so they stand at the head as they were
    /// claimed. Also answers how many claims ended.
    pub(super) fn settle_all(&mut self, worker: &Worker, finished: &[Settlement]) -> Outcome<(Vec<Settled>, i64)> {
        if finished.len() > BATCH_MAX {
            let reason = format!("an exchange settles at most {BATCH_MAX} claims, not {}", finished.len());
            return Err(BrokerError::Store { operation: "exchange", reason }.into());
        }
        let mut settled = vec![Settled::Refused; finished.len()];
        let mut seen = HashSet::with_capacity(finished.len());
        let mut released = Vec::new();
        let mut freed = 0;
        for (place, settlement) in finished.iter().enumerate() {
            let claimed = if seen.contains(&settlement.task) { None } else { self.claimed(worker, settlement)? };
            let Some(mut task) = claimed else {
                self.figures().counters.refused += 1;
                continue;
            };
            seen.insert(&settlement.task);
            freed += 1;
            self.figures().counters.ran_ms += settlement.ran_ms;
            if settlement.outcome == Ending::Released && !task.cancel {
                released.push((place, task));
                continue;
            }
            self.settle(worker, &mut task, settlement)?;
            settled[place] = Settled::Now(task.state);
        }
        for (place, mut task) in released.into_iter().rev() {
            self.release(&mut task)?;
            settled[place] = Settled::Now(task.state);
        }
        Ok((settled, freed))
    }

    /// Gives a claim back at no cost.
    pub(super) fn release(&mut self, task: &mut Task) -> Outcome<()> {
        if task.cancel {
            return self.end(task, State::Cancelled, None);
        }
        self.figures().counters.released += 1;
        self.put_at_head(task)
    }

    /// Ends an incarnation as lost, with all that it holds.
    pub(super) fn lose_worker(&mut self, worker: &Worker) -> Outcome<()> {
        let held = self.tasks(select_task!("FROM tasks WHERE worker = ?1 ORDER BY seq DESC"), [worker.pk])?;
        for mut task in held {
            self.lose(&mut task, worker)?;
        }
        self.forget_worker(worker)
    }

    /// Ends a claim with its worker.
    pub(super) fn lose(&mut self, task: &mut Task, worker: &Worker) -> Outcome<Lost> {
        let ran_ms = self.now_ms.saturating_sub(unsigned(task.rank));
        self.figures().counters.lost += 1;
        let attempt = Attempt { worker: worker.id, kind: FailureKind::Lost, message: WORKER_LOST.to_owned(), ran_ms };
        self.note_attempt(task, attempt)?;
        task.losses = task.losses.saturating_add(1);
        if task.cancel {
            self.end(task, State::Cancelled, None)?;
        } else if task.losses >= self.queue.settings.loss_limit {
            self.end(task, State::Dead, None)?;
        } else {
            self.put_at_head(task)?;
        }
        Ok(Lost { task: task.id.clone(), worker: worker.id, state: task.state })
    }

    pub(super) fn forget_worker(&mut self, worker: &Worker) -> Outcome<()> {
        self.connection.prepare_cached("DELETE FROM workers WHERE pk = ?1")?.execute([worker.pk])?;
        Ok(())
    }

    /// The task of a settlement, if the claim is this worker's.
    fn claimed(&self, worker: &Worker, settlement: &Settlement) -> Outcome<Option<Task>> {
        if settlement.token.worker != worker.id {
            return Ok(None);
        }
        let task = self.find(&settlement.task)?;
        Ok(task.filter(|task| {
            task.state == State::Active && task.worker == Some(worker.pk) && task.counter == settlement.token.counter
        }))
    }

    fn settle(&mut self, worker: &Worker, task: &mut Task, settlement: &Settlement) -> Outcome<()> {
        match &settlement.outcome {
            Ending::Succeeded { result } => self.end(task, State::Succeeded, result.as_deref()),
            Ending::Cancelled => self.end(task, State::Cancelled, None),
            Ending::Released => self.release(task),
            Ending::Failed { failure, retry_in_ms } => {
                self.fail(worker, task, failure, *retry_in_ms, settlement.ran_ms)
            }
            Ending::Unserved if task.cancel => self.end(task, State::Cancelled, None),
            Ending::Unserved => {
                let task_type = self.record(task)?.task_type;
                if self.is_served_elsewhere(worker, &task_type)? {
                    self.figures().counters.released += 1;
                    let due_ms = self.now_ms.saturating_add(SET_ASIDE_MS);
                    return self.put_off(task, State::Delayed, due_ms, true);
                }
                let failure = Failure::new(FailureKind::Unsupported, UNSUPPORTED);
                self.fail(worker, task, &failure, None, settlement.ran_ms)
            }
        }
    }

    fn fail(
        &mut self,
        worker: &Worker,
        task: &mut Task,
        failure: &Failure,
        retry_in_ms: Option<u64>,
        ran_ms: u64,
    ) -> Outcome<()> {
        let counters = &mut self.figures().counters;
        counters.failed += 1;
        counters.timed_out += u64::from(failure.kind == FailureKind::Timeout);
        let attempt = Attempt { worker: worker.id, kind: failure.kind, message: failure.message.clone(), ran_ms };
        self.note_attempt(task, attempt)?;
        task.failures = task.failures.saturating_add(1);
        match retry_in_ms {
            _ if task.cancel => self.end(task, State::Cancelled, None),
            None => self.end(task, State::Dead, None),
            Some(wait_ms) => {
                self.figures().counters.retried += 1;
                self.put_off(task, State::Retrying, self.now_ms.saturating_add(wait_ms), false)
            }
        }
    }

    fn is_served_elsewhere(&mut self, worker: &Worker, task_type: &TaskType) -> Outcome<bool> {
        if self.served_elsewhere.is_none() {
            let mut statement = self.connection.prepare_cached(
                "SELECT info FROM workers WHERE queue = ?1 AND pk <> ?2 AND lost = 0 AND lease_until > ?3",
            )?;
            let infos = statement
                .query_map(params![self.queue.pk, worker.pk, int(self.now_ms)], |row| row.get::<_, String>(0))?;
            let mut served = HashSet::new();
            for info in infos {
                served.extend(serde_json::from_str::<WorkerInfo>(&info.map_err(Fault::from)?)?.types);
            }
            self.served_elsewhere = Some(served);
        }
        Ok(self.served_elsewhere.as_ref().is_some_and(|served| served.contains(task_type)))
    }
}

//! How claims end in the model, by what their worker says.

use tidemill_core::task::ERRORS_KEPT;
use tidemill_core::{AttemptView, FailureKind, Outcome, Settlement, State, TaskId, WorkerId};

use super::{Held, Model, Place, Task};
use crate::Settled;
use crate::contract::SET_ASIDE_MS;

impl Model {
    pub(super) fn settle_all(&mut self, worker: &WorkerId, finished: &[Settlement]) -> Vec<Settled> {
        self.tick += 1;
        let mut settled = Vec::new();
        let mut released = Vec::new();
        for settlement in finished {
            let answer = self.settle(worker, settlement);
            if answer == Settled::Now(State::Pending) {
                self.out_of_line(&settlement.task);
                released.push(settlement.task.clone());
            }
            settled.push(answer);
        }
        for id in released.iter().rev() {
            self.put_first(id);
        }
        settled
    }

    fn settle(&mut self, worker: &WorkerId, settlement: &Settlement) -> Settled {
        let id = &settlement.task;
        let held = match self.tasks.get(id).map(|task| &task.place) {
            Some(Place::Active(held)) if held.token == settlement.token && held.token.worker == *worker => held.clone(),
            _ => {
                self.counters.refused += 1;
                return Settled::Refused;
            }
        };
        self.counters.ran_ms += settlement.ran_ms;
        match &settlement.outcome {
            Outcome::Succeeded { result } => {
                self.tasks.get_mut(id).expect("an active task").result.clone_from(result);
                self.end(id, State::Succeeded);
            }
            Outcome::Released => self.release(id, &held),
            Outcome::Cancelled => self.end(id, State::Cancelled),
            Outcome::Unserved if held.asked => self.end(id, State::Cancelled),
            Outcome::Unserved if self.another_serves(id, worker) => {
                self.counters.released += 1;
                let place = Place::Delayed { due_ms: self.now_ms + SET_ASIDE_MS, aside: true };
                self.tasks.get_mut(id).expect("an active task").place = place;
            }
            Outcome::Unserved => {
                self.fail(id, &held, FailureKind::Unsupported, "unsupported task", settlement.ran_ms, None);
            }
            Outcome::Failed { failure, retry_in_ms } => {
                self.fail(id, &held, failure.kind, &failure.message, settlement.ran_ms, *retry_in_ms);
            }
        }
        Settled::Now(self.tasks.get(id).map_or_else(|| ended_as(&settlement.outcome, held.asked), Task::state))
    }

    fn another_serves(&self, id: &TaskId, worker: &WorkerId) -> bool {
        let task_type = &self.tasks[id].new.task_type;
        self.workers.iter().any(|(other, incarnation)| {
            other != worker && incarnation.lease_end_ms > self.now_ms && incarnation.info.types.contains(task_type)
        })
    }

    fn fail(&mut self, id: &TaskId, held: &Held, kind: FailureKind, message: &str, ran_ms: u64, retry: Option<u64>) {
        self.counters.failed += 1;
        self.counters.timed_out += u64::from(kind == FailureKind::Timeout);
        self.note(id, held, kind, message, ran_ms);
        let task = self.tasks.get_mut(id).expect("an active task");
        task.failures += 1;
        match retry {
            _ if held.asked => self.end(id, State::Cancelled),
            None => self.end(id, State::Dead),
            Some(ms) => {
                self.counters.retried += 1;
                task.place = Place::Retrying { due_ms: self.now_ms + ms };
            }
        }
    }

    pub(super) fn note(&mut self, id: &TaskId, held: &Held, kind: FailureKind, message: &str, ran_ms: u64) {
        let task = self.tasks.get_mut(id).expect("an active task");
        task.attempts.push(AttemptView {
            attempt: task.failures + 1,
            worker: held.token.worker,
            kind,
            message: message.to_owned(),
            ended_at_ms: self.now_ms,
            ran_ms,
        });
        let excess = task.attempts.len().saturating_sub(ERRORS_KEPT);
        task.attempts.drain(..excess);
    }
}

/// Where a task went that was forgotten as it ended.
fn ended_as(outcome: &Outcome, asked: bool) -> State {
    match outcome {
        Outcome::Succeeded { .. } => State::Succeeded,
        Outcome::Failed { .. } | Outcome::Unserved if !asked => State::Dead,
        _ => State::Cancelled,
    }
}

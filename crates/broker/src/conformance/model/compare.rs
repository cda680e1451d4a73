//! Compares what a store says with what the model says, as far as the contract determines it.
//!
//! The clock of a store may run on by itself while a walk lasts, so its times are compared with a tolerance. All times
//! of a walk keep farther than that from each other, so that the tolerance hides nothing.

use std::collections::BTreeMap;
use std::fmt::Debug;

use tidemill_core::{Claim, FailureKind, QueueName, QueueStats, State, TaskId, TaskView};

use super::Model;
use crate::{Broker, Exchanged, Heartbeat, ListQuery, Maintained};

/// How far a store's clock may run on by itself during a walk, in milliseconds.
pub const TOLERANCE_MS: u64 = 9_000;

/// What differed, in words; or the store's error.
pub type Difference = String;

/// Compares times of a store with times of a model.
#[derive(Debug, Default)]
pub struct Clocks {
    /// The store's time at the model's time 0, once it is known.
    base_ms: Option<i64>,
}

/// Fails unless both are equal.
pub fn same<T: PartialEq + Debug>(what: &str, store: &T, model: &T) -> Result<(), Difference> {
    if store == model { Ok(()) } else { Err(format!("{what}:\n  store: {store:?}\n  model: {model:?}")) }
}

fn near(what: &str, store: Option<u64>, model: Option<u64>) -> Result<(), Difference> {
    match (store, model) {
        (None, None) => Ok(()),
        (Some(one), Some(other)) if one.abs_diff(other) <= TOLERANCE_MS => Ok(()),
        _ => Err(format!("{what}: store {store:?}, model {model:?} ms")),
    }
}

impl Clocks {
    fn time(&mut self, what: &str, store: &mut Option<u64>, model: Option<u64>) -> Result<(), Difference> {
        if let (Some(at), Some(expected)) = (*store, model) {
            let base = *self.base_ms.get_or_insert(at.cast_signed() - expected.cast_signed());
            let at = at.cast_signed() - base;
            if at.abs_diff(expected.cast_signed()) > TOLERANCE_MS {
                return Err(format!("{what}: store {at}, model {expected} ms"));
            }
            *store = model;
        }
        Ok(())
    }

    fn one(&mut self, what: &str, store: &mut u64, model: u64) -> Result<(), Difference> {
        let mut at = Some(*store);
        self.time(what, &mut at, Some(model))?;
        *store = model;
        Ok(())
    }

    /// Two views of a task.
    pub fn view(&mut self, mut store: TaskView, model: &TaskView) -> Result<(), Difference> {
        let what = format!("task {}", model.id);
        self.one(&format!("{what}, enqueued at"), &mut store.enqueued_at_ms, model.enqueued_at_ms)?;
        self.time(&format!("{what}, due at"), &mut store.due_at_ms, model.due_at_ms)?;
        self.time(&format!("{what}, started at"), &mut store.started_at_ms, model.started_at_ms)?;
        self.time(&format!("{what}, ended at"), &mut store.ended_at_ms, model.ended_at_ms)?;
        for (attempt, expected) in store.attempts.iter_mut().zip(&model.attempts) {
            self.one(&format!("{what}, attempt ended at"), &mut attempt.ended_at_ms, expected.ended_at_ms)?;
            if attempt.kind == FailureKind::Lost {
                attempt.ran_ms = expected.ran_ms;
            }
        }
        same(&what, &store, model)
    }

    /// Two answers to an exchange. Of a repeated one, figures may be those of then or of now.
    pub fn exchanged(&mut self, store: &Exchanged, model: &Exchanged, repeated: bool) -> Result<(), Difference> {
        let (
            Exchanged::Done { settled, claims, pending, next_due_ms, paused },
            Exchanged::Done {
                settled: expected_settled,
                claims: expected_claims,
                pending: expected_pending,
                next_due_ms: expected_due,
                paused: expected_paused,
            },
        ) = (store, model)
        else {
            return same("exchange", store, model);
        };
        same("settled", settled, expected_settled)?;
        let ids = |claims: &[Claim]| claims.iter().map(|claim| claim.task.to_string()).collect::<Vec<_>>();
        same("claimed", &ids(claims), &ids(expected_claims))?;
        for (claim, expected) in claims.iter().zip(expected_claims) {
            let mut claim = claim.clone();
            self.one("claim, enqueued at", &mut claim.record.enqueued_at_ms, expected.record.enqueued_at_ms)?;
            self.one("claim, started at", &mut claim.started_at_ms, expected.started_at_ms)?;
            same("claim", &claim, expected)?;
        }
        if repeated {
            return Ok(());
        }
        same("pending", pending, expected_pending)?;
        near("next due", *next_due_ms, *expected_due)?;
        same("paused", paused, expected_paused)
    }

    /// The whole queue: every list in order, every task, the figures, the workers.
    pub async fn queue(
        &mut self,
        broker: &dyn Broker,
        queue: &QueueName,
        model: &Model,
        ids: &[TaskId],
    ) -> Result<(), Difference> {
        let failed = |error: crate::BrokerError| error.to_string();
        for state in State::ALL {
            let query = ListQuery { state, task_type: None, cursor: None, limit: 100 };
            let page = broker.list(queue, &query).await.map_err(failed)?;
            same(&format!("cursor of {state}"), &page.cursor, &None)?;
            self.list(state, page.tasks, model)?;
        }
        for id in ids {
            match (broker.get(queue, id).await.map_err(failed)?, model.view(id)) {
                (Some(view), Some(expected)) => self.view(view, &expected)?,
                (store, model) => same(&format!("task {id}"), &store, &model)?,
            }
        }
        let stats = broker.stats(queue).await.map_err(failed)?;
        let expected = model.stats();
        near("stats, next due", stats.next_due_ms, expected.next_due_ms)?;
        same("stats, oldest pending", &stats.oldest_pending_ms.is_some(), &expected.oldest_pending_ms.is_some())?;
        let (oldest_pending_ms, next_due_ms) = (stats.oldest_pending_ms, stats.next_due_ms);
        same("stats", &stats, &QueueStats { oldest_pending_ms, next_due_ms, ..expected })?;

        same("owner", &broker.owner(queue).await.map_err(failed)?, &model.owner)?;
        let workers = broker.workers(queue).await.map_err(failed)?;
        let mut workers: BTreeMap<_, _> = workers.into_iter().map(|worker| (worker.info.id, worker)).collect();
        for (info, lease_left_ms, active, running_ms) in model.workers() {
            let Some(worker) = workers.remove(&info.id) else { return Err(format!("the store lost {}", info.id)) };
            same("worker", &(&worker.info, worker.active), &(&info, active))?;
            if worker.lease_left_ms.abs_diff(lease_left_ms) > TOLERANCE_MS {
                return Err(format!("lease of {}: store {}, model {lease_left_ms}", info.id, worker.lease_left_ms));
            }
            // Each of them is as far off as the clock is.
            if worker.running_ms.abs_diff(running_ms) > TOLERANCE_MS * u64::from(active) {
                return Err(format!("{} runs for: store {}, model {running_ms}", info.id, worker.running_ms));
            }
        }
        same("workers that only the store knows", &workers, &BTreeMap::new())
    }

    fn list(&mut self, state: State, store: Vec<TaskView>, model: &Model) -> Result<(), Difference> {
        let mut ids: Vec<TaskId> = store.iter().map(|view| view.id.clone()).collect();
        let mut expected = Vec::new();
        for mut group in model.list(state) {
            group.sort();
            let (from, to) = (expected.len(), (expected.len() + group.len()).min(ids.len()));
            if let Some(part) = ids.get_mut(from..to) {
                part.sort();
            }
            expected.extend(group);
        }
        same(&format!("list of {state} (order within an operation is free)"), &ids, &expected)?;
        for view in store {
            let mut expected = model.view(&view.id).ok_or_else(|| format!("{} is unknown", view.id))?;
            expected.attempts.clear();
            expected.result = None;
            self.view(view, &expected)?;
        }
        Ok(())
    }
}

/// Two answers to a heartbeat.
pub fn heartbeats(store: Heartbeat, model: Heartbeat) -> Result<(), Difference> {
    let sorted = |mut heartbeat: Heartbeat| {
        if let Heartbeat::Renewed { cancelled } = &mut heartbeat {
            cancelled.sort();
        }
        heartbeat
    };
    same("heartbeat", &sorted(store), &sorted(model))
}

/// Two answers to maintenance. What was forgotten may have been forgotten before; without workers, nothing is renewed.
pub fn maintained(store: &Maintained, model: &Maintained, workers: bool) -> Result<(), Difference> {
    let lost = |maintained: &Maintained| {
        let mut lost: Vec<_> = maintained.lost.iter().map(|l| (l.task.to_string(), l.worker, l.state)).collect();
        lost.sort();
        lost
    };
    same("promoted", &store.promoted, &model.promoted)?;
    same("lost", &lost(store), &lost(model))?;
    same("more", &store.more, &model.more)?;
    if workers { same("renewed", &store.renewed, &model.renewed) } else { Ok(()) }
}

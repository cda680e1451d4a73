//! A TaskQueue, its tasks and its worker pods.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::kubectl::{apply, get, is_ready, kubectl, list, name, wait_for};
use crate::tools::request;
use crate::wait::{ensure, until};

/// How long a TaskQueue may take to be ready.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(30);

/// Every transition of a queue's tasks, counted by the broker.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Counters {
    /// Tasks that were accepted.
    pub(crate) enqueued: u64,
    /// Attempts that began.
    pub(crate) started: u64,
    /// Tasks that succeeded.
    pub(crate) succeeded: u64,
    /// Attempts that failed.
    pub(crate) failed: u64,
    /// Attempts that took too long.
    pub(crate) timed_out: u64,
    /// Tasks that were to be tried again.
    pub(crate) retried: u64,
    /// Tasks that are given up.
    pub(crate) dead: u64,
    /// Attempts that were cut short on request.
    pub(crate) cancelled: u64,
    /// Attempts whose worker was lost.
    pub(crate) lost: u64,
    /// Attempts that were given back.
    pub(crate) released: u64,
    /// Late settlements.
    pub(crate) refused: u64,
}

impl Counters {
    /// What they must be when `tasks` tasks have run and nothing went wrong: each began once and ended once.
    pub(crate) fn undisturbed(tasks: u64) -> Self {
        Self { enqueued: tasks, started: tasks, succeeded: tasks, ..Self::default() }
    }
}

/// A TaskQueue.
pub(crate) struct Queue {
    name: &'static str,
}

impl Queue {
    /// Applies a TaskQueue, and waits until it is ready.
    pub(crate) fn ready(name: &'static str, spec: &Value) -> Self {
        let queue = Self::applied(name, spec);
        wait_for("condition=Ready", &[&queue.resource()], READY_WITHIN).done();
        queue
    }

    /// Applies a TaskQueue.
    pub(crate) fn applied(name: &'static str, spec: &Value) -> Self {
        let head = json!({ "name": name });
        apply(&json!({ "apiVersion": "tidemill.dev/v1alpha1", "kind": "TaskQueue", "metadata": head, "spec": spec }))
            .done();
        Self { name }
    }

    /// One that is there.
    pub(crate) fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// As kubectl names it.
    pub(crate) fn resource(&self) -> String {
        format!("taskqueue/{}", self.name)
    }

    /// The labels that its worker pods bear.
    pub(crate) fn selector(&self) -> String {
        format!("--selector=tidemill.dev/queue-owner={},app.kubernetes.io/component=worker", self.name)
    }

    /// Changes the spec.
    pub(crate) fn patch(&self, spec: &Value) {
        let patch = json!({ "spec": spec }).to_string();
        kubectl(&["patch", &self.resource(), "--type=merge", "--patch", &patch]).done();
    }

    /// Deletes it without waiting until it is gone.
    pub(crate) fn delete(&self) {
        kubectl(&["delete", &self.resource(), "--wait=false"]).done();
    }

    /// Waits until it is gone, with all worker pods.
    pub(crate) fn gone(&self, limit: Duration) {
        wait_for("delete", &[&self.resource()], limit).done();
    }

    /// Sends `tasks` tasks that take so long, all of them in one request.
    pub(crate) fn send(&self, tasks: usize, milliseconds: u64) {
        let task = json!({ "type": "sleep", "payload": { "duration_ms": milliseconds } });
        let batch = Value::from(vec![task; tasks]).to_string();
        request(&format!("/enqueue?queue={}", self.name), Some(&batch)).is(202);
    }

    /// What the API says of it.
    pub(crate) fn figures(&self) -> Result<Value, String> {
        let answer = request(&format!("/api/v1/queues/{}", self.name), None);
        ensure(answer.status == 200, || answer.body.clone())?;
        Ok(answer.json())
    }

    /// The counters.
    pub(crate) fn counters(&self) -> Result<Counters, String> {
        serde_json::from_value(self.figures()?["counters"].take()).map_err(|error| error.to_string())
    }

    /// Waits until none of its tasks waits or runs.
    #[track_caller]
    pub(crate) fn settled(&self, limit: Duration) -> Counters {
        until(limit, "every task has ended", || {
            let mut figures = self.figures()?;
            let left: Map<String, Value> = ["pending", "delayed", "active", "retrying"]
                .into_iter()
                .filter(|state| figures[*state] != 0)
                .map(|state| (state.to_owned(), figures[state].clone()))
                .collect();
            ensure(left.is_empty(), || format!("{left:?}"))?;
            serde_json::from_value(figures["counters"].take()).map_err(|error| error.to_string())
        })
    }

    /// Its worker pods, those on their way out too.
    pub(crate) fn pods(&self) -> Result<Vec<Value>, String> {
        list(&["pods", &self.selector()])
    }

    /// Waits until it has this many pods, all of them ready.
    #[track_caller]
    pub(crate) fn has_pods(&self, wanted: usize, limit: Duration) -> Vec<String> {
        until(limit, &format!("{wanted} worker pods are ready"), || {
            let pods = self.pods()?;
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            ensure(pods.len() == wanted && ready == wanted, || format!("{ready} of {} are", pods.len()))?;
            Ok(pods.iter().map(name).collect())
        })
    }

    /// A condition of its status.
    pub(crate) fn condition(&self, kind: &str) -> Result<Value, String> {
        let status = get(&[&self.resource()])?["status"].take();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|condition| condition["type"] == kind).ok_or_else(|| format!("no {kind} yet"))
    }
}

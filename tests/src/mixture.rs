//! A run of everything that may become of a task, on Redis with processes of their own: what succeeds, fails, is late, is
//! cancelled, is served by nobody, is refused at the door, and a worker that is killed. At its end all is at rest, and what
//! was acknowledged is known.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{Answer, Program, RedisServer, until};

/// How long each part may take.
const PART_DEADLINE: Duration = Duration::from_secs(40);
/// The queue.
pub const QUEUE: &str = "default";

/// The processes of the run, at rest, and what was acknowledged.
#[derive(Debug)]
pub struct Mixture {
    /// The store.
    pub redis: RedisServer,
    /// API and executor.
    pub standalone: Program,
    /// A worker.
    pub worker: Program,
    /// Tasks that were acknowledged.
    pub enqueued: u64,
    /// Requests that enqueued them, by `POST /enqueue`.
    pub requests: u64,
    /// Tasks that are expected to have succeeded, died and been cancelled.
    pub succeeded: u64,
    /// Dead ones.
    pub dead: u64,
    /// Cancelled ones.
    pub cancelled: u64,
    /// Claims of the worker that was killed.
    pub lost: u64,
}

impl Mixture {
    /// Does all of it.
    pub fn run() -> anyhow::Result<Self> {
        let redis = RedisServer::start();
        let url = redis.url();
        let standalone = Program::start("standalone", &["--broker-url", &url, "--slots", "1"])?;
        let settings = json!({"lease_ms": 4_000, "backoff": {"initial_ms": 5, "max_ms": 10}});
        let answer = standalone.put(&format!("/api/v1/queues/{QUEUE}"), &settings.to_string())?;
        anyhow::ensure!(answer.status == 200, "{}", answer.text);
        let worker = Program::start("worker", &["--broker-url", &url, "--slots", "2"])?;
        let mut run =
            Self { redis, standalone, worker, enqueued: 0, requests: 0, succeeded: 0, dead: 0, cancelled: 0, lost: 0 };
        run.lose_a_worker(&url)?;
        run.enqueue_all()?;
        run.cancel_and_requeue()?;
        run.rest();
        Ok(run)
    }

    /// Four tasks in four slots, two of which are killed.
    fn lose_a_worker(&mut self, url: &str) -> anyhow::Result<()> {
        let mut doomed = Program::start("worker", &["--broker-url", url, "--slots", "1"])?;
        self.schedule(&json!({"l0": 2_000, "l1": 2_000, "l2": 2_000, "l3": 2_000}))?;
        until("all slots are busy", PART_DEADLINE, || self.standalone.figure(QUEUE, "/active") == 4);
        doomed.kill()?;
        self.succeeded += 4;
        self.lost += 1;
        until("what it had runs elsewhere", PART_DEADLINE, || {
            self.standalone.figure(QUEUE, "/counters/succeeded") == self.succeeded
        });
        Ok(())
    }

    fn enqueue_all(&mut self) -> anyhow::Result<()> {
        let batch = (0..300).map(|n| json!({"id": format!("s{n}"), "type": "sleep", "payload": {"duration_ms": 1}}));
        self.enqueue(&Value::Array(batch.collect()))?;
        self.succeeded += 300;
        // Too late, twice each.
        let late = (0..4).map(|n| {
            json!({"id": format!("t{n}"), "type": "sleep", "payload": {"duration_ms": 60_000}, "timeout_ms": 30, "retries": 1})
        });
        self.enqueue(&Value::Array(late.collect()))?;
        // Without a duration: wrong for good, whatever retries are left.
        let wrong = (0..5).map(|n| json!({"id": format!("p{n}"), "type": "sleep", "payload": {}, "retries": 3}));
        self.enqueue(&Value::Array(wrong.collect()))?;
        self.enqueue(&json!({"id": "u0", "type": "nobody_serves_this", "payload": {}}))?;
        self.dead += 4 + 5 + 1;
        for refused in [json!({"id": "bad", "type": "no spaces"}), json!([])] {
            let answer = self.standalone.post("/enqueue", &refused.to_string())?;
            anyhow::ensure!(answer.status == 400, "{}: {}", answer.status, answer.text);
        }
        Ok(())
    }

    fn cancel_and_requeue(&mut self) -> anyhow::Result<()> {
        let later = (0..3).map(
            |n| json!({"id": format!("c{n}"), "type": "sleep", "payload": {"duration_ms": 1}, "delay_ms": 3_600_000}),
        );
        self.enqueue(&Value::Array(later.collect()))?;
        for n in 0..3 {
            done(&self.standalone.post(&format!("/api/v1/queues/{QUEUE}/tasks/c{n}/cancel"), "")?, 202)?;
        }
        self.cancelled += 3;
        until("the wrong one is dead", PART_DEADLINE, || {
            let task = self.standalone.get(&format!("/api/v1/queues/{QUEUE}/tasks/p0"));
            task.is_ok_and(|task| task.json()["state"] == "dead")
        });
        done(&self.standalone.post(&format!("/api/v1/queues/{QUEUE}/tasks/p0/retry"), "")?, 202)
    }

    fn rest(&self) {
        until("all is at rest", PART_DEADLINE, || {
            let live = ["/pending", "/active", "/delayed", "/retrying"].map(|name| self.standalone.figure(QUEUE, name));
            live.iter().sum::<u64>() == 0 && self.standalone.figure(QUEUE, "/counters/dead") == self.deaths()
        });
    }

    /// How often a task came to be dead: one did so twice.
    pub fn deaths(&self) -> u64 {
        self.dead + 1
    }

    fn schedule(&mut self, tasks: &Value) -> anyhow::Result<()> {
        done(&self.standalone.post("/schedule", &tasks.to_string())?, 202)?;
        self.enqueued += tasks.as_object().map_or(0, |tasks| tasks.len() as u64);
        Ok(())
    }

    fn enqueue(&mut self, tasks: &Value) -> anyhow::Result<()> {
        done(&self.standalone.post("/enqueue", &tasks.to_string())?, 202)?;
        self.enqueued += tasks.as_array().map_or(1, |tasks| tasks.len() as u64);
        self.requests += 1;
        Ok(())
    }
}

fn done(answer: &Answer, status: u16) -> anyhow::Result<()> {
    anyhow::ensure!(answer.status == status, "{}: {}", answer.status, answer.text);
    Ok(())
}

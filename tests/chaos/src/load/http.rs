//! A producer that speaks HTTP: batches with ids of its own, sent again after an unknown outcome, as the API advises.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidemill::TaskId;
use tokio_util::sync::CancellationToken;

use super::handlers::{SLEEP, WORK, Work};
use super::tasks::Mixture;
use super::{SHARED, TOLD, stop};
use crate::history::{Answer, Handed, Record, Start, Writer};

/// Callers at a time.
const CALLERS: u64 = 3;
/// How long a request may take: longer than the API's own deadline.
const REQUEST_DEADLINE: Duration = Duration::from_secs(4);
/// Pause between batches, in milliseconds, least and most.
const PAUSE_MS: (u64, u64) = (80, 300);
/// Largest batch.
const BATCH_MAX: u64 = 10;
/// Longest of the tasks that sleep, in milliseconds.
const SLEEP_MS: u64 = 600;
/// How long a batch is sent again whose outcome is not known.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause before it is sent again, in milliseconds, least and most.
const AGAIN_MS: (u64, u64) = (50, 400);

/// Runs until a SIGTERM, and then until the outcome of the last batches is known.
pub async fn run(port: u16, folder: &Path, name: &str, skew_ms: i64, seed: u64) -> anyhow::Result<()> {
    let (stop, _listening) = stop::on_sigterm()?;
    let history = Writer::open(folder, name, skew_ms)?;
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(REQUEST_DEADLINE))
        .proxy(None)
        .build();
    let caller = |number: u64| Caller {
        agent: config.clone().into(),
        base: format!("http://127.0.0.1:{port}"),
        history: history.clone(),
        mixture: Mixture::new(seed + number, &format!("{name}.{number}"), skew_ms),
        calls: AtomicU64::new(number << 32),
        stop: stop.clone(),
    };
    let callers: Vec<_> = (0..CALLERS).map(|number| tokio::task::spawn_blocking(caller_loop(caller(number)))).collect();
    for caller in callers {
        caller.await?;
    }
    Ok(())
}

fn caller_loop(mut caller: Caller) -> impl FnOnce() {
    move || {
        while !caller.stop.is_cancelled() {
            match caller.mixture.draw().between(0, 2) {
                0 => caller.schedule(),
                1 => caller.enqueue_sleeps(),
                _ => caller.enqueue_work(),
            }
            caller.rest(PAUSE_MS);
        }
    }
}

struct Caller {
    agent: ureq::Agent,
    base: String,
    history: Writer,
    mixture: Mixture,
    calls: AtomicU64,
    stop: CancellationToken,
}

impl Caller {
    fn rest(&mut self, (least, most): (u64, u64)) {
        thread::sleep(Duration::from_millis(self.mixture.draw().between(least, most)));
    }

    fn ids(&mut self) -> Vec<TaskId> {
        let size = self.mixture.draw().between(1, BATCH_MAX);
        (0..size).map(|_| self.mixture.id()).collect()
    }

    /// `POST /schedule`. The payload is made by the API, so the duration marks the life.
    fn schedule(&mut self) {
        let tasks: Vec<(TaskId, u64)> =
            self.ids().into_iter().map(|id| (id, self.mixture.draw().between(0, SLEEP_MS))).collect();
        self.insist("/schedule", SHARED, |_, sending| {
            let durations = tasks.iter().map(|(id, ms)| (id.to_string(), json!(ms + sending)));
            let handed = tasks.iter().map(|(id, ms)| handed(id, format!("ms:{}", ms + sending), Start::Now)).collect();
            (Value::Object(durations.collect()), handed)
        });
    }

    /// `POST /enqueue` of tasks that the program's workers serve, some of them delayed.
    fn enqueue_sleeps(&mut self) {
        let tasks: Vec<(TaskId, u64, u64)> = self
            .ids()
            .into_iter()
            .map(|id| {
                let delay = if self.mixture.draw().chance(20) { self.mixture.draw().between(1, 2_500) } else { 0 };
                (id, self.mixture.draw().between(0, SLEEP_MS), delay)
            })
            .collect();
        self.insist("/enqueue", SHARED, |mixture, _| {
            let (mut body, mut declared) = (Vec::new(), Vec::new());
            for (id, ms, delay) in &tasks {
                let life = mixture.life();
                body.push(
                    json!({"type": SLEEP, "id": id, "delay_ms": delay, "payload": {"life": life, "duration_ms": ms}}),
                );
                declared.push(handed(id, life, if *delay == 0 { Start::Now } else { Start::After(*delay) }));
            }
            (Value::Array(body), declared)
        });
    }

    /// `POST /enqueue` of tasks that only this harness's workers serve.
    fn enqueue_work(&mut self) {
        let tasks: Vec<(TaskId, Work)> = self.ids().into_iter().map(|id| (id, self.mixture.work())).collect();
        self.insist(&format!("/enqueue?queue={TOLD}"), TOLD, |mixture, _| {
            let (mut body, mut declared) = (Vec::new(), Vec::new());
            for (id, work) in &tasks {
                let work = Work { life: mixture.life(), ..work.clone() };
                body.push(json!({"type": WORK, "id": id, "retries": 3, "payload": work}));
                declared.push(handed(id, work.life, Start::Now));
            }
            (Value::Array(body), declared)
        });
    }

    /// Sends what `body` makes until the outcome is known, or patience ends. Each sending asks for other lives of the same ids.
    fn insist(&mut self, path: &str, queue: &str, body: impl Fn(&mut Mixture, u64) -> (Value, Vec<Handed>)) {
        let deadline = Instant::now() + PATIENCE;
        for sending in 0.. {
            let (body, tasks) = body(&mut self.mixture, sending);
            let call = self.calls.fetch_add(1, Ordering::Relaxed);
            self.history.note(&Record::Enqueue { call, queue: queue.to_owned(), tasks });
            let answer = self.post(path, &body);
            let known = !matches!(answer, Answer::Unknown { .. });
            self.history.note(&Record::Enqueued { call, answer });
            if known || Instant::now() >= deadline {
                return;
            }
            self.rest(AGAIN_MS);
        }
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        let sent = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/json")
            .send(body.to_string())
            .and_then(|mut response| Ok((response.status().as_u16(), response.body_mut().read_to_string()?)));
        match sent {
            Ok((status, text)) => answer(status, &text),
            Err(error) => Answer::Unknown { status: 0, reason: error.to_string() },
        }
    }
}

fn handed(id: &TaskId, life: String, start: Start) -> Handed {
    Handed { task: id.to_string(), life, start }
}

/// What an answer of the API says of the tasks that were sent.
pub(crate) fn answer(status: u16, text: &str) -> Answer {
    let problem: Value = serde_json::from_str(text).unwrap_or_default();
    let reason = problem["detail"].as_str().unwrap_or(text).to_owned();
    match status {
        202 => Answer::Acknowledged,
        409 => Answer::Exists,
        507 => Answer::StoreFull { status, reason },
        400..=499 => Answer::Wrong { status, reason },
        _ => Answer::Unknown { status, reason },
    }
}

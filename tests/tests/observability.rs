//! What Prometheus learns of a run in which much goes wrong: the figures, and every query of dashboards and alerts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tidemill_tests::prometheus::alerts_file;
use tidemill_tests::queries::{self, Variables};
use tidemill_tests::{Events, Program, Prometheus, RedisServer, Target, until};

const SOON: Duration = Duration::from_secs(20);
/// How soon all is worked off again after workers have died and the broker has been silent.
const AT_REST: Duration = Duration::from_mins(1);
/// How long a worker may be silent here; the least that there is are 1,000 ms.
const LEASE_MS: &str = "2000";
/// For how long the broker answers nobody: longer than an operation of it is waited for.
const SILENCE_MS: u32 = 3_000;
/// Where no mail server is.
const NO_MAIL: &str = "smtp://127.0.0.1:1";
const NAMESPACE: &str = "tides";

/// How many tasks of each fate there are.
const GOOD: usize = 40;
const LATE: usize = 12;
const UNSENT: usize = 3;
const WRONG: usize = 2;
const UNSERVED: usize = 2;
/// As many as there are slots, so that each worker has some when it is struck.
const LONG: usize = STEADY_SLOTS + DOOMED_SLOTS + STALLED_SLOTS;
const STEADY_SLOTS: usize = 4;
const DOOMED_SLOTS: usize = 3;
const STALLED_SLOTS: usize = 2;

/// An API, three workers and a listener on one Redis, and what the test itself has counted.
struct Run {
    redis: RedisServer,
    api: Program,
    steady: Program,
    doomed: Program,
    stalled: Program,
    requests: u64,
    accepted: usize,
    _listener: Events,
}

impl Run {
    fn start() -> Self {
        let redis = RedisServer::start();
        let program = |role: &str, further: &[&str]| {
            let (url, lease) = (redis.url(), format!("queue.settings.lease_ms={LEASE_MS}"));
            let (mail, backoff) = (format!("smtp.url={NO_MAIL}"), "queue.settings.backoff.initial_ms=100");
            let args = ["--broker-url", &url, "--set", &lease, "--set", &mail, "--set", backoff];
            Program::start(role, &[&args[..], further].concat()).unwrap()
        };
        let worker = |slots: usize| program("worker", &["--slots", &slots.to_string()]);
        // Nobody else shows whole queues where there is no operator.
        let api = program("api", &["--form", "html_ws", "--set", "metrics.queues=on"]);
        let (steady, doomed, stalled) = (worker(STEADY_SLOTS), worker(DOOMED_SLOTS), worker(STALLED_SLOTS));
        let listener = Events::connect(&api.address()).unwrap();
        Self { redis, api, steady, doomed, stalled, requests: 0, accepted: 0, _listener: listener }
    }

    fn targets(&self) -> Vec<Target> {
        let of = |job, program: &Program| Target { job, address: program.address(), namespace: NAMESPACE.to_owned() };
        let workers = [&self.steady, &self.doomed, &self.stalled].map(|program| of("worker", program));
        [of("api", &self.api)].into_iter().chain(workers).collect()
    }

    fn figure(&self, name: &str) -> usize {
        self.api.figure("default", name).try_into().unwrap()
    }

    fn enqueue(&mut self, count: usize, task: &Value) {
        let answer = self.api.post("/enqueue", &vec![task; count].to_json()).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text);
        self.requests += 1;
        self.accepted += count;
    }

    fn work(&mut self) {
        self.enqueue(GOOD, &json!({ "type": "sleep", "payload": { "duration_ms": 20 } }));
        let endless = json!({ "duration_ms": 60_000 });
        self.enqueue(LATE, &json!({ "type": "sleep", "payload": endless, "timeout_ms": 100, "retries": 1 }));
        let mail = json!({ "to": "a@example.com", "subject": "Hello", "body": "There." });
        self.enqueue(UNSENT, &json!({ "type": "send_email", "payload": mail }));
        self.enqueue(WRONG, &json!({ "type": "sleep", "payload": { "duration_ms": "long" }, "retries": 3 }));
        self.enqueue(UNSERVED, &json!({ "type": "nobodys", "payload": {} }));
        self.enqueue(1, &json!({ "type": "sleep", "id": "unwanted", "delay_ms": 600_000, "payload": endless }));
        let cancelled = self.api.post("/api/v1/queues/default/tasks/unwanted/cancel", "").unwrap();
        assert!(cancelled.status < 300, "{}", cancelled.text);
        until("all of that has ended", SOON, || self.is_at_rest());
    }

    /// One worker is killed with its tasks, one is stopped for longer than its lease holds.
    fn strike_workers(&mut self) {
        self.enqueue(LONG, &json!({ "type": "sleep", "payload": { "duration_ms": 3_000 } }));
        until("every slot is taken", SOON, || self.figure("/active") == LONG);
        self.stalled.signal("STOP").unwrap();
        self.doomed.kill().unwrap();
        until("the tasks of both are lost", SOON, || self.figure("/counters/lost") == DOOMED_SLOTS + STALLED_SLOTS);
        self.stalled.signal("CONT").unwrap();
        until("they have ended elsewhere", AT_REST, || self.is_at_rest());
        until("the worker that was stopped works again", SOON, || self.figure("/workers") == 2);
    }

    /// The broker answers nobody for a while, and the API says so.
    fn silence_broker(&self) {
        let mut connection = TcpStream::connect(("127.0.0.1", self.redis.port())).unwrap();
        connection.write_all(format!("CLIENT PAUSE {SILENCE_MS} ALL\r\n").as_bytes()).unwrap();
        let mut said = [0; 5];
        connection.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"+OK\r\n");
        assert_eq!(self.api.get("/api/v1/queues/default").unwrap().status, 503);
        until("the broker answers again", SOON, || self.api.get("/api/v1/queues/default").unwrap().status == 200);
    }

    fn is_at_rest(&self) -> bool {
        let waiting = ["pending", "delayed", "active", "retrying"];
        waiting.iter().all(|state| self.figure(&format!("/{state}")) == 0)
    }

    /// The counters of the queue, as the API says them.
    fn counters(&self) -> BTreeMap<String, u64> {
        let queue = self.api.get("/api/v1/queues/default").unwrap().json();
        let counters = queue["counters"].as_object().unwrap();
        counters.iter().filter_map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect()
    }

    /// The same as the text form of the metrics says them.
    fn counters_as_text(&self) -> BTreeMap<String, u64> {
        let text = self.api.get("/metrics?format=prometheus").unwrap().text;
        let series = r#"tidemill_queue_transitions_total{queue="default",transition=""#;
        let line = |line: &str| {
            let (transition, count) = line.strip_prefix(series)?.split_once("\"} ")?;
            Some((transition.to_owned(), count.parse().ok()?))
        };
        text.lines().filter_map(line).collect()
    }
}

trait ToJson {
    fn to_json(&self) -> String;
}

impl ToJson for Vec<&Value> {
    fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap()
    }
}

/// The counters that Prometheus has scraped.
fn counters_scraped(prometheus: &Prometheus) -> BTreeMap<String, u64> {
    let found = prometheus.ask("sum by (transition) (tidemill_queue_transitions_total{queue=\"default\"})").unwrap();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // they are counts, far below 2^52
    found.iter().map(|(labels, count)| (labels["transition"].as_str().unwrap().to_owned(), *count as u64)).collect()
}

#[test]
fn prometheus_api_and_the_tests_own_count_agree_and_no_query_of_dashboards_and_alerts_finds_nothing() {
    let mut run = Run::start();
    let prometheus = Prometheus::scrape(&run.targets(), &alerts_file()).unwrap();
    until("all processes are scraped", SOON, || prometheus.count("sum(up)") == Some(4));
    run.work();
    run.strike_workers();
    run.silence_broker();
    until("all is at rest", AT_REST, || run.is_at_rest());

    let counters = run.counters();
    let dead = LATE + UNSENT + WRONG + UNSERVED;
    let expected = [
        ("enqueued", run.accepted),
        ("succeeded", GOOD + LONG),
        ("dead", dead),
        ("cancelled", 1),
        ("timed_out", 2 * LATE),
        ("retried", LATE),
        ("lost", DOOMED_SLOTS + STALLED_SLOTS),
    ];
    for (name, count) in expected {
        assert_eq!(counters[name], count as u64, "{name} in {counters:?}");
    }
    let transitions = run.counters_as_text();
    assert_eq!(transitions.len(), 13, "{transitions:?}");
    for (name, count) in &transitions {
        assert_eq!(counters[name], *count, "{name}");
    }
    let json = run.api.get("/metrics?format=json").unwrap().json();
    assert_eq!(json, json!({ "total_jobs_in_queue": 0, "jobs_done": GOOD + LONG, "jobs_failed": dead }));
    until("Prometheus has the same figures", SOON, || counters_scraped(&prometheus) == transitions);
    let requests = r#"sum(tidemill_http_requests_total{route="/enqueue",status="202"})"#;
    assert_eq!(prometheus.count(requests), Some(run.requests));

    let alert = r#"ALERTS{alertname="TidemillDeadLettersRising",alertstate="firing"}"#;
    until("the dead letters are told of", SOON, || prometheus.ask(alert).is_ok_and(|found| !found.is_empty()));

    let mut asked = queries::of_dashboard("fleet").unwrap();
    asked.extend(queries::of_dashboard("queue").unwrap());
    asked.extend(queries::of_alerts().unwrap());
    asked.retain(|query| !query.needs_operator());
    let variables = Variables([("namespace", NAMESPACE), ("queue", "default")].into());
    queries::until_answered(&prometheus, &asked, &variables, SOON);
    println!("{} queries of dashboards and alerts find what they ask for", asked.len());
}

//! Operators that go and come, and an API server that is away: workers go on, and the status catches up.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::images::CLUSTER;
use crate::kubectl::{get, kubectl, kubectl_within};
use crate::load::{Load, Second};
use crate::process;
use crate::queue::{Counters, Queue};
use crate::release::{self, RELEASE};
use crate::wait::{ensure, until};

/// How long pods may take to be there.
const STARTING: Duration = Duration::from_mins(1);
/// How long it may take until another process leads.
const LEADS_WITHIN: Duration = Duration::from_secs(15);
/// How long a new leader may take to have looked at everything.
const LOOKED_WITHIN: Duration = Duration::from_secs(30);
/// How long a restart of both operators may take.
const RESTARTED_WITHIN: Duration = Duration::from_mins(2);
/// How long the API server is away.
const AWAY: Duration = Duration::from_secs(30);
/// How long the status may take to catch up: processes that gave up leading are started anew, with a pause that grows.
const CAUGHT_UP_WITHIN: Duration = Duration::from_mins(1);
/// How long what was sent may take to end.
const WORK: Duration = Duration::from_mins(1);
/// Tasks a second, each of this length: less than the slots of one pod.
const LOAD: usize = 6;
const TASK_MS: u64 = 1_000;
/// Seconds of the outage that may pass at its edges without an end of a task being seen.
const EDGES: u64 = 4;

pub(crate) fn run() {
    release::needed();
    let spec = json!({ "scaling": { "minReplicas": 2, "maxReplicas": 2 }, "worker": { "workersLimit": 10 } });
    let queue = Queue::ready("steady", &spec);
    queue.has_pods(2, STARTING);
    let load = Load::start("steady", LOAD, TASK_MS);
    another_leads(&queue);
    restarts(&queue);
    let away = std::env::var(CLUSTER).ok().map(|cluster| without_api_server(&cluster));
    if away.is_none() {
        println!("the API server cannot be taken away here: {CLUSTER} is not set");
    }
    catches_up(&queue);
    let (sent, seconds) = load.stop();
    assert_eq!(queue.settled(WORK), Counters::undisturbed(sent));
    println!("{sent} tasks, as many attempts");
    if let Some((from, to)) = away {
        work_went_on(&seconds, from, to);
    }
    until(CAUGHT_UP_WITHIN, "the status shows the queue as it is", || {
        let figures = get(&[&queue.resource()])?["status"]["queue"].take();
        ensure(figures["pending"] == 0 && figures["active"] == 0, || figures.to_string())
    });
    queue.delete();
    queue.gone(WORK);
}

fn leader() -> Result<String, String> {
    let lease = get(&["lease/tidemill-operator"])?;
    let holder = lease["spec"]["holderIdentity"].as_str().filter(|holder| !holder.is_empty());
    holder.map(str::to_owned).ok_or_else(|| lease.to_string())
}

/// The leader's pod goes by force, and another process leads and looks at what changes.
fn another_leads(queue: &Queue) {
    let before = leader().unwrap();
    let pod = crate::kubectl::names(&["pods", "--selector=app.kubernetes.io/component=operator"])
        .unwrap()
        .into_iter()
        .find(|pod| before.starts_with(pod.as_str()))
        .unwrap_or_else(|| panic!("the leader {before} is no pod"));
    let began = Instant::now();
    kubectl(&["delete", "pod", &pod, "--grace-period=0", "--force"]).done();
    let after = until(LEADS_WITHIN, "another process leads", || {
        let now = leader()?;
        ensure(now != before, || format!("{now} still does"))?;
        Ok(now)
    });
    println!("{after} leads {:.1} s after {before} was killed", began.elapsed().as_secs_f32());
    queue.patch(&json!({ "timeoutSeconds": 600 }));
    is_looked_at(queue);
}

/// The status speaks of the present spec.
fn is_looked_at(queue: &Queue) {
    until(LOOKED_WITHIN, "the status speaks of the present spec", || {
        let found = get(&[&queue.resource()])?;
        let (generation, observed) = (&found["metadata"]["generation"], &found["status"]["observedGeneration"]);
        ensure(generation == observed, || format!("generation {generation}, observed {observed}"))
    });
}

fn restarts(queue: &Queue) {
    let operator = format!("deployment/{RELEASE}-operator");
    kubectl(&["rollout", "restart", &operator]).done();
    kubectl_within(RESTARTED_WITHIN, &["rollout", "status", &operator]).done();
    queue.patch(&json!({ "timeoutSeconds": 700 }));
    is_looked_at(queue);
    println!("both operators were restarted");
}

/// From when to when it was away, in Unix seconds.
fn without_api_server(cluster: &str) -> (u64, u64) {
    let limit = Duration::from_mins(1);
    process::run(cluster, &["api-down"], "", limit).done();
    let from = unix_now();
    // The one thing that is to be shown here is that time passes without it.
    std::thread::sleep(AWAY);
    let to = unix_now();
    process::run(cluster, &["api-up"], "", limit).done();
    (from, to)
}

fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn catches_up(queue: &Queue) {
    let began = Instant::now();
    until(CAUGHT_UP_WITHIN, "the API server takes changes again", || {
        kubectl(&["annotate", &queue.resource(), "example.org/back=yes", "--overwrite"]).result()
    });
    queue.patch(&json!({ "timeoutSeconds": 800 }));
    until(CAUGHT_UP_WITHIN, "the status catches up", || {
        let found = get(&[&queue.resource()])?;
        let (generation, observed) = (&found["metadata"]["generation"], &found["status"]["observedGeneration"]);
        ensure(generation == observed, || format!("generation {generation}, observed {observed}"))?;
        let ready = queue.condition("Ready")?;
        ensure(ready["status"] == "True", || ready.to_string())
    });
    println!("the status had caught up after {:.1} s", began.elapsed().as_secs_f32());
}

/// Tasks ended all the while.
fn work_went_on(seconds: &[Second], from: u64, to: u64) {
    let during = || seconds.iter().filter(|second| (from..=to).contains(&second.at));
    let ended = |second: Option<&Second>| second.and_then(|second| second.succeeded).expect("the API answered");
    let (first, last) = (ended(during().next()), ended(during().next_back()));
    let requests = during().count();
    println!(
        "while the API server was away for {} s, {requests} requests were served and {} tasks ended",
        to - from,
        last - first
    );
    // A task per request, at least: the rest of what each second sent may end after it.
    let enough = (u64::try_from(requests).unwrap().saturating_sub(EDGES)) * u64::try_from(LOAD).unwrap();
    assert!(requests > 5 && last - first >= enough, "{requests} requests, {} tasks: {seconds:?}", last - first);
}

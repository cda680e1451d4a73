//! Workers come with a burst and go after it, and are replaced under load, without harm to any task.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kubectl::{get, is_ready};
use crate::load::Load;
use crate::queue::{Counters, Queue};
use crate::wait::{ensure, until};
use crate::{images, release};

/// Tasks of the burst.
const BURST: u64 = 200;
/// How long each of them takes: well below the shutdown timeout of 30 s, so that no pod has to give one back.
const TASK_MS: u64 = 1_000;
/// Most pods. One machine runs all of them.
const PODS_MAX: usize = 4;
/// How long a burst may take, pods included.
const WORK: Duration = Duration::from_secs(90);
/// How long the pods may take to be gone after it: stabilization, drain, and the kubelet's own time.
const GONE_WITHIN: Duration = Duration::from_mins(1);
/// How long a rollout of all pods may take under load.
const ROLLED_OUT_WITHIN: Duration = Duration::from_mins(2);
/// Tasks that are sent each second while something is rolled out: what two pods of 5 slots can do, and a little more.
const LOAD: usize = 12;

pub(crate) fn run() {
    release::needed();
    let queue = Queue::ready(
        "burst",
        &json!({
            "scaling": { "maxReplicas": PODS_MAX, "targetWaitSeconds": 2, "scaleDown": { "stabilizationSeconds": 5 } },
            "worker": { "workersLimit": 5 },
        }),
    );
    comes_and_goes(&queue);
    let mut tasks = BURST;
    queue.patch(&json!({ "scaling": { "minReplicas": 2 } }));
    let pods = queue.has_pods(2, WORK);

    tasks += under_load(&queue, || {
        queue.patch(&json!({ "worker": { "image": images::next() } }));
        rolled_out(&queue, &|pod| pod["spec"]["containers"][0]["image"] == images::next());
    });
    assert_eq!(queue.counters().unwrap(), Counters::undisturbed(tasks), "after a new image");
    println!("a new image was rolled out under load: {tasks} tasks so far, as many attempts");

    tasks += under_load(&queue, || {
        let before: Vec<String> = queue.pods().unwrap().iter().map(crate::kubectl::name).collect();
        queue.patch(&json!({ "worker": { "workersLimit": 8 } }));
        rolled_out(&queue, &|pod| !before.contains(&crate::kubectl::name(pod)));
    });
    assert_eq!(queue.counters().unwrap(), Counters::undisturbed(tasks), "after a change of workersLimit");
    println!("workersLimit was changed under load: {tasks} tasks so far, as many attempts");
    assert!(queue.pods().unwrap().iter().all(|pod| !pods.contains(&crate::kubectl::name(pod))));
    queue.delete();
    queue.gone(GONE_WITHIN);
}

fn comes_and_goes(queue: &Queue) {
    assert_eq!(queue.pods().unwrap().len(), 0, "no worker pod before there is work");
    let began = Instant::now();
    queue.send(usize::try_from(BURST).unwrap(), TASK_MS);
    until(WORK, "the Deployment is scaled to the answer", || {
        let replicas = get(&["deployment", "burst-worker"])?["spec"]["replicas"].as_u64();
        ensure(replicas == Some(u64::try_from(PODS_MAX).unwrap()), || format!("{replicas:?} replicas"))
    });
    println!("from nothing to {PODS_MAX} wanted pods in {:.1} s", began.elapsed().as_secs_f32());
    until(WORK, "all of them are ready", || {
        let ready = queue.pods()?.iter().filter(|pod| is_ready(pod)).count();
        ensure(ready == PODS_MAX, || format!("{ready} are"))
    });
    println!("{PODS_MAX} pods were ready after {:.1} s", began.elapsed().as_secs_f32());
    assert_eq!(queue.settled(WORK), Counters::undisturbed(BURST));
    println!("{BURST} tasks of {TASK_MS} ms had ended after {:.1} s", began.elapsed().as_secs_f32());
    let ended = Instant::now();
    queue.has_pods(0, GONE_WITHIN);
    println!("no pod was left {:.1} s later", ended.elapsed().as_secs_f32());
    assert_eq!(queue.counters().unwrap(), Counters::undisturbed(BURST), "draining pods disturbed nothing");
}

/// Sends tasks all the while, until `change` is done; then waits for their end. How many there were.
fn under_load(queue: &Queue, change: impl FnOnce()) -> u64 {
    let load = Load::start("burst", LOAD, TASK_MS);
    change();
    let (sent, _) = load.stop();
    queue.settled(WORK);
    sent
}

/// Waits until every pod is a new one, and the old ones have drained.
fn rolled_out(queue: &Queue, is_new: &dyn Fn(&Value) -> bool) {
    until(ROLLED_OUT_WITHIN, "every worker pod is a new one", || {
        let pods = queue.pods()?;
        let new = pods.iter().filter(|pod| is_ready(pod) && is_new(pod)).count();
        ensure(!pods.is_empty() && new == pods.len(), || format!("{new} of {} are", pods.len()))
    });
}

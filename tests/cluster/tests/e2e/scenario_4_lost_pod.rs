//! A worker pod that is gone from one moment to the next.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::kubectl::kubectl;
use crate::queue::{Counters, Queue};
use crate::tools::request;
use crate::wait::{ensure, until};
use crate::{images, release};

/// Slots of each of the two pods.
const SLOTS: u64 = 5;
/// Tasks: both pods are full, and some wait.
const TASKS: u64 = 3 * SLOTS;
/// Long enough that none has ended when the pod goes.
const TASK_MS: u64 = 15_000;
/// How long the two pods may take to be there.
const STARTING: Duration = Duration::from_mins(1);
/// A lease, and two rounds of tasks.
const WORK: Duration = Duration::from_mins(2);

pub(crate) fn run() {
    release::needed();
    let queue = Queue::ready(
        "lossy",
        &json!({
            "scaling": { "mode": "Manual" }, "replicas": 2,
            "worker": {
                "workersLimit": SLOTS,
                // Somebody who can kill the worker: its own image holds nothing else.
                "template": { "spec": {
                    "shareProcessNamespace": true,
                    "containers": [{
                        "name": "bystander", "image": images::TOOLS, "imagePullPolicy": "IfNotPresent",
                        "command": ["sleep", "1000000"],
                        "securityContext": {
                            "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
                        },
                    }],
                } },
            },
        }),
    );
    queue.has_pods(2, STARTING);
    queue.send(usize::try_from(TASKS).unwrap(), TASK_MS);
    let victim = full_worker();

    // A force deletion takes the object away at once, but the kubelet still tells the process to end, and a worker that is
    // told gives its tasks back in order. On a node that died nobody tells it.
    let began = Instant::now();
    kubectl(&["exec", &victim, "--container=bystander", "--", "sh", "-c", "kill -KILL $(pidof tidemill)"]).done();
    kubectl(&["delete", "pod", &victim, "--grace-period=0", "--force"]).done();
    until(WORK, "the lost tasks are counted", || {
        let lost = queue.counters()?.lost;
        ensure(lost == SLOTS, || format!("{lost} are"))
    });
    println!("the tasks of {victim} were taken back {:.1} s after it was killed", began.elapsed().as_secs_f32());

    let expected = Counters { started: TASKS + SLOTS, lost: SLOTS, ..Counters::undisturbed(TASKS) };
    assert_eq!(queue.settled(WORK), expected, "every task ended well, and no attempt counts as a retry");
    println!("{TASKS} tasks ended {:.1} s after that, {SLOTS} of them elsewhere", began.elapsed().as_secs_f32());
    queue.delete();
    queue.gone(STARTING);
}

/// The pod of a worker that has a task in each slot, when both have.
fn full_worker() -> String {
    until(STARTING, "both workers have tasks in all slots", || {
        let answer = request("/api/v1/queues/lossy/workers", None).json();
        let workers = answer["workers"].as_array().cloned().unwrap_or_default();
        let full: Vec<&str> = workers
            .iter()
            .filter(|worker| worker["active"] == SLOTS)
            .filter_map(|worker| worker["name"].as_str())
            .collect();
        ensure(full.len() == 2, || answer.to_string())?;
        Ok(full[0].to_owned())
    })
}

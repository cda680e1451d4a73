//! A worker pod that is gone from one moment to the next.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::kubectl::kubectl;
use crate::queue::{Counters, Queue};
use crate::release;
use crate::tools::request;
use crate::wait::{ensure, until};

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
            "worker": { "workersLimit": SLOTS },
        }),
    );
    queue.has_pods(2, STARTING);
    queue.send(usize::try_from(TASKS).unwrap(), TASK_MS);
    let victim = full_worker();

    // The kubelet does not wait either: it kills the worker within a second or two, before its tasks can end or be given
    // back.
    let began = Instant::now();
    kubectl(&["delete", "pod", &victim, "--grace-period=0", "--force"]).done();
    until(WORK, "the lost tasks are counted", || {
        let lost = queue.counters()?.lost;
        ensure(lost == SLOTS, || format!("{lost} are"))
    });
    println!(
        "the tasks of {victim} were taken back {:.1} s after it was deleted by force",
        began.elapsed().as_secs_f32()
    );

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

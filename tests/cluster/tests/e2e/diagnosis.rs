//! What the cluster says when a scenario failed.

use crate::kubectl::{kubectl, names};

/// The last lines of each log.
const LOG_LINES: &str = "--tail=40";
/// Pods that are described at most; more than these tell nothing new.
const PODS_MAX: usize = 12;
/// The last lines of the events.
const EVENTS_MAX: usize = 60;

/// Prints what is there, what happened to it and what it logged.
pub(crate) fn print() {
    show(&["get", "all,pvc,jobs", "--output", "wide"]);
    show(&["get", "taskqueues", "--output", "yaml"]);
    let events = kubectl(&["get", "events", "--sort-by=.lastTimestamp"]);
    let lines: Vec<&str> = events.out.lines().collect();
    println!("$ kubectl get events\n{}", lines[lines.len().saturating_sub(EVENTS_MAX)..].join("\n"));
    for pod in names(&["pods"]).unwrap_or_default().iter().take(PODS_MAX) {
        show(&["describe", "pod", pod]);
        show(&["logs", pod, "--all-containers", LOG_LINES]);
    }
}

fn show(args: &[&str]) {
    let said = kubectl(args);
    println!("$ kubectl {}\n{}{}", args.join(" "), said.out, said.err);
}

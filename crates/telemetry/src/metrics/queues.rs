//! The figures of whole queues, made anew for each scrape from what the store says.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tidemill_core::{Counters, QueueName, QueueStats, State};

use super::names;

type Labels = Vec<(&'static str, String)>;

/// The series of these queues.
pub(super) fn queue_registry(queues: &[(QueueName, QueueStats)]) -> Registry {
    let tasks = Family::<Labels, Gauge<u64, AtomicU64>>::default();
    let oldest = Family::<Labels, Gauge<f64, AtomicU64>>::default();
    let workers = Family::<Labels, Gauge>::default();
    let paused = Family::<Labels, Gauge>::default();
    let transitions = Family::<Labels, Counter>::default();
    let run = Family::<Labels, Counter<f64, AtomicU64>>::default();
    for (name, stats) in queues {
        let queue = || ("queue", name.as_str().to_owned());
        for (state, count) in depths(stats) {
            tasks.get_or_create(&vec![queue(), ("state", state.as_str().to_owned())]).set(count);
        }
        let own = vec![queue()];
        oldest.get_or_create(&own).set(seconds(stats.oldest_pending_ms.unwrap_or(0)));
        workers.get_or_create(&own).set(i64::from(stats.workers));
        paused.get_or_create(&own).set(i64::from(stats.paused));
        run.get_or_create(&own).inc_by(seconds(stats.counters.ran_ms));
        for (transition, count) in counted(&stats.counters) {
            transitions.get_or_create(&vec![queue(), ("transition", transition.to_owned())]).inc_by(count);
        }
    }
    let mut registry = Registry::default();
    names::QUEUE_TASKS.add(&mut registry, tasks);
    names::QUEUE_OLDEST_PENDING.add(&mut registry, oldest);
    names::QUEUE_WORKERS.add(&mut registry, workers);
    names::QUEUE_PAUSED.add(&mut registry, paused);
    names::QUEUE_TRANSITIONS.add(&mut registry, transitions);
    names::QUEUE_RUN.add(&mut registry, run);
    registry
}

fn depths(stats: &QueueStats) -> [(State, u64); 7] {
    [
        (State::Pending, stats.pending),
        (State::Delayed, stats.delayed),
        (State::Active, stats.active),
        (State::Retrying, stats.retrying),
        (State::Succeeded, stats.succeeded),
        (State::Dead, stats.dead),
        (State::Cancelled, stats.cancelled),
    ]
}

fn counted(counters: &Counters) -> [(&'static str, u64); 13] {
    let Counters {
        enqueued,
        started,
        succeeded,
        failed,
        timed_out,
        retried,
        dead,
        cancelled,
        lost,
        released,
        refused,
        requeued,
        deleted,
        ran_ms: _,
    } = *counters;
    [
        ("enqueued", enqueued),
        ("started", started),
        ("succeeded", succeeded),
        ("failed", failed),
        ("timed_out", timed_out),
        ("retried", retried),
        ("dead", dead),
        ("cancelled", cancelled),
        ("lost", lost),
        ("released", released),
        ("refused", refused),
        ("requeued", requeued),
        ("deleted", deleted),
    ]
}

fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

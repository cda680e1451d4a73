//! Arrival traces: when tasks come, and how long each runs.

use super::random::Random;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// How much of each trace is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)] // the example makes full traces, the tests short ones
pub(crate) enum Length {
    /// Hours, and a whole day of `daily`.
    Full,
    /// As much as a debug build replays in a second or two.
    Short,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    pub(crate) at_ms: u64,
    pub(crate) runs_ms: u64,
}

/// Tasks in the order in which they come, and the pods that may serve them.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    pub(crate) name: &'static str,
    #[allow(dead_code)] // printed by the example, not by the tests
    pub(crate) about: &'static str,
    /// In which pods are counted; long enough after the last task that every rule has scaled in.
    pub(crate) ends_ms: u64,
    pub(crate) slots_per_pod: u32,
    pub(crate) max_replicas: u32,
    pub(crate) tasks: Vec<Task>,
    pub(crate) seed: u64,
}

/// How long after the last arrival a trace ends: the slowest scale-in of the three, KEDA's after 300 s of HPA
/// stabilization and 300 s of cooldown, and some.
const TAIL: u64 = 15 * MINUTE;

pub(crate) fn traces(length: Length) -> Vec<Trace> {
    let part = match length {
        Length::Full => 1,
        Length::Short => 6,
    };
    vec![
        steady(2 * HOUR / part),
        burst("burst", "300 to 3000 tasks of 1 s at once, every 8 to 20 min", (300, 3000), 4 * HOUR),
        burst("small bursts", "10 to 150 tasks of 1 s at once, every 8 to 20 min", (10, 150), 4 * HOUR),
        daily(24 * HOUR / part),
        spike(),
        slow(6 * HOUR),
    ]
}

fn trace(name: &'static str, about: &'static str, seed: u64, tasks: Vec<Task>) -> Trace {
    let ends_ms = tasks.last().map_or(0, |last| last.at_ms) + TAIL;
    Trace { name, about, ends_ms, slots_per_pod: 10, max_replicas: 20, tasks, seed }
}

/// Poisson arrivals, `rate(ms)` a second, from `from_ms` to `to_ms`.
fn arrivals(
    random: &mut Random,
    (from_ms, to_ms): (u64, u64),
    rate: impl Fn(u64) -> f64,
    mut runs: impl FnMut(&mut Random) -> u64,
) -> Vec<Task> {
    let mut tasks = Vec::new();
    let mut at_us = from_ms * 1000;
    loop {
        at_us += random.exponential(1_000_000.0 / rate(at_us / 1000)).max(1);
        if at_us >= to_ms * 1000 {
            return tasks;
        }
        tasks.push(Task { at_ms: at_us / 1000, runs_ms: runs(random).max(1) });
    }
}

fn steady(length: u64) -> Trace {
    even("20 tasks a second of 1 s each", 20.0, 1000.0, 1, length)
}

/// Poisson arrivals of `rate` a second that take `mean_ms` each.
pub(crate) fn even(about: &'static str, rate: f64, mean_ms: f64, seed: u64, length: u64) -> Trace {
    let mut random = Random::new(seed);
    let tasks = arrivals(&mut random, (0, length), |_| rate, |random| random.exponential(mean_ms));
    trace("steady", about, seed, tasks)
}

fn burst(name: &'static str, about: &'static str, (fewest, most): (u64, u64), length: u64) -> Trace {
    let seed = 2;
    let mut random = Random::new(seed);
    let mut tasks = Vec::new();
    let mut at_ms = random.between(0, MINUTE);
    while at_ms < length {
        for _ in 0..random.between(fewest, most) {
            tasks.push(Task { at_ms, runs_ms: random.exponential(1000.0).max(1) });
        }
        at_ms += random.between(8 * MINUTE, 20 * MINUTE);
    }
    trace(name, about, seed, tasks)
}

#[allow(clippy::cast_precision_loss)] // milliseconds of a day
fn daily(length: u64) -> Trace {
    let seed = 3;
    let mut random = Random::new(seed);
    let rate = |ms: u64| {
        let turn = std::f64::consts::TAU * ms as f64 / length as f64;
        0.05 + 15.0 * (0.5 - 0.5 * turn.cos()).powi(2)
    };
    let tasks = arrivals(&mut random, (0, length), rate, |random| random.exponential(2000.0));
    trace("daily", "from next to nothing to 15 tasks a second of 2 s each and back", seed, tasks)
}

fn spike() -> Trace {
    let seed = 4;
    let mut random = Random::new(seed);
    let mut second = |random: &mut Random| random.exponential(1000.0);
    let mut tasks = arrivals(&mut random, (0, 5 * MINUTE), |_| 1.0, &mut second);
    tasks.extend(arrivals(&mut random, (45 * MINUTE, 45 * MINUTE + 10 * SECOND), |_| 400.0, &mut second));
    trace("spike", "a task a second for 5 min, silence for 40 min, then 4000 tasks of 1 s within 10 s", seed, tasks)
}

fn slow(length: u64) -> Trace {
    let seed = 5;
    let mut random = Random::new(seed);
    let runs = |random: &mut Random| random.between(MINUTE, 5 * MINUTE);
    let tasks = arrivals(&mut random, (0, length), |_| 0.1, runs);
    trace("slow", "6 tasks a minute of 1 to 5 min each", seed, tasks)
}

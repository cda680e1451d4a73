//! The schedule of faults: a pure function of seed and duration.
//!
//! Faults come two seconds apart on average, some of them at once. Kinds are dealt from a deck that holds each at least once,
//! shuffled anew when it is empty, so that a short run has all kinds too. A target that a fault still holds is left alone by
//! others of its sort, but a process may be killed while its link is cut and the store is away.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use crate::draw::Draw;

/// A sort of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `kill -9` of a worker; another takes its place.
    WorkerKill,
    /// A worker stands still for longer than its lease, then wakes and tries to settle.
    WorkerFreeze,
    /// SIGTERM: the worker drains and ends; another takes its place.
    WorkerTerm,
    /// `kill -9` of Redis, which comes back with what it had written.
    RedisKill,
    /// Redis stands still.
    RedisFreeze,
    /// `kill -9` of the API.
    ApiKill,
    /// `kill -9` of a producer.
    ProducerKill,
    /// What a process sends and hears is late.
    Delay,
    /// A process's connections are cut.
    Cut,
    /// One direction of a process's connections is closed.
    HalfClose,
    /// A process's commands are carried out and the replies lost.
    DropReplies,
    /// Nothing passes for a while, and arrives late.
    Stall,
    /// Redis may use no more memory.
    StoreFull,
    /// A process is killed and comes back with a clock that is an hour off.
    ClockOff,
    /// Nothing is claimed for a while, by order.
    Pause,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 15] = [
        Self::WorkerKill,
        Self::WorkerFreeze,
        Self::WorkerTerm,
        Self::RedisKill,
        Self::RedisFreeze,
        Self::ApiKill,
        Self::ProducerKill,
        Self::Delay,
        Self::Cut,
        Self::HalfClose,
        Self::DropReplies,
        Self::Stall,
        Self::StoreFull,
        Self::ClockOff,
        Self::Pause,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WorkerKill => "worker-kill",
            Self::WorkerFreeze => "worker-freeze",
            Self::WorkerTerm => "worker-term",
            Self::RedisKill => "redis-kill",
            Self::RedisFreeze => "redis-freeze",
            Self::ApiKill => "api-kill",
            Self::ProducerKill => "producer-kill",
            Self::Delay => "delay",
            Self::Cut => "cut",
            Self::HalfClose => "half-close",
            Self::DropReplies => "drop-replies",
            Self::Stall => "stall",
            Self::StoreFull => "store-full",
            Self::ClockOff => "clock-off",
            Self::Pause => "pause",
        }
    }

    /// How many cards of a deck are of this kind.
    fn cards(self) -> usize {
        match self {
            Self::WorkerKill | Self::WorkerFreeze | Self::DropReplies => 3,
            Self::Cut | Self::ProducerKill | Self::RedisKill | Self::ApiKill | Self::Stall => 2,
            _ => 1,
        }
    }

    /// How long it lasts, in milliseconds, least and most: a process is down, a link bad, a store full for so long.
    fn lasts(self) -> (u64, u64) {
        match self {
            Self::WorkerKill | Self::RedisKill => (0, 3_500),
            // Longer than the lease of a run, three seconds.
            Self::WorkerFreeze => (4_500, 8_000),
            Self::WorkerTerm | Self::ApiKill | Self::ProducerKill => (0, 1_500),
            Self::RedisFreeze => (300, 4_000),
            Self::Delay => (1_000, 5_000),
            Self::Cut | Self::HalfClose => (0, 0),
            Self::DropReplies => (200, 2_500),
            Self::Stall => (500, 5_000),
            Self::StoreFull => (1_500, 4_000),
            Self::ClockOff => (0, 500),
            Self::Pause => (500, 2_500),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Workers: the program's own, and this harness's.
pub const WORKERS: [&str; 4] = ["program-1", "program-2", "worker-1", "worker-2"];
/// Producers, by HTTP and on the store itself.
pub const PRODUCERS: [&str; 2] = ["http-1", "direct-1"];
/// The API.
pub const API: &str = "api-1";
/// The store.
pub const REDIS: &str = "redis";
/// Those with a proxy before them.
const LINKED: [&str; 7] = ["program-1", "program-2", "worker-1", "worker-2", "http-1", "direct-1", API];

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When it begins, in milliseconds from the start.
    pub at_ms: u64,
    /// What sort.
    pub kind: Kind,
    /// Whom it befalls.
    pub target: &'static str,
    /// How long it lasts, in milliseconds.
    pub ms: u64,
    /// A number that is the kind's own: milliseconds of delay, which direction, which way a clock is off.
    pub extra: u64,
}

impl fmt::Display for Step {
    #[allow(clippy::cast_precision_loss)] // for reading
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at_ms as f64 / 1e3;
        write!(f, "{at:>8.1} s  {:<14} {:<10} {:>5} ms", self.kind, self.target, self.ms)?;
        match self.kind {
            Kind::Delay => write!(f, "  each piece {} ms late", self.extra),
            Kind::HalfClose if self.extra == 0 => f.write_str("  towards the store"),
            Kind::HalfClose => f.write_str("  towards the process"),
            Kind::ClockOff => write!(f, "  an hour {}", if self.extra == 0 { "ahead" } else { "behind" }),
            _ => Ok(()),
        }
    }
}

/// Quiet before the first fault, in milliseconds: some work is under way by then.
const WARM_UP_MS: u64 = 2_000;
/// Quiet after the last fault has begun, in milliseconds, so that it is over by the end.
const COOL_DOWN_MS: u64 = 2_000;
/// Pause between faults, in milliseconds, least and most.
const PAUSE_MS: (u64, u64) = (700, 3_500);
/// The same of faults that come together.
const TOGETHER_MS: (u64, u64) = (0, 150);
/// How many of 100 faults come together with the one before.
const TOGETHER_PERCENT: u64 = 20;
/// How long a target rests once a fault of its sort is over, in milliseconds.
const REST_MS: u64 = 1_000;
/// The same of the store: while it is away, nothing else can be seen.
const STORE_REST_MS: u64 = 4_000;

/// The faults of `seed` for a run of `duration`.
pub fn plan(seed: u64, duration: Duration) -> Vec<Step> {
    let mut draw = Draw::new(seed);
    let end_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).saturating_sub(COOL_DOWN_MS);
    let (mut steps, mut deck, mut busy) = (Vec::new(), Vec::new(), HashMap::new());
    let mut at_ms = WARM_UP_MS;
    while at_ms < end_ms {
        if deck.is_empty() {
            deck = shuffled(&mut draw);
        }
        // The first card whose target is free; the others stay for later.
        let step = (0..deck.len()).rev().find_map(|place| {
            let step = deal(&mut draw, deck[place], at_ms, &busy)?;
            deck.remove(place);
            Some(step)
        });
        if let Some(step) = step {
            let rest = if step.target == REDIS { STORE_REST_MS } else { REST_MS };
            busy.insert((sort(step.kind), step.target), step.at_ms + step.ms + rest);
            steps.push(step);
        }
        let (least, most) = if draw.chance(TOGETHER_PERCENT) { TOGETHER_MS } else { PAUSE_MS };
        at_ms += draw.between(least, most);
    }
    steps
}

/// Which faults exclude each other on one target.
fn sort(kind: Kind) -> &'static str {
    match kind {
        Kind::Delay | Kind::Cut | Kind::HalfClose | Kind::DropReplies | Kind::Stall => "link",
        Kind::Pause => "queue",
        _ => "process",
    }
}

fn shuffled(draw: &mut Draw) -> Vec<Kind> {
    let mut deck: Vec<Kind> = Kind::ALL.into_iter().flat_map(|kind| std::iter::repeat_n(kind, kind.cards())).collect();
    for place in (1..deck.len()).rev() {
        let other = usize::try_from(draw.between(0, place as u64)).unwrap_or(place);
        deck.swap(place, other);
    }
    deck
}

fn deal(draw: &mut Draw, kind: Kind, at_ms: u64, busy: &HashMap<(&str, &str), u64>) -> Option<Step> {
    let everyone: Vec<&'static str> = WORKERS.into_iter().chain(PRODUCERS).chain([API]).collect();
    let targets: &[&'static str] = match kind {
        Kind::WorkerKill | Kind::WorkerFreeze | Kind::WorkerTerm => &WORKERS,
        Kind::ProducerKill => &PRODUCERS,
        Kind::ApiKill => &[API],
        Kind::RedisKill | Kind::RedisFreeze | Kind::StoreFull => &[REDIS],
        Kind::Pause => &["queues"],
        Kind::ClockOff => &everyone,
        Kind::Delay | Kind::Cut | Kind::HalfClose | Kind::DropReplies | Kind::Stall => &LINKED,
    };
    let free: Vec<&'static str> = targets
        .iter()
        .copied()
        .filter(|target| busy.get(&(sort(kind), *target)).is_none_or(|until| *until <= at_ms))
        .collect();
    let target = draw.pick(&free)?;
    let (least, most) = kind.lasts();
    let ms = draw.between(least, most);
    let extra = if kind == Kind::Delay { draw.between(50, 900) } else { draw.between(0, 1) };
    Some(Step { at_ms, kind, target, ms, extra })
}

/// How many of each kind.
pub fn by_kind(steps: impl IntoIterator<Item = Kind>) -> BTreeMap<Kind, usize> {
    let mut counts = BTreeMap::new();
    for kind in steps {
        *counts.entry(kind).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_plan() {
        let ten = Duration::from_mins(10);
        assert_eq!(plan(1, ten), plan(1, ten));
        assert_ne!(plan(1, ten), plan(2, ten));
    }

    #[test]
    fn ten_minutes_have_over_two_hundred_faults_of_every_kind() {
        for seed in 1..20 {
            let steps = plan(seed, Duration::from_mins(10));
            assert!(steps.len() >= 200, "seed {seed}: {}", steps.len());
            assert_eq!(by_kind(steps.iter().map(|step| step.kind)).len(), Kind::ALL.len(), "seed {seed}");
        }
    }

    #[test]
    fn a_minute_has_faults_of_at_least_eight_kinds() {
        for seed in 1..20 {
            let steps = plan(seed, Duration::from_mins(1));
            assert!(by_kind(steps.iter().map(|step| step.kind)).len() >= 8, "seed {seed}");
        }
    }

    #[test]
    fn no_process_is_killed_while_it_is_down() {
        for seed in 1..20 {
            let mut down: HashMap<&str, u64> = HashMap::new();
            for step in plan(seed, Duration::from_mins(10)).iter().filter(|step| sort(step.kind) == "process") {
                assert!(down.get(step.target).is_none_or(|until| *until <= step.at_ms), "seed {seed}: {step}");
                down.insert(step.target, step.at_ms + step.ms);
            }
        }
    }
}

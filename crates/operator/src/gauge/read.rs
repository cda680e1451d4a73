//! The loop of a gauge.

use std::sync::Arc;
use std::time::Duration;

use tidemill_broker::{Access, Broker, BrokerError, Subscription};
use tidemill_core::{QueueStats, WorkerView};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::settle::settle;
use super::{Busy, Key, Pause, Reading, Seen, Shared, Target};
use crate::scale::{Memory, Mode, Sample, decide};

/// How often a queue is read that has work.
const BUSY_EVERY: Duration = Duration::from_secs(1);
/// How often a queue is read that has none. It is watched besides, so that this only makes up for what a watch missed; of
/// many hundred idle queues it is all that the operator's share of a core goes to.
const IDLE_EVERY: Duration = Duration::from_secs(10);
/// How often a queue without work is maintained: only its history ages.
const MAINTAIN_IDLE_EVERY: Duration = Duration::from_secs(10);
/// How often a broker that is away, or a queue that is somebody else's, is asked again.
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// How often a conflict is looked at again.
const CONFLICT_EVERY: Duration = Duration::from_secs(10);
/// How often owner and settings are made sure of: a store may have been restored from older data.
const SETTLE_EVERY: Duration = Duration::from_secs(30);
/// How long a broker is asked that is being left.
const LEAVE_MAX: Duration = Duration::from_secs(3);
/// Longest pause between two requests for the same change, which something keeps from being applied.
const REPEAT_MAX: Duration = Duration::from_secs(30);
/// Shortest pause between two reads, however many events come.
const GAP: Duration = Duration::from_millis(50);
/// How often changed figures alone ask for a reconciliation, which shows them in the status.
const FIGURES_EVERY: Duration = Duration::from_secs(5);
/// Most rounds of maintenance at a time; what is left comes next time.
const MAINTAIN_ROUNDS: usize = 20;

/// Runs until `stop`.
pub(super) async fn run(
    shared: Arc<Shared>,
    key: Key,
    mut targets: watch::Receiver<Target>,
    readings: watch::Sender<Reading>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let access = targets.borrow_and_update().access.clone();
        let broker = match shared.brokers.take(&access) {
            Ok(broker) => broker,
            Err(error) => {
                readings.send_replace(Reading::Unfit(error.to_string()));
                tell(&shared, &key, &stop).await;
                tokio::select! {
                    changed = targets.changed() => if changed.is_err() { return },
                    () = sleep(CONFLICT_EVERY) => {}
                    () = stop.cancelled() => {}
                }
                continue;
            }
        };
        let mut gauge = Loop {
            shared: &shared,
            key: &key,
            broker: &*broker,
            readings: &readings,
            stop: &stop,
            memory: Memory::default(),
            settled: None,
            maintained: None,
            watching: None,
            told: None,
        };
        let followed = gauge.follow(&mut targets, &access).await;
        let left = targets.borrow().access.url != access.url || targets.borrow().queue != followed.queue;
        if left && !stop.is_cancelled() {
            leave(&*broker, &followed).await;
        }
        shared.brokers.release(&access).await;
    }
}

/// Takes the record of the owner off a broker that the TaskQueue leaves, so that another may serve the queue there.
async fn leave(broker: &dyn Broker, target: &Target) {
    match timeout(LEAVE_MAX, broker.disown(&target.queue, &target.owner)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            tracing::warn!(queue = target.queue.as_str(), %error, "the broker that was left still names an owner");
        }
        Err(_) => {
            tracing::warn!(queue = target.queue.as_str(), "the broker that was left still names an owner: no answer");
        }
    }
}

async fn tell(shared: &Shared, key: &Key, stop: &CancellationToken) {
    tokio::select! {
        sent = shared.changed.send(key.clone()) => if sent.is_err() { tracing::debug!("nobody reconciles any more") },
        () = stop.cancelled() => {}
    }
}

struct Loop<'a> {
    shared: &'a Shared,
    key: &'a Key,
    broker: &'a dyn Broker,
    readings: &'a watch::Sender<Reading>,
    stop: &'a CancellationToken,
    memory: Memory,
    settled: Option<(Instant, Target)>,
    maintained: Option<Instant>,
    watching: Option<Subscription>,
    told: Option<Told>,
}

/// What the last request for a reconciliation was about.
struct Told {
    kind: std::mem::Discriminant<Reading>,
    words: String,
    replicas: Option<u32>,
    figures: Option<[u64; 7]>,
    at: Instant,
    /// How long to wait before the same change is asked for again.
    repeat: Duration,
}

impl Loop<'_> {
    /// Follows the target until it names another broker or queue. The last one followed.
    async fn follow(&mut self, targets: &mut watch::Receiver<Target>, access: &Access) -> Target {
        let first = targets.borrow().clone();
        loop {
            let target = targets.borrow_and_update().clone();
            if target.access != *access || target.queue != first.queue || self.stop.is_cancelled() {
                return first;
            }
            let stop = self.stop;
            let Some(looked) = stop.run_until_cancelled(self.look(&target)).await else { return first };
            let again = self.publish(looked, &target).await;
            let again = Instant::now() + again.max(GAP);
            tokio::select! {
                changed = targets.changed() => if changed.is_err() { return first },
                () = watched(&mut self.watching) => sleep(GAP).await,
                () = sleep_until(again) => {}
                () = self.stop.cancelled() => return first,
            }
        }
    }

    async fn look(&mut self, target: &Target) -> Result<Reading, BrokerError> {
        if let Some(conflict) = self.settle(target).await? {
            return Ok(conflict);
        }
        let (mut stats, mut workers) = self.read(target).await?;
        if self.watch(target, &stats).await? {
            // What came before the watch began is not told of.
            (stats, workers) = self.read(target).await?;
        }
        if self.maintain(target, &stats).await? {
            (stats, workers) = self.read(target).await?;
        }
        let sample = sample(target, &stats, &workers, self.shared.now());
        let memory = std::mem::take(&mut self.memory);
        let (decision, memory) = decide(&target.policy, memory, Some(&sample), self.shared.now());
        self.memory = memory;
        let held = target.pause == Pause::Hold && stats.paused;
        let busy = workers.into_iter().map(|worker| (worker.info.name, worker.active)).collect();
        Ok(Reading::Live(Seen { stats, busy, decision, held }))
    }

    async fn settle(&mut self, target: &Target) -> Result<Option<Reading>, BrokerError> {
        let needed = self.settled.as_ref().is_none_or(|(at, was)| {
            at.elapsed() > SETTLE_EVERY
                || (&was.spec, was.pause, &was.owner) != (&target.spec, target.pause, &target.owner)
        });
        if !needed {
            return Ok(None);
        }
        self.settled = None;
        match settle(self.broker, target, &self.shared.is_gone).await? {
            Ok(()) => {
                self.settled = Some((Instant::now(), target.clone()));
                Ok(None)
            }
            Err(other) => Ok(Some(Reading::Conflict(other))),
        }
    }

    /// Watches the queue's events while nothing happens in it. Once something does, polling is enough, and costs the
    /// broker less than telling of each task. Whether the watch began just now.
    async fn watch(&mut self, target: &Target, stats: &QueueStats) -> Result<bool, BrokerError> {
        if !is_quiet(stats) || target.policy.mode != Mode::Auto {
            self.watching = None;
        } else if self.watching.is_none() {
            self.watching = Some(self.broker.subscribe(&target.queue).await?);
            return Ok(true);
        }
        Ok(false)
    }

    async fn read(&self, target: &Target) -> Result<(QueueStats, Vec<WorkerView>), BrokerError> {
        let stats = self.broker.stats(&target.queue).await?;
        let workers = if stats.active > 0 { self.broker.workers(&target.queue).await? } else { Vec::new() };
        Ok((stats, workers))
    }

    /// Whether anything was moved by it.
    async fn maintain(&mut self, target: &Target, stats: &QueueStats) -> Result<bool, BrokerError> {
        let due = stats.next_due_ms.is_some_and(|left| left == 0);
        let every = if is_quiet(stats) { MAINTAIN_IDLE_EVERY } else { BUSY_EVERY };
        let slack = GAP * 2;
        if !due && self.maintained.is_some_and(|at| at.elapsed() + slack < every) {
            return Ok(false);
        }
        let mut moved = false;
        for _ in 0..MAINTAIN_ROUNDS {
            let done = self.broker.maintain(&target.queue).await?;
            moved |= done.promoted > 0 || !done.lost.is_empty();
            if !done.more {
                break;
            }
        }
        self.maintained = Some(Instant::now());
        Ok(moved)
    }

    /// Shows what was seen, asks for a reconciliation where it matters, and says when to look again.
    async fn publish(&mut self, looked: Result<Reading, BrokerError>, target: &Target) -> Duration {
        let reading = match looked {
            Ok(reading) => reading,
            Err(error) => self.failed(&error, target),
        };
        let again = match &reading {
            Reading::Live(seen) => {
                let every = if is_quiet(&seen.stats) { IDLE_EVERY } else { BUSY_EVERY };
                let due = seen.stats.next_due_ms.map(Duration::from_millis);
                let wanted = seen.decision.look_again;
                [Some(every), due, wanted].into_iter().flatten().min().unwrap_or(every)
            }
            Reading::Conflict(_) => CONFLICT_EVERY,
            Reading::Waiting | Reading::Unfit(_) | Reading::Unreachable { .. } => RETRY_EVERY,
        };
        let matters = self.matters(&reading, target);
        self.readings.send_replace(reading);
        if matters {
            tell(self.shared, self.key, self.stop).await;
        }
        again
    }

    fn failed(&mut self, error: &BrokerError, target: &Target) -> Reading {
        self.settled = None;
        self.watching = None;
        if let BrokerError::Unfit(reason) = error {
            return Reading::Unfit(reason.clone());
        }
        let memory = std::mem::take(&mut self.memory);
        let memory = target.replicas.into_iter().fold(memory, Memory::adopt);
        let (decision, memory) = decide(&target.policy, memory, None, self.shared.now());
        self.memory = memory;
        let last = match &*self.readings.borrow() {
            Reading::Live(seen) | Reading::Unreachable { last: Some(seen), .. } => {
                Some(Seen { decision, busy: Busy::new(), ..seen.clone() })
            }
            _ => None,
        };
        Reading::Unreachable { error: error.to_string(), last }
    }

    fn matters(&mut self, reading: &Reading, target: &Target) -> bool {
        let told = Told::of(reading);
        let Some(before) = &self.told else {
            self.told = Some(told);
            return true;
        };
        let unmet = told.replicas.is_some() && told.replicas != target.replicas;
        let urgent =
            before.kind != told.kind || before.words != told.words || (unmet && told.replicas != before.replicas);
        let again = unmet && before.at.elapsed() >= before.repeat;
        let stale = before.figures != told.figures && before.at.elapsed() >= FIGURES_EVERY;
        if urgent || again || stale {
            let repeat = if again { (before.repeat * 2).min(REPEAT_MAX) } else { BUSY_EVERY };
            self.told = Some(Told { repeat, ..told });
        }
        urgent || again || stale
    }
}

impl Told {
    fn of(reading: &Reading) -> Self {
        let (words, seen) = match reading {
            Reading::Waiting => (String::new(), None),
            Reading::Conflict(other) => (format!("{other:?}"), None),
            Reading::Unfit(reason) => (reason.clone(), None),
            // The words of an outage may differ each time; that there is one is what matters.
            Reading::Unreachable { last, .. } => (String::new(), last.as_ref()),
            Reading::Live(seen) => (seen.stats.paused.to_string(), Some(seen)),
        };
        let figures = seen.map(|Seen { stats, .. }| {
            [
                stats.pending,
                stats.active,
                stats.delayed,
                stats.retrying,
                stats.dead,
                stats.oldest_pending_ms.unwrap_or(0) / 1_000,
                u64::from(stats.workers),
            ]
        });
        let replicas = match reading {
            Reading::Live(seen) => Some(seen.decision.replicas),
            _ => None,
        };
        Self { kind: std::mem::discriminant(reading), words, replicas, figures, at: Instant::now(), repeat: BUSY_EVERY }
    }
}

/// Nothing waits and nothing runs.
fn is_quiet(stats: &QueueStats) -> bool {
    stats.pending + stats.active == 0
}

/// Waits for an event of a queue that is watched.
async fn watched(watching: &mut Option<Subscription>) {
    match watching {
        Some(subscription) => {
            if subscription.next().await.is_none() {
                *watching = None;
            }
        }
        None => std::future::pending().await,
    }
}

fn sample(target: &Target, stats: &QueueStats, workers: &[WorkerView], at: Duration) -> Sample {
    // What a worker has claimed ahead waits for a slot like any other task.
    let ahead: u64 = workers.iter().map(|worker| u64::from(worker.active.saturating_sub(worker.info.slots))).sum();
    Sample {
        at,
        replicas: target.replicas.unwrap_or(0),
        ready: target.ready,
        paused: stats.paused,
        pending: stats.pending + ahead,
        delayed: stats.delayed,
        active: stats.active.saturating_sub(ahead),
        retrying: stats.retrying,
        oldest_pending: stats.oldest_pending_ms.map(Duration::from_millis),
        next_due: stats.next_due_ms.map(Duration::from_millis),
        running: Duration::from_millis(workers.iter().map(|worker| worker.running_ms).sum()),
        counters: stats.counters,
    }
}

//! The rules that are compared. KEDA and the HPA do what their documentation says, with their defaults.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::scale::{Memory, Mode, Policy, Sample, decide};
use super::traces::Trace;
use super::world::View;

/// A way to choose the number of pods.
pub(crate) trait Rule {
    #[allow(dead_code)] // printed by the example, not by the tests
    fn name(&self) -> &'static str;

    /// How many pods there are at first.
    fn begins_with(&self) -> u32;

    /// When it looks next, later than `now_ms`.
    fn looks_next(&self, now_ms: u64) -> u64;

    /// How soon it looks when a task comes and there are no pods; `None`: not for that.
    fn wakes_after(&self) -> Option<u64> {
        None
    }

    /// Whether pods with the fewest tasks go first. Otherwise the youngest do, as a `ReplicaSet` has it.
    fn takes_idle_first(&self) -> bool {
        false
    }

    /// How many pods there should be.
    fn look(&mut self, view: &View) -> u32;
}

/// Makes a rule for a trace.
pub(crate) type NewRule = fn(&Trace) -> Box<dyn Rule>;

/// Every rule. An HPA keeps a pod at all times, so ours is shown with `minReplicas: 1` as well.
pub(crate) const RULES: [NewRule; 4] = [
    |trace| Box::new(Tidemill::new("Tidemill", trace, 0)),
    |trace| Box::new(Keda::new(trace)),
    |trace| Box::new(Tidemill::new("Tidemill 1+", trace, 1)),
    |trace| Box::new(PlainHpa(Hpa::new(trace))),
];

/// Ours, with the defaults of a `TaskQueue`.
struct Tidemill {
    #[allow(dead_code)] // as above
    name: &'static str,
    policy: Policy,
    memory: Memory,
}

impl Tidemill {
    fn new(name: &'static str, trace: &Trace, min_replicas: u32) -> Self {
        let policy = Policy {
            mode: Mode::Auto,
            min_replicas,
            max_replicas: trace.max_replicas,
            target_wait: Duration::from_secs(10),
            backlog_per_slot: None,
            stabilization: Duration::from_mins(1),
            max_step: None,
            slots_per_pod: trace.slots_per_pod,
        };
        Self { name, policy, memory: Memory::new(min_replicas) }
    }
}

impl Rule for Tidemill {
    fn name(&self) -> &'static str {
        self.name
    }

    fn begins_with(&self) -> u32 {
        self.policy.min_replicas
    }

    /// The operator reads a queue that has work or pods that often.
    fn looks_next(&self, now_ms: u64) -> u64 {
        now_ms + 1_000
    }

    /// The broker wakes the operator in milliseconds; this leaves it some for the read.
    fn wakes_after(&self) -> Option<u64> {
        Some(300)
    }

    fn takes_idle_first(&self) -> bool {
        true
    }

    fn look(&mut self, view: &View) -> u32 {
        let sample = Sample {
            at: Duration::from_millis(view.now_ms),
            replicas: view.replicas,
            ready: view.ready,
            pending: view.pending,
            active: view.active,
            oldest_pending: view.oldest_ms.map(Duration::from_millis),
            running: Duration::from_millis(view.running_ms),
            counters: view.counters,
            ..Sample::default()
        };
        let (decision, memory) = decide(&self.policy, std::mem::take(&mut self.memory), Some(&sample), sample.at);
        self.memory = memory;
        decision.replicas
    }
}

/// KEDA with a list scaler: it turns 0 into 1 and back by itself, and leaves the rest to an HPA that it makes.
struct Keda {
    hpa: Hpa,
    last_active_ms: u64,
}

impl Keda {
    /// `pollingInterval`, by default.
    const POLL_MS: u64 = 30_000;
    /// `cooldownPeriod`, by default: that long after the list was last seen with something in it, none are left.
    const COOLDOWN_MS: u64 = 300_000;

    fn new(trace: &Trace) -> Self {
        Self { hpa: Hpa::new(trace), last_active_ms: 0 }
    }
}

impl Rule for Keda {
    fn name(&self) -> &'static str {
        "KEDA"
    }

    fn begins_with(&self) -> u32 {
        0
    }

    fn looks_next(&self, now_ms: u64) -> u64 {
        let poll = (now_ms / Self::POLL_MS + 1) * Self::POLL_MS;
        poll.min(Hpa::syncs_next(now_ms))
    }

    fn look(&mut self, view: &View) -> u32 {
        if !view.now_ms.is_multiple_of(Self::POLL_MS) {
            // An HPA leaves a Deployment at zero alone.
            return if view.replicas == 0 { 0 } else { self.hpa.sync(view) };
        }
        if view.pending > 0 {
            self.last_active_ms = view.now_ms;
            return view.replicas.max(1);
        }
        if view.now_ms - self.last_active_ms >= Self::COOLDOWN_MS { 0 } else { view.replicas }
    }
}

/// An HPA by itself, on the same metric. It cannot go below 1.
struct PlainHpa(Hpa);

impl Rule for PlainHpa {
    fn name(&self) -> &'static str {
        "HPA"
    }

    fn begins_with(&self) -> u32 {
        1
    }

    fn looks_next(&self, now_ms: u64) -> u64 {
        Hpa::syncs_next(now_ms)
    }

    fn look(&mut self, view: &View) -> u32 {
        self.0.sync(view)
    }
}

/// A `HorizontalPodAutoscaler` on an external metric with an average value: the length of the list ÷ 5, KEDA's default
/// `listLength`, with the default behaviour of `autoscaling/v2`.
struct Hpa {
    max: u32,
    recommended: VecDeque<(u64, u32)>,
    added: VecDeque<(u64, u32)>,
}

impl Hpa {
    const LENGTH_PER_POD: u64 = 5;
    const SYNC_MS: u64 = 15_000;
    /// Its turn is half a period off KEDA's polls, the mean of what two independent loops do.
    const PHASE_MS: u64 = 7_500;
    const STABILIZATION_MS: u64 = 300_000;
    const POLICY_PERIOD_MS: u64 = 15_000;
    const POLICY_PODS: u32 = 4;

    fn new(trace: &Trace) -> Self {
        Self { max: trace.max_replicas, recommended: VecDeque::new(), added: VecDeque::new() }
    }

    fn syncs_next(now_ms: u64) -> u64 {
        (now_ms + Self::SYNC_MS - Self::PHASE_MS) / Self::SYNC_MS * Self::SYNC_MS + Self::PHASE_MS
    }

    fn sync(&mut self, view: &View) -> u32 {
        let current = view.replicas;
        let desired = self.desired(view.pending, current);
        if self.recommended.is_empty() {
            self.recommended.push_back((view.now_ms, current));
        }
        self.recommended.push_back((view.now_ms, desired));
        self.recommended.retain(|(at_ms, _)| view.now_ms - at_ms <= Self::STABILIZATION_MS);
        let highest = self.recommended.iter().map(|(_, pods)| *pods).max().unwrap_or(desired);
        if desired <= current {
            return highest.min(current);
        }
        self.added.retain(|(at_ms, _)| view.now_ms - at_ms < Self::POLICY_PERIOD_MS);
        let before = current - self.added.iter().map(|(_, pods)| *pods).sum::<u32>().min(current);
        let allowed = (before + Self::POLICY_PODS).max(before * 2).max(current);
        let next = desired.min(allowed);
        self.added.push_back((view.now_ms, next - current));
        next
    }

    /// Length ÷ 5 rounded up, within the bounds; as it is when within a tenth of what the pods are for.
    fn desired(&self, length: u64, current: u32) -> u32 {
        let right = Self::LENGTH_PER_POD * u64::from(current);
        if length.abs_diff(right) * 10 <= right {
            return current;
        }
        u32::try_from(length.div_ceil(Self::LENGTH_PER_POD)).unwrap_or(u32::MAX).clamp(1, self.max)
    }
}

//! The rule: from what is known of a queue to slots and pods.
//!
//! slots = max(rate × service, running × share) + waiting × share, where share = service ÷ target wait, at most 1.
//!
//! - *rate × service* keeps up with what arrives; *waiting × share* works the backlog off within the target wait.
//! - *A task fills one slot.* Where a task takes longer than the target wait, share would exceed 1 and ask for slots
//!   that no task could fill.
//! - *Running tasks* that outlast the target wait keep their slots from those that wait; where they are short, share is
//!   small and the slots are soon free. Under a steady load they are the same tasks as rate × service, hence the max.
//! - *No more slots than tasks*: those that are there and those that arrive within the target wait. A rate that a
//!   single burst left behind is no reason to keep slots for tasks that nobody sent.

use std::time::Duration;

use super::decision::Reason;
use super::learn::News;
use super::memory::Memory;
use super::millis;
use super::policy::Policy;
use super::sample::Sample;

/// From how many ended attempts on the service time is trusted.
pub const MEASURED_ENOUGH: u64 = 20;

/// How long a task is taken to run before [`MEASURED_ENOUGH`] have ended, where the spec does not say `backlogPerSlot`.
/// A task may take a millisecond or an hour; a second is about the geometric mean, and a wrong guess costs little:
/// short tasks are measured as soon as the first pod runs, and the ages of long ones raise the estimate as they run.
pub const ASSUMED_SERVICE: Duration = Duration::from_secs(1);

/// How long before a task is due a pod is made ready for it. A pod takes seconds to start, or tens of them where its
/// image must be pulled; a pod that is up stays for this and the stabilization window.
pub const DUE_SOON: Duration = Duration::from_secs(30);

/// A pod too many goes only when what remains would have this many thousandths of the demand: without the tenth to
/// spare, a steady load near a pod's limit would add and remove that pod by turns.
const ROOM_MILLI: u128 = 1100;

/// What the work asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Demand {
    /// Slots, in thousandths.
    pub(super) slots_milli: u64,
    /// Pods.
    pub(super) pods: u32,
    /// Pods with a tenth to spare: down to so many it may go.
    pub(super) roomy_pods: u32,
    pub(super) reason: Reason,
}

impl Demand {
    fn none(pods: u32, reason: Reason) -> Self {
        Self { slots_milli: 0, pods, roomy_pods: pods, reason }
    }
}

/// What the work of `sample` asks for.
pub(super) fn demand(policy: &Policy, memory: &Memory, sample: &Sample, news: News) -> Demand {
    let per_pod = u128::from(policy.slots_per_pod.max(1));
    let in_flight = clamp(u128::from(sample.active).div_ceil(per_pod));
    if sample.paused {
        let slots_milli = millis::plain(u128::from(sample.active) * 1000);
        return Demand { slots_milli, ..Demand::none(in_flight, Reason::Paused) };
    }
    if sample.pending == 0 && sample.active == 0 && news.arrived == 0 {
        return match sample.next_due {
            Some(due) if due <= DUE_SOON => Demand::none(1, Reason::DueSoon),
            _ => Demand::none(0, Reason::Idle),
        };
    }
    let parts = Parts::of(policy, memory, sample);
    let slots = parts.slots();
    let pods_for = |slots_milli: u128| clamp(slots_milli.div_ceil(per_pod * 1000)).max(in_flight).max(1);
    Demand {
        slots_milli: millis::plain(slots),
        pods: pods_for(slots),
        roomy_pods: pods_for(slots.saturating_mul(ROOM_MILLI) / 1000),
        reason: parts.reason(),
    }
}

/// The terms of the rule, in thousandths of a slot.
struct Parts {
    arriving: u128,
    running: u128,
    waiting: u128,
    most: u128,
    measured: bool,
}

impl Parts {
    fn of(policy: &Policy, memory: &Memory, sample: &Sample) -> Self {
        let wait = policy.target_wait.as_micros().max(1);
        let seen = memory.service_micros(sample).map_or(0, u128::from);
        let measured = memory.measured >= MEASURED_ENOUGH;
        let guess = if measured { 0 } else { assumed_micros(policy, wait) };
        let rate = u128::from(memory.arrivals_micro);
        let (active, pending) = (u128::from(sample.active), u128::from(sample.pending));
        let share = |tasks: u128, service: u128| tasks.saturating_mul(service.min(wait)).saturating_mul(1000) / wait;
        Self {
            arriving: rate.saturating_mul(seen) / 1_000_000_000,
            running: share(active, seen),
            waiting: share(pending, seen.max(guess)),
            most: (active + pending).saturating_mul(1000).saturating_add(rate.saturating_mul(wait) / 1_000_000_000),
            measured,
        }
    }

    fn slots(&self) -> u128 {
        self.arriving.max(self.running).saturating_add(self.waiting).min(self.most)
    }

    fn reason(&self) -> Reason {
        match self.waiting > self.arriving.max(self.running) {
            true if self.measured => Reason::Burst,
            true => Reason::Backlog,
            false if self.running > self.arriving => Reason::InFlight,
            false => Reason::Work,
        }
    }
}

/// How long a task is taken to run while that is not known: so long that `backlogPerSlot` of them fill the target wait.
fn assumed_micros(policy: &Policy, wait: u128) -> u128 {
    match policy.backlog_per_slot {
        Some(tasks) => wait / u128::from(tasks.max(1)),
        None => ASSUMED_SERVICE.as_micros(),
    }
}

fn clamp(pods: u128) -> u32 {
    u32::try_from(pods).unwrap_or(u32::MAX)
}

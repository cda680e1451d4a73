//! From a demand to a decision: stabilization and limits.

use std::time::Duration;

use super::decision::{Decision, Inputs, Limit, Reason};
use super::demand::{DUE_SOON, Demand, demand};
use super::memory::Memory;
use super::millis;
use super::policy::{Mode, Policy};
use super::sample::Sample;

/// How many pods a queue should have at `at`, given what `memory` holds and what was seen; `None` says that nothing
/// could be seen, and keeps what is. Also answers the memory for the next time.
///
/// Without a sample the number in force is the one of the last decision or sample; see [`Memory::adopt`] where the
/// Deployment may have changed since, or the operator has just started.
pub fn decide(policy: &Policy, mut memory: Memory, sample: Option<&Sample>, at: Duration) -> (Decision, Memory) {
    let at_ms = millis::of(at);
    if at_ms < memory.at_ms {
        memory.begin_anew(at_ms);
    }
    memory.at_ms = at_ms;
    let decision = match (policy.mode, sample) {
        (Mode::Manual { replicas }, sample) => manual(policy, &mut memory, sample, replicas),
        (Mode::Auto, None) => hold(policy, &mut memory),
        (Mode::Auto, Some(sample)) => auto(policy, &mut memory, sample),
    };
    memory.replicas = Some(decision.replicas);
    (decision, memory)
}

fn manual(policy: &Policy, memory: &mut Memory, sample: Option<&Sample>, replicas: u32) -> Decision {
    if let Some(sample) = sample {
        memory.learn(sample);
    }
    // What was set by hand counts as a recommendation, so that a return to Auto does not shrink at once.
    memory.window.restart(memory.at_ms, replicas);
    Decision {
        replicas,
        wanted: replicas,
        reason: Reason::Manual,
        limited_by: None,
        inputs: inputs(policy, memory, sample, 0),
        look_again: None,
    }
}

/// Without data the number of pods stays as it is, and that counts as a recommendation: when data come again, fewer
/// pods must have been enough for a whole window of it.
fn hold(policy: &Policy, memory: &mut Memory) -> Decision {
    let wanted = memory.replicas.unwrap_or(policy.min_replicas);
    let replicas = policy.bounded(wanted);
    memory.window.push(memory.at_ms, replicas, millis::of(policy.stabilization));
    let inputs = Inputs { replicas: wanted, ..inputs(policy, memory, None, 0) };
    let limited_by = bound(policy, wanted);
    Decision { replicas, wanted, reason: Reason::NoData, limited_by, inputs, look_again: None }
}

fn auto(policy: &Policy, memory: &mut Memory, sample: &Sample) -> Decision {
    let length_ms = millis::of(policy.stabilization);
    // The last answer counts as well: someone may have changed the Deployment behind its back, or it is not known yet.
    let current = sample.replicas.max(memory.replicas.unwrap_or(0));
    if memory.last.is_none() {
        memory.window.push(memory.at_ms, current, length_ms);
    }
    let news = memory.learn(sample);
    let Demand { slots_milli, pods: wanted, roomy_pods, mut reason } = demand(policy, memory, sample, news);
    memory.window.push(memory.at_ms, roomy_pods, length_ms);

    let (aim, step) = if wanted >= current { upwards(policy, sample, wanted) } else { (wanted, None) };
    let aim = if wanted < current { memory.window.highest().max(wanted).min(current) } else { aim };
    let replicas = policy.bounded(aim);
    let mut look_again = None;
    if aim > wanted && replicas > policy.bounded(wanted) {
        reason = Reason::Stabilizing;
        let free_ms = memory.window.lets_go_of(current, length_ms);
        look_again = free_ms.map(|free_ms| Duration::from_millis(free_ms.saturating_sub(memory.at_ms)));
    }
    if !sample.paused {
        look_again = earlier(look_again, sample.next_due.and_then(|due| due.checked_sub(DUE_SOON)));
    }
    Decision {
        replicas,
        wanted,
        reason,
        limited_by: step.filter(|_| replicas < policy.bounded(wanted)).or_else(|| bound(policy, aim)),
        inputs: inputs(policy, memory, Some(sample), slots_milli),
        look_again,
    }
}

/// Up goes straight to what is wanted, or as far as `max_step` lets pods start at a time.
fn upwards(policy: &Policy, sample: &Sample, wanted: u32) -> (u32, Option<Limit>) {
    let Some(step) = policy.max_step else {
        return (wanted, None);
    };
    let most = sample.ready.saturating_add(step.max(1)).max(sample.replicas);
    if wanted > most { (most, Some(Limit::MaxStep)) } else { (wanted, None) }
}

/// The bound that makes `aim` another number.
fn bound(policy: &Policy, aim: u32) -> Option<Limit> {
    match policy.bounded(aim) {
        bounded if bounded > aim => Some(Limit::MinReplicas),
        bounded if bounded < aim => Some(Limit::MaxReplicas),
        _ => None,
    }
}

fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    [one, other].into_iter().flatten().min()
}

fn inputs(policy: &Policy, memory: &Memory, sample: Option<&Sample>, slots_milli: u64) -> Inputs {
    let service = memory.service_micros(sample.unwrap_or(&Sample::default()));
    let known = Inputs {
        arrivals_per_second_milli: millis::plain(u128::from(memory.arrivals_micro / 1000)),
        service_ms: service.map(|micros| millis::plain(u128::from(micros.saturating_add(500) / 1000))),
        measured: millis::plain(u128::from(memory.measured)),
        demand_slots_milli: slots_milli,
        slots_per_pod: policy.slots_per_pod,
        window_replicas: memory.window.highest(),
        ..Inputs::default()
    };
    let Some(sample) = sample else { return known };
    Inputs {
        replicas: sample.replicas,
        ready: sample.ready,
        pending: millis::plain(u128::from(sample.pending)),
        active: millis::plain(u128::from(sample.active)),
        later: millis::plain(u128::from(sample.delayed) + u128::from(sample.retrying)),
        oldest_pending_ms: sample.oldest_pending.map(|age| millis::plain(age.as_millis())),
        next_due_ms: sample.next_due.map(|due| millis::plain(due.as_millis())),
        ..known
    }
}

impl Memory {
    /// The clock began anew, so the memory is another operator's: what it knows of the work stays, its times go.
    fn begin_anew(&mut self, at_ms: u64) {
        let highest = self.window.highest();
        self.window.restart(at_ms, highest);
        self.last = None;
    }
}

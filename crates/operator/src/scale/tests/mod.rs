//! Tests of the rule as a whole: by example, by property, and by replaying traces.

use std::time::Duration;

use tidemill_core::Counters;

use super::{Decision, Memory, Mode, Policy, Sample, decide};

mod examples;
mod forms;
mod properties;
mod replay;

/// The defaults of a `TaskQueue`, with bounds that are out of the way.
fn policy() -> Policy {
    Policy {
        mode: Mode::Auto,
        min_replicas: 0,
        max_replicas: 1000,
        target_wait: Duration::from_secs(10),
        backlog_per_slot: None,
        stabilization: Duration::from_mins(1),
        max_step: None,
        slots_per_pod: 10,
    }
}

/// A look at an empty queue.
fn sample(at_ms: u64) -> Sample {
    Sample { at: Duration::from_millis(at_ms), ..Sample::default() }
}

/// Counters of `ended` tasks that ran for `each_ms`.
fn counters(ended: u64, each_ms: u64) -> Counters {
    Counters { enqueued: ended, started: ended, succeeded: ended, ran_ms: ended * each_ms, ..Counters::default() }
}

/// A queue that is looked at again and again, and whose Deployment follows at once.
struct Queue {
    policy: Policy,
    memory: Memory,
    replicas: u32,
}

impl Queue {
    fn new(policy: Policy, replicas: u32) -> Self {
        Self { policy, memory: Memory::new(replicas), replicas }
    }

    fn look(&mut self, mut sample: Sample) -> Decision {
        sample.replicas = self.replicas;
        self.decide(Some(&sample), sample.at)
    }

    fn look_in_vain(&mut self, at_ms: u64) -> Decision {
        self.decide(None, Duration::from_millis(at_ms))
    }

    fn decide(&mut self, sample: Option<&Sample>, at: Duration) -> Decision {
        let (decision, memory) = decide(&self.policy, std::mem::take(&mut self.memory), sample, at);
        self.memory = memory;
        self.replicas = decision.replicas;
        decision
    }
}

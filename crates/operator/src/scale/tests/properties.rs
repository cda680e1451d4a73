//! What holds whatever comes.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;

use super::super::Reason;
use super::*;

/// Any number, small ones and the largest more often.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..200_u64, 2 => 0..100_000_u64, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn any_duration() -> impl Strategy<Value = Duration> {
    prop_oneof![4 => (0..120_000_u64).prop_map(Duration::from_millis), 1 => Just(Duration::MAX)]
}

fn any_counters() -> impl Strategy<Value = Counters> {
    (number(), number(), number(), number(), number()).prop_map(|(started, succeeded, failed, released, ran_ms)| {
        Counters { started, succeeded, failed, released, ran_ms, ..Counters::default() }
    })
}

/// Any sample at all, also one that cannot be. Times and replicas are filled in by the trace.
fn any_sample() -> impl Strategy<Value = Sample> {
    let tasks = (number(), number(), number(), number());
    let times = (weighted(0.5, any_duration()), weighted(0.3, any_duration()), any_duration());
    (tasks, times, prop::bool::weighted(0.1), 0..40_u32, any_counters()).prop_map(
        |((pending, delayed, active, retrying), (oldest_pending, next_due, running), paused, ready, counters)| Sample {
            at: Duration::ZERO,
            replicas: 0,
            ready,
            paused,
            pending,
            delayed,
            active,
            retrying,
            oldest_pending,
            next_due,
            running,
            counters,
        },
    )
}

/// A sample of a queue that is mostly quiet, so that scaling down comes up often.
fn calm_sample() -> impl Strategy<Value = Sample> {
    let rest = Sample::default();
    (0..300_u64, 0..60_u64, any::<bool>()).prop_map(move |(pending, active, quiet)| {
        if quiet { rest.clone() } else { Sample { pending, active, ..rest.clone() } }
    })
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let bounds = (0..5_u32, 1..60_u32);
    let aims = (any_duration(), weighted(0.3, 0..50_u32), 0..90_000_u64, weighted(0.2, 0..6_u32), 0..20_u32);
    (bounds, aims).prop_map(
        |((min_replicas, more), (target_wait, backlog_per_slot, stabilization_ms, max_step, slots_per_pod))| Policy {
            mode: Mode::Auto,
            min_replicas,
            max_replicas: min_replicas + more,
            target_wait,
            backlog_per_slot,
            stabilization: Duration::from_millis(stabilization_ms),
            max_step,
            slots_per_pod,
        },
    )
}

/// Looks, each so many milliseconds after the one before it; `None` finds the broker away.
type Trace = Vec<(u64, Option<Sample>)>;

fn trace(sample: impl Strategy<Value = Sample>) -> impl Strategy<Value = Trace> {
    vec((prop_oneof![3 => 0..8_000_u64, 1 => 0..120_000_u64], weighted(0.9, sample)), 1..60)
}

/// One look of a trace, before and after.
struct Step {
    at_ms: u64,
    before: u32,
    sample: Option<Sample>,
    decision: Decision,
}

fn play(policy: &Policy, replicas: u32, trace: Trace) -> Vec<Step> {
    let mut queue = Queue::new(policy.clone(), replicas);
    let mut at_ms = 0;
    let mut steps = Vec::new();
    for (after_ms, sample) in trace {
        at_ms += after_ms;
        let before = queue.replicas;
        let decision = match &sample {
            Some(sample) => queue.look(Sample { at: Duration::from_millis(at_ms), ..sample.clone() }),
            None => queue.look_in_vain(at_ms),
        };
        steps.push(Step { at_ms, before, sample, decision });
    }
    steps
}

proptest! {
    // Long traces, so fewer of them.
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn a_memory_stays_small(policy in any_policy(), trace in vec((0..500_u64, weighted(0.9, any_sample())), 200..400)) {
        let mut queue = Queue::new(policy, 0);
        let mut at_ms = 0;
        for (after_ms, sample) in trace {
            at_ms += after_ms;
            match sample {
                Some(sample) => queue.look(Sample { at: Duration::from_millis(at_ms), ..sample }),
                None => queue.look_in_vain(at_ms),
            };
            prop_assert!(serde_json::to_string(&queue.memory).unwrap().len() < 4096);
        }
    }
}

proptest! {
    #[test]
    fn the_bounds_hold_always(policy in any_policy(), replicas in 0..100_u32, trace in trace(any_sample())) {
        for Step { decision, .. } in play(&policy, replicas, trace) {
            prop_assert!((policy.min_replicas..=policy.max_replicas).contains(&decision.replicas), "{decision:?}");
        }
    }

    #[test]
    fn a_recorded_trace_gives_the_same_decisions(policy in any_policy(), trace in trace(any_sample())) {
        let read_back = |text: String| serde_json::from_str(&text).unwrap();
        let decisions = |steps: Vec<Step>| steps.into_iter().map(|step| step.decision).collect::<Vec<_>>();
        let recorded = serde_json::to_string(&trace).unwrap();
        let once = decisions(play(&policy, 3, trace));

        // Again, with policy, samples and memory written down and read back at every step.
        let mut queue = Queue::new(serde_json::from_str(&serde_json::to_string(&policy).unwrap()).unwrap(), 3);
        let mut at_ms = 0;
        let replayed: Trace = serde_json::from_str(&recorded).unwrap();
        for ((after_ms, sample), expected) in replayed.into_iter().zip(once) {
            at_ms += after_ms;
            queue.memory = read_back(serde_json::to_string(&queue.memory).unwrap());
            let decision = match sample {
                Some(sample) => queue.look(Sample { at: Duration::from_millis(at_ms), ..sample }),
                None => queue.look_in_vain(at_ms),
            };
            prop_assert_eq!(decision, expected);
        }
    }

    #[test]
    fn missing_data_change_nothing(policy in any_policy(), replicas in 0..100_u32, trace in trace(any_sample())) {
        for Step { before, sample, decision, .. } in play(&policy, replicas, trace) {
            if sample.is_none() {
                prop_assert_eq!(decision.replicas, before.max(policy.min_replicas).min(policy.max_replicas));
                prop_assert_eq!(decision.reason, Reason::NoData);
            }
        }
    }

    #[test]
    fn a_longer_backlog_never_wants_fewer_pods(
        policy in any_policy(), trace in trace(any_sample()), last in any_sample(), more in number(), replicas in 0..60_u32,
    ) {
        let mut queue = Queue::new(policy.clone(), replicas);
        let mut at_ms = 0;
        for (after_ms, sample) in trace.into_iter().filter_map(|(after_ms, sample)| Some((after_ms, sample?))) {
            at_ms += after_ms;
            queue.look(Sample { at: Duration::from_millis(at_ms), ..sample });
        }
        let short = Sample { at: Duration::from_millis(at_ms), replicas: queue.replicas, ..last };
        let long = Sample { pending: short.pending.saturating_add(more), ..short.clone() };
        let (fewer, _) = decide(&policy, queue.memory.clone(), Some(&short), short.at);
        let (as_many, _) = decide(&policy, queue.memory, Some(&long), long.at);
        prop_assert!(as_many.wanted >= fewer.wanted, "{fewer:?} {as_many:?}");
        prop_assert!(as_many.replicas >= fewer.replicas, "{fewer:?} {as_many:?}");
    }

    #[test]
    fn with_work_there_is_never_none(policy in any_policy(), replicas in 0..60_u32, trace in trace(any_sample())) {
        for Step { sample, decision, .. } in play(&policy, replicas, trace) {
            let Some(sample) = sample else { continue };
            let due = sample.next_due.is_some_and(|due| due <= super::super::DUE_SOON);
            let waits = !sample.paused && (sample.pending > 0 || due);
            if waits || sample.active > 0 {
                prop_assert!(decision.replicas > 0, "{decision:?}");
            }
        }
    }

    #[test]
    fn what_runs_has_its_slots(policy in any_policy(), replicas in 0..60_u32, trace in trace(any_sample())) {
        let policy = Policy { max_step: None, ..policy };
        for Step { sample, decision, .. } in play(&policy, replicas, trace) {
            let active = sample.map_or(0, |sample| sample.active);
            let needed = active.div_ceil(u64::from(policy.slots_per_pod.max(1))).min(u64::from(policy.max_replicas));
            if decision.reason != Reason::NoData {
                prop_assert!(u64::from(decision.replicas) >= needed, "{decision:?}");
            }
        }
    }

    #[test]
    fn nothing_goes_that_was_wanted_within_the_window(
        policy in any_policy(), replicas in 0..60_u32, trace in trace(calm_sample()),
    ) {
        let policy = Policy { max_replicas: 100, ..policy };
        let window_ms = u64::try_from(policy.stabilization.as_millis()).unwrap();
        let steps = play(&policy, replicas, trace);
        for (place, step) in steps.iter().enumerate() {
            if step.decision.replicas >= step.before {
                continue;
            }
            for earlier in &steps[..place] {
                let age_ms = step.at_ms - earlier.at_ms;
                if age_ms < window_ms {
                    prop_assert!(earlier.decision.wanted <= step.decision.replicas, "{age_ms} ms: {:?}", earlier.decision);
                }
            }
            prop_assert!(step.at_ms - steps[0].at_ms >= window_ms, "shrunk at {} ms", step.at_ms);
        }
    }

    #[test]
    fn a_paused_backlog_counts_for_nothing(policy in any_policy(), trace in trace(any_sample()), last in any_sample()) {
        let mut queue = Queue::new(policy.clone(), 0);
        let mut at_ms = 0;
        for (after_ms, sample) in trace.into_iter().filter_map(|(after_ms, sample)| Some((after_ms, sample?))) {
            at_ms += after_ms;
            queue.look(Sample { at: Duration::from_millis(at_ms), ..sample });
        }
        let decision = queue.look(Sample { at: Duration::from_millis(at_ms), paused: true, ..last.clone() });
        let needed = last.active.div_ceil(u64::from(policy.slots_per_pod.max(1)));
        prop_assert_eq!(u64::from(decision.wanted), needed.min(u64::from(u32::MAX)));
    }

    #[test]
    fn from_zero_it_goes_straight_to_the_answer(pending in 1..100_000_u64, each_ms in 1..600_000_u64) {
        let mut queue = Queue::new(Policy { max_replicas: u32::MAX, ..policy() }, 0);
        let known = counters(1000, each_ms);
        queue.look(Sample { counters: known, ..sample(0) });
        let first = queue.look(Sample { pending, counters: known, ..sample(5000) });
        let slots = (pending * each_ms.min(10_000)).div_ceil(10_000);
        prop_assert!(u64::from(first.replicas) >= slots.div_ceil(10), "{first:?}");
        prop_assert_eq!(first.replicas, first.wanted);
        // While its pods start, nothing more is asked for.
        for second in 0..10 {
            let next = queue.look(Sample { pending, counters: known, ..sample(5100 + second * 1000) });
            prop_assert_eq!(next.replicas, first.replicas);
        }
    }
}

//! What the simulator says, on short traces. It is deterministic, so these are no assertions on speed.

use std::sync::LazyLock;

use super::super::super::scale;

#[path = "../../../examples/simulate/model.rs"]
mod model;

use model::{Figures, Length, RULES, even, simulate, traces};

/// Name, ours with the defaults, KEDA, ours with `minReplicas: 1`, HPA.
type Replayed = Vec<(&'static str, [Figures; 4])>;

/// One replay for all tests.
static REPLAYED: LazyLock<Replayed> = LazyLock::new(replay);

fn replay() -> Replayed {
    let traces = traces(Length::Short);
    traces.iter().map(|trace| (trace.name, RULES.map(|rule| simulate(trace, rule(trace))))).collect()
}

fn waits(figures: &Figures) -> [u64; 3] {
    [figures.p50_ms, figures.p95_ms, figures.p99_ms]
}

#[test]
fn on_no_trace_is_it_worse_in_both_and_on_bursts_it_is_better_in_both() {
    for (name, [ours, keda, _, hpa]) in REPLAYED.iter() {
        assert!(ours.tasks > 100 && ours.tasks == keda.tasks && ours.tasks == hpa.tasks, "{name}");
        for theirs in [keda, hpa] {
            let pairs = waits(ours).into_iter().zip(waits(theirs));
            let waits_longer = pairs.clone().any(|(ours, theirs)| ours > theirs);
            let costs_more = ours.pod_seconds > theirs.pod_seconds;
            assert!(!(waits_longer && costs_more), "{name}: {ours:?} {theirs:?}");
            if matches!(*name, "burst" | "spike") {
                assert!(pairs.clone().all(|(ours, theirs)| ours < theirs), "{name}: {ours:?} {theirs:?}");
                assert!(ours.pod_seconds < theirs.pod_seconds, "{name}: {ours:?} {theirs:?}");
            }
        }
    }
}

/// A pod takes longer to start than a small burst takes on a pod that is there. So it is compared like with like: with
/// KEDA from zero, and with the HPA, which cannot go below a pod, with `minReplicas: 1`. What the one pod does before
/// either can look is the same for both, and so is the median or nearly; the slower tasks tell them apart.
#[test]
fn on_small_bursts_it_is_better_in_both_than_what_keeps_as_many_pods_up() {
    for (name, [ours, keda, ours_kept_up, hpa]) in REPLAYED.iter() {
        if *name == "small bursts" {
            assert!(waits(ours).into_iter().zip(waits(keda)).all(|(ours, keda)| ours < keda), "{ours:?} {keda:?}");
            assert!(ours.pod_seconds < keda.pod_seconds, "{ours:?} {keda:?}");
            assert!(ours_kept_up.p95_ms < hpa.p95_ms && ours_kept_up.p99_ms < hpa.p99_ms, "{ours_kept_up:?} {hpa:?}");
            assert!(ours_kept_up.pod_seconds < hpa.pod_seconds, "{ours_kept_up:?} {hpa:?}");
        }
    }
}

#[test]
fn under_a_steady_load_it_does_not_swing() {
    const HALF_AN_HOUR: u64 = 1_800_000;
    for (seed, slots) in (0_u32..).zip([3, 9, 10, 11, 19, 20, 21, 30, 45, 80]) {
        // Tasks of 0.2 to 2 s: so many that chance alone moves the load little.
        let mean_ms = f64::from(seed % 4 * 600 + 200);
        let trace = even("", f64::from(slots) * 1000.0 / mean_ms, mean_ms, u64::from(seed), HALF_AN_HOUR);
        let ours = simulate(&trace, RULES[0](&trace));
        // Up while it learns the load, and down to nothing at the end.
        assert!(ours.scalings <= 12, "{slots} slots, {mean_ms} ms: {ours:?}");
        assert!(ours.p95_ms <= 1000, "{slots} slots, {mean_ms} ms: {ours:?}");
    }
}

#[test]
fn a_replay_is_the_same_every_time() {
    assert_eq!(replay(), *REPLAYED);
}

//! The rule, example by example.

use super::super::{Limit, Reason};
use super::*;

#[test]
fn a_burst_meets_as_many_slots_as_work_it_off_within_the_target_wait() {
    let mut queue = Queue::new(policy(), 0);
    queue.look(Sample { counters: counters(100, 2000), ..sample(0) });
    // 1000 tasks of 2 s in 10 s are 200 slots; arrivals of 1000 within a minute, 2 s each, are 32 more.
    let decision = queue.look(Sample { pending: 1000, counters: counters(100, 2000), ..sample(500) });
    assert_eq!((decision.replicas, decision.wanted, decision.reason), (24, 24, Reason::Burst));
    assert_eq!(decision.inputs.service_ms, Some(2000));
}

#[test]
fn a_steady_load_gets_rate_times_service_time() {
    let mut queue = Queue::new(policy(), 0);
    let mut last = None;
    for step in 0..200 {
        let ended = step * 100;
        last = Some(queue.look(Sample { active: 40, counters: counters(ended, 2000), ..sample(step * 5000) }));
    }
    let decision = last.unwrap();
    // 20 a second for 2 s each are 40 slots.
    assert_eq!((decision.wanted, decision.inputs.service_ms), (4, Some(2000)));
    assert!(decision.inputs.arrivals_per_second_milli.abs_diff(20_000) < 100, "{decision:?}");
}

#[test]
fn while_nothing_is_measured_a_second_is_assumed() {
    let mut queue = Queue::new(policy(), 0);
    let decision = queue.look(Sample { pending: 1000, ..sample(0) });
    assert_eq!((decision.replicas, decision.reason), (10, Reason::Backlog));
    let one = Queue::new(policy(), 0).look(Sample { pending: 1, ..sample(0) });
    assert_eq!(one.replicas, 1);
}

#[test]
fn backlog_per_slot_holds_until_20_tasks_have_ended() {
    let policy = Policy { backlog_per_slot: Some(2), ..policy() };
    let look = |ended| {
        let look = Sample { pending: 100, counters: counters(ended, 10), ..sample(0) };
        Queue::new(policy.clone(), 0).look(look)
    };
    assert_eq!((look(19).wanted, look(19).reason), (5, Reason::Backlog));
    assert_eq!((look(20).wanted, look(20).reason), (1, Reason::Burst));
}

#[test]
fn long_tasks_are_seen_before_any_has_ended() {
    let mut queue = Queue::new(policy(), 0);
    let mut wanted = Vec::new();
    for second in [0, 2, 5, 10, 60] {
        let (pending, active) = if second == 0 { (100, 0) } else { (90, 10) };
        let running = Duration::from_secs(second * active);
        let started = Counters { started: active, ..Counters::default() };
        let look = Sample { pending, active, running, counters: started, ..sample(second * 1000) };
        wanted.push(queue.look(look).wanted);
    }
    assert_eq!(wanted, [1, 2, 5, 10, 10]);
}

#[test]
fn a_task_fills_one_slot_however_long_it_takes() {
    let hour = 3_600_000;
    let look = Sample { pending: 30, counters: counters(1000, hour), ..sample(0) };
    assert_eq!(Queue::new(policy(), 0).look(look).wanted, 3);
}

#[test]
fn the_rate_that_a_burst_leaves_behind_gets_no_slots_beyond_its_tasks() {
    let hour = 3_600_000;
    let mut queue = Queue::new(policy(), 0);
    queue.look(Sample { counters: counters(1000, hour), ..sample(0) });
    let waiting = queue.look(Sample { pending: 30, counters: counters(1000, hour), ..sample(1000) });
    assert_eq!(waiting.wanted, 4, "30 slots, and a little for what may come: {waiting:?}");
    let started = Counters { started: 1030, ..counters(1000, hour) };
    let running = queue.look(Sample { active: 30, counters: started, ..sample(6000) });
    assert_eq!(running.wanted, 3, "{running:?}");
}

#[test]
fn running_tasks_that_outlast_the_target_wait_keep_their_slots_from_those_that_wait() {
    let minutes = Duration::from_mins(30);
    let look = Sample { pending: 10, active: 30, running: minutes, counters: counters(100, 60_000), ..sample(0) };
    assert_eq!(Queue::new(policy(), 3).look(look).wanted, 4);
}

#[test]
fn a_delayed_task_arrives_when_it_is_due_and_not_when_it_is_sent() {
    let mut queue = Queue::new(policy(), 0);
    queue.look(Sample { counters: counters(100, 1000), ..sample(0) });
    let sent = Counters { enqueued: 5100, ..counters(100, 1000) };
    let hour = Some(Duration::from_hours(1));
    let decision = queue.look(Sample { delayed: 5000, next_due: hour, counters: sent, ..sample(5000) });
    assert_eq!((decision.replicas, decision.reason), (0, Reason::Idle));
    assert_eq!(decision.inputs.arrivals_per_second_milli, 0);
    assert_eq!(decision.look_again, Some(Duration::from_secs(3600 - 30)));
}

#[test]
fn a_further_attempt_arrives_again_and_a_released_one_does_not() {
    let rate = |more: Counters| {
        let mut queue = Queue::new(policy(), 1);
        queue.look(Sample { counters: counters(100, 1000), ..sample(0) });
        let decision = queue.look(Sample { active: 10, counters: more, ..sample(60_000) });
        decision.inputs.arrivals_per_second_milli
    };
    let before = counters(100, 1000);
    let again = rate(Counters { started: before.started + 60, retried: 60, ..before });
    let released = rate(Counters { started: before.started + 60, released: 60, ..before });
    assert_eq!((again, released), (500, 0));
}

#[test]
fn a_task_that_is_due_soon_gets_a_pod_beforehand() {
    let due = |seconds| Sample { delayed: 1, next_due: Some(Duration::from_secs(seconds)), ..sample(0) };
    let soon = Queue::new(policy(), 0).look(due(30));
    assert_eq!((soon.replicas, soon.reason), (1, Reason::DueSoon));
    let later = Queue::new(policy(), 0).look(due(31));
    assert_eq!((later.replicas, later.reason, later.look_again), (0, Reason::Idle, Some(Duration::from_secs(1))));
}

#[test]
fn an_idle_queue_goes_to_zero_in_one_step_once_the_window_has_passed() {
    let mut queue = Queue::new(policy(), 12);
    let first = queue.look(sample(1000));
    assert_eq!((first.replicas, first.wanted, first.reason), (12, 0, Reason::Stabilizing));
    assert_eq!(first.look_again, Some(Duration::from_mins(1)));
    assert_eq!(queue.look(sample(60_999)).replicas, 12);
    let last = queue.look(sample(61_000));
    assert_eq!((last.replicas, last.reason, last.look_again), (0, Reason::Idle, None));
}

#[test]
fn without_stabilization_an_idle_queue_goes_to_zero_at_once() {
    let mut queue = Queue::new(Policy { stabilization: Duration::ZERO, ..policy() }, 12);
    assert_eq!(queue.look(sample(1000)).replicas, 0);
}

#[test]
fn a_pod_too_many_stays_until_there_is_a_tenth_to_spare() {
    let replicas_at = |rate: u64| {
        let mut queue = Queue::new(policy(), 4);
        for step in 0..100 {
            let now = counters(100 + step * 5 * rate, 1000);
            queue.look(Sample { active: rate, counters: now, ..sample(step * 5000) });
        }
        queue.replicas
    };
    // 29 slots would fit into 3 pods, but not with a tenth to spare; 27 do.
    assert_eq!((replicas_at(29), replicas_at(27)), (4, 3));
}

#[test]
fn a_paused_queue_keeps_what_runs_and_no_more() {
    let mut queue = Queue::new(Policy { stabilization: Duration::ZERO, ..policy() }, 9);
    let due = Some(Duration::ZERO);
    let paused = Sample { paused: true, pending: 5000, active: 21, next_due: due, ..sample(0) };
    let decision = queue.look(paused.clone());
    assert_eq!((decision.replicas, decision.reason, decision.look_again), (3, Reason::Paused, None));
    assert_eq!(queue.look(Sample { active: 0, ..paused }).replicas, 0);
}

#[test]
fn without_data_the_number_stays_and_a_window_begins_when_there_are_data_again() {
    let mut queue = Queue::new(policy(), 0);
    queue.look(Sample { pending: 1000, ..sample(0) });
    let decision = queue.look_in_vain(600_000);
    assert_eq!((decision.replicas, decision.reason, decision.inputs.replicas), (10, Reason::NoData, 10));
    assert_eq!(queue.look(sample(605_000)).replicas, 10);
    assert_eq!(queue.look(sample(659_000)).replicas, 10);
    assert_eq!(queue.look(sample(661_000)).replicas, 0);
}

#[test]
fn an_operator_that_just_started_keeps_what_it_finds() {
    let (decision, _) = decide(&policy(), Memory::default().adopt(7), None, Duration::ZERO);
    assert_eq!((decision.replicas, decision.reason), (7, Reason::NoData));
    assert_eq!(Queue::new(policy(), 7).look(sample(0)).replicas, 7);
}

#[test]
fn an_operator_that_takes_over_a_busy_queue_does_not_think_it_less_busy() {
    let mut queue = Queue::new(policy(), 5);
    for step in 0..60 {
        let ended = 100_000 + step * 45 * 5;
        let look = Sample { active: 45, counters: counters(ended, 1000), ..sample(step * 5000) };
        assert_eq!(queue.look(look).wanted, 5, "{step}");
    }
}

#[test]
fn a_memory_from_an_earlier_run_of_the_clock_holds_what_it_held() {
    let mut queue = Queue::new(policy(), 0);
    queue.look(Sample { pending: 1000, ..sample(900_000) });
    assert_eq!(queue.look(sample(0)).replicas, 10);
    assert_eq!(queue.look(sample(59_000)).replicas, 10);
    assert_eq!(queue.look(sample(62_000)).replicas, 0);
}

#[test]
fn a_store_that_was_restored_teaches_nothing_wrong() {
    let mut queue = Queue::new(policy(), 1);
    queue.look(Sample { active: 5, counters: counters(10_000, 1000), ..sample(0) });
    let before = queue.look(Sample { active: 5, counters: counters(10_100, 1000), ..sample(5000) }).inputs;
    let after = queue.look(Sample { active: 5, pending: 3, counters: counters(40, 1000), ..sample(10_000) }).inputs;
    assert!(after.arrivals_per_second_milli < before.arrivals_per_second_milli);
    assert_eq!((after.service_ms, after.measured), (before.service_ms, before.measured));
    let on = queue.look(Sample { active: 5, counters: counters(50, 1000), ..sample(15_000) }).inputs;
    assert_eq!((on.service_ms, on.measured), (Some(1000), before.measured + 10));
}

#[test]
fn an_old_service_time_counts_for_20_tasks_and_the_next_hundred_outweigh_it() {
    let mut queue = Queue::new(policy(), 1);
    queue.look(Sample { counters: counters(100_000, 10_000), ..sample(0) });
    let hour = 3_600_000;
    let mut now = counters(100_000, 10_000);
    now.succeeded += 100;
    now.ran_ms += 100 * 1000;
    let decision = queue.look(Sample { counters: now, ..sample(hour) });
    assert_eq!(decision.inputs.service_ms, Some((20 * 10_000 + 100 * 1000) / 120));
}

#[test]
fn max_step_lets_so_many_pods_start_at_a_time() {
    let mut queue = Queue::new(Policy { max_step: Some(3), ..policy() }, 0);
    let look = Sample { pending: 1000, ..sample(0) };
    let first = queue.look(look.clone());
    assert_eq!((first.replicas, first.wanted, first.limited_by), (3, 10, Some(Limit::MaxStep)));
    assert_eq!(queue.look(look.clone()).replicas, 3);
    assert_eq!(queue.look(Sample { ready: 2, ..look.clone() }).replicas, 5);
    assert_eq!(queue.look(Sample { ready: 5, ..look.clone() }).replicas, 8);
    let last = queue.look(Sample { ready: 8, ..look });
    assert_eq!((last.replicas, last.limited_by), (10, None));
}

#[test]
fn the_bounds_say_so_where_they_decide() {
    let look = |min_replicas, max_replicas, pending| {
        let mut queue = Queue::new(Policy { min_replicas, max_replicas, ..policy() }, 0);
        let decision = queue.look(Sample { pending, ..sample(0) });
        (decision.replicas, decision.limited_by)
    };
    assert_eq!(look(2, 5, 0), (2, Some(Limit::MinReplicas)));
    assert_eq!(look(2, 5, 300), (3, None));
    assert_eq!(look(2, 5, 1000), (5, Some(Limit::MaxReplicas)));
}

#[test]
fn in_manual_the_number_is_as_it_was_set_and_auto_does_not_shrink_it_at_once() {
    let mut queue = Queue::new(Policy { mode: Mode::Manual { replicas: 7 }, max_replicas: 5, ..policy() }, 0);
    let decision = queue.look(Sample { pending: 9999, ..sample(0) });
    assert_eq!((decision.replicas, decision.reason, decision.limited_by), (7, Reason::Manual, None));
    assert_eq!(queue.look_in_vain(1000).replicas, 7);
    queue.policy.mode = Mode::Auto;
    queue.policy.max_replicas = 10;
    assert_eq!(queue.look(sample(2000)).replicas, 7);
    assert_eq!(queue.look(sample(61_000)).replicas, 0);
}

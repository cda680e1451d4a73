//! The named tests, one file for each clause of the contract. A test's name is what it proves.
//!
//! [`conformance_tests!`](crate::conformance_tests) lists them all, and makes of each a test of its own for one store.
#![allow(missing_docs)] // a test's name is its sentence

pub mod cancelling;
pub mod claims_and_fences;
pub mod counters;
pub mod dropping;
pub mod due;
pub mod enqueue;
pub mod events;
pub mod exchanges_numbered;
pub mod leases_and_losses;
pub mod order;
pub mod owners;
pub mod pausing;
pub mod queues;
pub mod reads;
pub mod requeueing;
pub mod retention;
pub mod settling;
pub mod unserved;
pub mod waking;

/// Makes a `#[test]` of each test of the suite, for the store that `$backend` (a function that returns
/// an `Option<Box<dyn Backend>>`) opens; `None` passes, where someone said that this store is known to be missing.
#[macro_export]
macro_rules! conformance_tests {
    ($backend:ident) => {
        $crate::conformance_group!($backend, queues:
            a_queue_is_created_once_and_keeps_its_first_settings,
            settings_are_replaced_by_configure,
            an_unknown_queue_is_refused_by_every_operation,
            all_queues_are_listed_by_name,
            the_store_says_what_it_is_and_answers,
            a_closed_store_ends_its_watchers,
        );
        $crate::conformance_group!($backend, owners:
            the_first_to_ask_owns_a_queue,
            a_second_is_told_whose_the_queue_is,
            an_owner_stays_the_owner_and_another_uid_replaces_its_own,
            an_owner_is_replaced_by_whoever_names_all_of_it,
            of_many_that_ask_at_once_one_owns_the_queue,
            a_queue_is_given_up_by_its_owner_alone,
            settings_and_purges_leave_the_owner,
            an_owner_is_kept_as_it_is_however_odd_and_refused_where_it_is_too_long,
        );
        $crate::conformance_group!($backend, dropping:
            a_queue_is_dropped_by_its_owner_alone,
            a_dropped_queue_is_unknown_and_listed_no_more,
            a_queue_created_anew_has_nothing_of_the_dropped_one,
            a_worker_of_a_dropped_queue_holds_nothing_and_joins_its_successor_anew,
            a_watcher_of_a_dropped_queue_is_told_of_a_gap_and_hears_its_successor,
            a_large_queue_is_dropped_whole,
            a_queue_that_is_dropped_and_created_at_once_is_listed_if_it_is_there,
        );
        $crate::conformance_group!($backend, enqueue:
            a_batch_is_taken_in_order,
            a_task_is_kept_as_it_was_handed_in,
            taken_ids_refuse_the_whole_batch_and_are_all_named,
            an_id_twice_in_a_batch_refuses_the_batch,
            an_id_is_free_again_once_its_task_has_ended,
            a_new_task_of_an_old_id_has_none_of_its_past,
            a_repeated_request_counts_as_created,
            a_repeated_request_counts_as_created_when_some_of_it_ran_meanwhile,
            a_repeated_request_counts_as_created_when_all_of_it_ended,
            a_request_whose_reply_was_lost_is_known_from_another_process_too,
            a_full_queue_refuses_one_task_too_many_and_takes_none_of_the_batch,
            ended_tasks_do_not_fill_a_queue,
            ten_thousand_tasks_are_one_batch,
            ids_with_odd_characters_are_ids,
            queues_know_nothing_of_each_other,
        );
        $crate::conformance_group!($backend, order:
            the_first_in_is_the_first_out,
            a_higher_priority_goes_first,
            a_released_task_goes_to_the_head_of_its_priority,
            several_released_tasks_keep_their_order,
            a_retried_task_comes_back_at_the_tail,
            a_promoted_task_goes_behind_those_that_wait,
            a_task_requeued_by_hand_goes_to_the_tail,
            a_cancelled_id_enqueued_anew_goes_to_the_tail_and_is_listed_once,
            a_deleted_id_enqueued_anew_goes_to_the_tail_and_is_listed_once,
            an_id_that_changes_its_priority_by_a_new_life_stands_where_it_now_belongs,
            a_lost_task_goes_to_the_head_of_its_priority,
        );
        $crate::conformance_group!($backend, due:
            a_delayed_task_does_not_start_before_its_time,
            a_time_of_the_stores_clock_is_kept,
            a_time_that_has_passed_means_now,
            a_due_task_is_promoted_by_an_exchange,
            a_due_task_is_promoted_by_maintenance,
            due_tasks_are_promoted_in_the_order_of_their_times,
            a_promoted_task_of_higher_priority_goes_first,
            one_run_of_maintenance_is_bounded_and_says_so,
        );
        $crate::conformance_group!($backend, claims_and_fences:
            an_active_task_belongs_to_one_claim,
            a_claim_says_all_that_a_worker_needs,
            no_more_is_claimed_than_wanted,
            only_the_holder_settles,
            a_claim_is_settled_once,
            a_claim_is_settled_once_even_within_one_exchange,
            a_late_settlement_is_refused_and_counted,
            the_fence_is_the_token_and_not_the_attempt,
            an_unknown_task_cannot_be_settled,
            claims_of_many_workers_at_once_never_overlap,
        );
        $crate::conformance_group!($backend, exchanges_numbered:
            a_repeated_exchange_claims_nothing_more,
            a_repeated_exchange_settles_nothing_twice,
            a_repeated_exchange_is_answered_from_another_process_too,
            a_number_that_was_left_out_retires_the_worker,
            an_older_number_came_late_and_does_nothing,
            the_first_number_is_one,
            a_stranger_is_retired,
            what_a_retired_worker_held_is_lost_and_claimed_by_others,
            a_store_rolled_back_behind_a_claim_leaves_nothing_stuck,
            a_store_rolled_back_behind_a_settlement_leaves_nothing_stuck,
            a_store_rolled_back_behind_a_registration_says_retired,
            a_store_rolled_back_never_takes_the_token_of_a_lost_claim,
        );
        $crate::conformance_group!($backend, leases_and_losses:
            a_heartbeat_keeps_all_claims,
            an_exchange_does_not_keep_claims,
            registering_again_keeps_claims,
            a_silent_workers_tasks_are_pending_again,
            lost_tasks_keep_the_order_of_their_claims,
            a_loss_costs_no_retry_and_is_remembered,
            a_task_that_kills_workers_ends_as_dead,
            a_lost_worker_is_retired_at_its_next_word,
            a_lease_that_ran_out_is_good_until_someone_collects_it,
            an_outage_of_the_store_renews_all_leases_once,
            an_outage_that_ends_a_lease_just_renewed_loses_nobody,
            a_retired_worker_gives_everything_back_at_no_cost,
            retiring_twice_is_harmless,
        );
        $crate::conformance_group!($backend, settling:
            a_success_keeps_its_result,
            a_failure_with_retries_left_waits_for_its_time,
            a_failure_for_good_is_dead,
            a_time_out_is_a_failure_and_counted_as_such,
            a_retry_without_wait_runs_at_once,
            attempts_are_numbered_by_failures,
            only_the_newest_errors_are_kept,
            a_batch_of_settlements_is_answered_in_order,
            progress_is_shown_while_a_task_runs,
            progress_of_another_workers_task_is_not_taken,
        );
        $crate::conformance_group!($backend, unserved:
            a_task_that_no_live_worker_serves_is_dead,
            a_task_that_another_worker_serves_is_set_aside_and_then_goes_first,
            a_worker_that_says_it_serves_the_type_does_not_count_itself,
            a_worker_whose_lease_ran_out_serves_nothing,
        );
        $crate::conformance_group!($backend, cancelling:
            a_waiting_task_is_cancelled_at_once,
            an_active_tasks_worker_is_asked,
            a_cancelled_task_that_succeeds_all_the_same_has_succeeded,
            a_cancelled_task_that_fails_or_is_released_or_unserved_is_cancelled,
            a_cancelled_task_whose_worker_is_lost_is_cancelled,
            a_cancelled_task_whose_worker_retires_is_cancelled,
            an_ended_or_unknown_task_cannot_be_cancelled,
            a_request_to_cancel_dies_with_its_claim,
        );
        $crate::conformance_group!($backend, requeueing:
            a_dead_task_runs_again_with_a_clean_slate_and_its_past_errors,
            a_cancelled_task_runs_again,
            a_delayed_or_retrying_task_runs_now,
            what_is_pending_active_or_succeeded_cannot_be_requeued,
            an_unknown_task_cannot_be_requeued,
            deleting_forgets_what_waits_or_has_ended,
            an_active_task_cannot_be_deleted,
            purging_deletes_all_tasks_of_a_state_and_no_others,
            purging_a_thousand_and_more_is_complete,
        );
        $crate::conformance_group!($backend, retention:
            ended_tasks_are_kept_by_count_the_newest_of_them,
            ended_tasks_are_forgotten_by_age,
            a_count_of_none_forgets_at_once,
            each_state_has_its_own_bounds,
            a_tightened_bound_forgets_at_the_next_maintenance,
            live_tasks_are_never_forgotten,
        );
        $crate::conformance_group!($backend, pausing:
            a_paused_queue_grants_no_claims_and_takes_everything_else,
            pausing_says_whether_it_changed_anything,
            a_resumed_queue_grants_claims,
        );
        $crate::conformance_group!($backend, counters:
            counters_equal_the_transitions_that_happened,
            the_time_that_attempts_ran_adds_up,
            figures_of_states_equal_their_lists,
            the_age_of_the_head_and_the_next_due_time_are_told,
        );
        $crate::conformance_group!($backend, events:
            a_tasks_life_is_told_in_order,
            next_comes_always_before_start,
            done_comes_once_for_every_end,
            controls_are_told,
            a_loss_is_told_as_the_next_task_and_an_end_as_done,
            a_repeated_request_or_exchange_tells_nothing,
            promoted_tasks_are_told_when_they_become_the_head,
            events_of_all_processes_come_in_one_order,
            durations_are_told,
        );
        $crate::conformance_group!($backend, reads:
            a_list_comes_in_pages_without_gap_or_overlap,
            a_list_of_one_type_has_no_others,
            each_state_is_listed_in_its_order,
            workers_are_listed_with_what_they_hold,
            workers_are_listed_with_the_ages_of_what_they_hold,
            an_unknown_task_is_none,
            a_view_says_where_a_task_stands,
        );
        $crate::conformance_group!($backend, waking:
            an_enqueue_elsewhere_wakes_a_waiter,
            a_wait_ends_in_time,
            work_that_is_there_already_does_not_wait,
            a_due_task_wakes_a_waiter,
            work_left_behind_wakes_the_next,
            a_released_task_wakes_a_waiter,
            a_resumed_queue_wakes_a_waiter,
            a_task_requeued_by_hand_wakes_a_waiter,
            a_dropped_wait_loses_no_wake_up,
            an_exchange_that_waits_claims_what_comes_in_elsewhere,
            an_exchange_that_waits_ends_in_time,
            an_exchange_that_waits_promotes_what_falls_due,
            an_exchange_that_was_dropped_while_it_waited_is_repeated_under_its_number,
            one_that_waits_and_an_exchange_that_waits_are_both_woken,
            a_waiter_is_woken_by_the_successor_of_a_dropped_queue,
        );
    };
}

/// The tests of one file of the suite; see [`conformance_tests!`](crate::conformance_tests).
#[macro_export]
macro_rules! conformance_group {
    ($backend:ident, $group:ident: $($test:ident,)*) => {
        mod $group {
            $(
                #[test]
                fn $test() {
                    $crate::conformance::harness::block_on(async {
                        let backend: Option<Box<dyn $crate::conformance::Backend>> = super::$backend().await;
                        let Some(backend) = backend else { return };
                        $crate::conformance::suite::$group::$test(&*backend).await;
                        backend.broker().close().await;
                    });
                }
            )*
        }
    };
}

#[cfg(test)]
mod tests {
    /// The source of each group.
    const GROUPS: [&str; 19] = [
        include_str!("cancelling.rs"),
        include_str!("claims_and_fences.rs"),
        include_str!("counters.rs"),
        include_str!("dropping.rs"),
        include_str!("due.rs"),
        include_str!("enqueue.rs"),
        include_str!("events.rs"),
        include_str!("exchanges_numbered.rs"),
        include_str!("leases_and_losses.rs"),
        include_str!("order.rs"),
        include_str!("owners.rs"),
        include_str!("pausing.rs"),
        include_str!("queues.rs"),
        include_str!("reads.rs"),
        include_str!("requeueing.rs"),
        include_str!("retention.rs"),
        include_str!("settling.rs"),
        include_str!("unserved.rs"),
        include_str!("waking.rs"),
    ];

    #[test]
    fn every_test_of_the_suite_is_in_the_list() {
        let list = include_str!("mod.rs");
        let mut count = 0;
        for group in GROUPS {
            for rest in group.split("\npub async fn ").skip(1) {
                let name = rest.split('(').next().unwrap();
                assert!(list.contains(&format!("\n            {name},\n")), "{name} is not in the list");
                count += 1;
            }
        }
        assert!(count > 100, "{count} tests were found");
    }
}

//! The scenarios: Tidemill as its users have it, on a Kubernetes with a node.
//!
//! The chart is installed with helm, TaskQueues are applied with kubectl, tasks are sent from pods. What a person could not
//! do with those programs is not done here either, so any cluster will do that has the images (see [`images`]).
//!
//! Scenarios run one after another, in the order of their numbers (`--test-threads 1`), and share one installation, which
//! the first of them makes; the one that uninstalls it leaves it to the next to make it anew. `TIDEMILL_E2E="1 4"` picks
//! some. The closing line counts them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod diagnosis;
mod images;
mod kubectl;
mod load;
mod process;
mod queue;
mod release;
mod scenario_10_own_worker;
mod scenario_11_tutorial;
mod scenario_1_install;
mod scenario_2_http;
mod scenario_3_burst;
mod scenario_4_lost_pod;
mod scenario_5_by_hand;
mod scenario_6_mistakes;
mod scenario_7_failover;
mod scenario_8_prometheus;
mod scenario_9_other_languages;
mod suite;
mod tools;
mod wait;

use suite::scenario;

#[test]
fn scenario_1_a_release_is_ready_within_a_minute_and_serves_a_taskqueue() {
    scenario(1, scenario_1_install::run);
}

#[test]
fn scenario_2_pods_use_the_api_by_name_and_see_what_runs_in_worker_pods() {
    scenario(2, scenario_2_http::run);
}

#[test]
fn scenario_3_workers_come_with_a_burst_and_go_without_harm_to_any_task() {
    scenario(3, scenario_3_burst::run);
}

#[test]
fn scenario_4_the_tasks_of_a_lost_pod_run_elsewhere_at_no_cost_of_a_retry() {
    scenario(4, scenario_4_lost_pod::run);
}

#[test]
fn scenario_5_people_scale_delete_and_uninstall_and_nothing_is_left_behind() {
    scenario(5, scenario_5_by_hand::run);
}

#[test]
fn scenario_6_nonsense_is_refused_in_words_and_a_missing_secret_is_waited_for() {
    scenario(6, scenario_6_mistakes::run);
}

#[test]
fn scenario_7_work_goes_on_without_leader_or_api_server_and_the_status_catches_up() {
    scenario(7, scenario_7_failover::run);
}

#[test]
fn scenario_8_prometheus_scrapes_every_part_and_promtool_is_content() {
    scenario(8, scenario_8_prometheus::run);
}

#[test]
fn scenario_9_types_of_ones_own_are_served_by_a_python_program_and_by_a_service() {
    scenario(9, scenario_9_other_languages::run);
}

#[test]
fn scenario_10_a_worker_of_ones_own_runs_the_tasks_of_a_taskqueue() {
    scenario(10, scenario_10_own_worker::run);
}

#[test]
fn scenario_11_the_tutorial_of_the_cluster_works_as_it_stands() {
    scenario(11, scenario_11_tutorial::run);
}

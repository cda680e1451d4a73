//! A script that loses a fence or a counter is caught by the random walks: each of these changes of one line makes them
//! differ from the model.
//!
//! `REDIS_SERVER` (`redis-server`) names the program.

#![allow(clippy::expect_used)] // a test may fail loudly

use std::sync::LazyLock;

use tidemill_broker::conformance::backends::Redis;
use tidemill_broker::conformance::model::random;
use tidemill_broker::conformance::server::RedisServer;
use tidemill_broker::redis::Mutation;

/// Walks that a mutation may survive. Most are caught within a hundred.
const WALKS: u32 = 3_000;
/// Any seed will do; a fixed one makes the test say the same each time.
const SEED: u32 = 7;

static SERVER: LazyLock<RedisServer> = LazyLock::new(RedisServer::start);

/// Asserts that the walks notice when `from` becomes `to` wherever a script says it.
async fn caught(from: &'static str, to: &'static str) {
    let mutation = Mutation { from, to };
    assert!(mutation.applies(), "no script says {from:?} any more: mend this test");
    let backend = Redis::connect_mutated(&SERVER, mutation).await;
    let found = tokio::task::spawn_blocking(move || random::first_difference(&backend, WALKS, SEED));
    let found = found.await.expect("the walks end");
    println!("{from:?} -> {to:?}: {}", found.as_deref().unwrap_or("not caught").lines().next().unwrap_or_default());
    assert!(found.is_some(), "nobody noticed that {from:?} became {to:?}");
}

macro_rules! mutations {
    ($($name:ident: $from:literal => $to:literal;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            caught($from, $to).await;
        }
    )*};
}

mutations! {
    a_plain_success_without_a_fence_is_caught:
        "if not claim or sub(claim, 1, long) ~= prefix then" => "if not claim then";
    another_settlement_without_a_fence_is_caught:
        "or string.sub(held[i], 1, #prefix) ~= prefix then" => "then";
    a_claim_that_is_settled_and_kept_is_caught:
        "bulk('HDEL', claims, done)" => "";
    a_repeated_exchange_that_claims_again_is_caught:
        "if last and number == last and last > 0 then" => "if false then";
    a_late_duplicate_that_is_carried_out_is_caught:
        "if last and number < last then return { 'RETIRED' } end" => "";
    a_number_too_far_that_is_carried_out_is_caught:
        "if not last or number ~= last + 1 then" => "if false then";
    an_exchange_that_is_not_remembered_is_caught:
        "ARGV[2] .. ' ' .. letters .. " => "ARGV[2] .. ' ' .. ";
    a_heartbeat_of_what_another_holds_is_caught:
        "return claim and string.sub(claim, 1, #worker) == worker" => "return claim";
    an_id_that_is_taken_in_twice_is_caught:
        "if live[i] then" => "if false then";
    a_request_that_is_not_recognised_is_caught:
        "if request_of(live[i]) == call.request then return states() end" => "";
    a_loss_that_costs_nothing_is_caught:
        "losses = losses + 1" => "";
    an_outage_that_returns_all_tasks_is_caught:
        "> outage" => "> 1e15";
    a_missing_count_of_successes_is_caught:
        "count('succeeded', #done)" => "";
    a_missing_count_of_refusals_is_caught:
        "if refused > 0 then count('refused', refused) end" => "";
    a_missing_count_of_losses_is_caught:
        "count('lost')" => "";
    a_missing_count_of_releases_is_caught:
        "count('released')" => "";
    a_missing_count_of_retries_is_caught:
        "count('retried')" => "";
    a_missing_count_of_starts_is_caught:
        "count('started', #taken) - #taken" => "0";
    a_missing_count_of_time_is_caught:
        "if ran > 0 then count('ran_ms', ran) end" => "";
    a_missing_bound_of_live_tasks_is_caught:
        "+ #ids > max then return { 'FULL', max } end" => "+ #ids < 0 then return { 'FULL', max } end";
}

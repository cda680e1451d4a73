//! The API server is away for a while.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;
use tidemill_cluster_tests::cluster::{SOON, script};
use tidemill_cluster_tests::redis::{connect, enqueue, queue};
use tidemill_cluster_tests::{Launch, RedisServer, Space, holds, until};
use tidemill_operator::crd::TaskQueue;

/// How long it is away.
const AWAY: Duration = Duration::from_secs(30);
/// How often it is looked whether the operator still runs.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How soon afterwards the status says what is. The kubelet waits before it starts again what ends again and again.
const CAUGHT_UP: Duration = Duration::from_mins(1);

fn run(verb: &str) {
    let done = script(verb).expect("it was there a moment ago").output().expect("the script of the cluster runs");
    assert!(done.status.success(), "{verb}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Brings the API server back however the test ends: other tests need it.
struct Back;

impl Drop for Back {
    fn drop(&mut self) {
        run("api-up");
    }
}

#[tokio::test]
async fn after_an_outage_of_the_api_server_the_status_catches_up() {
    if script("api-down").is_none() {
        println!(
            "left out: the cluster is not ours (TIDEMILL_CLUSTER is not set), so its API server cannot be taken away"
        );
        return;
    }
    let space = Space::alone("outage").await;
    let redis = RedisServer::start();
    let broker = connect(&redis.url());
    let launch = Launch::of(&space);
    let mut operator = launch.clone().lead().await;
    space.task_queue("q", json!({ "broker": { "url": redis.url() }, "worker": { "workersLimit": 1 } })).await;
    space.task_queue("idle", json!({ "broker": { "url": redis.url() } })).await;
    space.until_ready("q", "Idle").await;
    space.until_ready("idle", "Idle").await;

    run("api-down");
    let back = Back;
    let began = Instant::now();
    let mut restarts = 0;
    enqueue(&*broker, &queue("q"), 4).await;
    while began.elapsed() < AWAY {
        // A leader that cannot renew its Lease ends, and whoever keeps its pod starts it again.
        if let Some(ended) = operator.ended() {
            assert!(ended.code().is_some(), "it was killed by a signal: {ended}");
            assert!(operator.log().contains("leadership was lost"), "{}", operator.log());
            operator = launch.clone().start();
            restarts += 1;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    drop(back);
    let began = Instant::now();
    until("the Deployment asks for pods", CAUGHT_UP, async || {
        let deployment = space.api::<Deployment>().get_opt("q-worker").await.map_err(|error| error.to_string())?;
        let replicas = deployment.and_then(|found| found.spec?.replicas);
        holds(replicas.is_some_and(|replicas| replicas > 0), || format!("{replicas:?}; {}", operator.log()))
    })
    .await;
    until("the status says what waits", CAUGHT_UP, async || {
        let status = space.get::<TaskQueue>("q").await.unwrap().status.unwrap();
        holds(status.queue.as_ref().is_some_and(|queue| queue.pending == 4), || format!("{status:?}"))
    })
    .await;
    println!(
        "the operator was started anew {restarts} times, and had caught up {} ms after the outage",
        began.elapsed().as_millis()
    );
    assert!(restarts <= 1, "it should wait for the API server rather than end again and again");
    space.change::<TaskQueue>("idle", json!({ "spec": { "paused": true } })).await.unwrap();
    space.until_ready("idle", "Paused").await;
    until("one operator leads", SOON, async || holds(operator.has_led(), || operator.log())).await;
}

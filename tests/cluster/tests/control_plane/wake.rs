//! From an empty queue without pods to a Deployment that asks for some.

use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use tidemill_cluster_tests::cluster::SOON;
use tidemill_cluster_tests::redis::{connect, enqueue, queue};
use tidemill_cluster_tests::{Launch, RedisServer, Space};

/// How many queues are woken, one after another.
const ROUNDS: usize = 20;
/// What the median of them may take at most.
const MEDIAN_MAX: Duration = Duration::from_secs(1);

#[tokio::test]
async fn an_enqueue_to_an_idle_queue_asks_for_pods_within_a_second_at_the_median() {
    let space = Space::alone("wake").await;
    let redis = RedisServer::start();
    let broker = connect(&redis.url());
    let _operator = Launch::of(&space).lead().await;
    let names: Vec<_> = (0..ROUNDS).map(|round| format!("q{round}")).collect();
    for name in &names {
        space.task_queue(name, json!({ "broker": { "url": redis.url() } })).await;
    }
    for name in &names {
        space.until_ready(name, "Idle").await;
    }
    let mut seen = watcher(space.api::<Deployment>(), watcher::Config::default()).applied_objects().boxed();
    let mut took = Vec::new();
    for name in &names {
        let deployment = format!("{name}-worker");
        let began = Instant::now();
        enqueue(&*broker, &queue(name), 1).await;
        let scaled = async {
            while let Some(changed) = seen.next().await {
                let changed = changed.expect("the watch goes on");
                let asks = changed.spec.and_then(|spec| spec.replicas).is_some_and(|replicas| replicas > 0);
                if asks && changed.metadata.name.as_deref() == Some(&deployment) {
                    return;
                }
            }
        };
        tokio::time::timeout(SOON, scaled).await.unwrap_or_else(|_| panic!("{deployment} was not scaled"));
        took.push(began.elapsed());
    }
    took.sort();
    let (median, last) = (took[ROUNDS / 2], took[ROUNDS - 1]);
    println!(
        "from an enqueue to a scaled Deployment, {ROUNDS} rounds: median {median:.0?}, fastest {:.0?}, slowest {last:.0?}",
        took[0]
    );
    assert!(median < MEDIAN_MAX, "{took:?}");
}

//! What Prometheus learns of an operator: the figures of its queues, and every query of dashboards and alerts that speaks of
//! operators or of TaskQueues. The others are asked of a run without a cluster: `tests/tests/observability.rs`.

use std::time::Duration;

use serde_json::json;
use tidemill_cluster_tests::kubelet::run_pods;
use tidemill_cluster_tests::redis::{connect, enqueue, queue};
use tidemill_cluster_tests::{Launch, RedisServer, Space};
use tidemill_tests::prometheus::alerts_file;
use tidemill_tests::queries::{self, Variables};
use tidemill_tests::{Program, Prometheus, Target, until};

use crate::scaling::until_replicas;

const SOON: Duration = Duration::from_secs(30);
const TASKS: usize = 5;

#[tokio::test]
async fn prometheus_has_the_operators_figures_and_no_query_that_needs_an_operator_finds_nothing() {
    let space = Space::new("monitoring").await;
    let redis = RedisServer::start();
    let broker = connect(&redis.url());
    let operator = Launch::of(&space).lead().await;
    let address = operator.address();
    let scaling = json!({ "minReplicas": 1, "maxReplicas": 2, "backlogPerSlot": 1 });
    let spec = json!({ "broker": { "url": redis.url() }, "worker": { "workersLimit": 1 }, "scaling": scaling });
    space.task_queue("q", spec).await;
    until_replicas(&space, "q", 1).await;
    run_pods(&space, "q", 1).await;
    space.until_ready("q", "Available").await;

    let targets = [Target { job: "operator", address, namespace: "tides".to_owned() }];
    let prometheus = Prometheus::scrape(&targets, &alerts_file()).unwrap();
    enqueue(&*broker, &queue("q"), TASKS).await;
    until_replicas(&space, "q", 2).await;
    let limited = format!(r#"tidemill_taskqueue_limited_by_max{{namespace="{}",name="q"}}"#, space.name());
    until("the TaskQueue is at its most", SOON, || prometheus.count(&limited) == Some(1));
    let worker = Program::start("worker", &["--broker-url", &redis.url(), "--queue", "q"]).unwrap();
    let succeeded = r#"tidemill_queue_transitions_total{namespace="tides",queue="q",transition="succeeded"}"#;
    until("Prometheus knows that all tasks have ended", SOON, || prometheus.count(succeeded) == Some(TASKS as u64));
    let stats = broker.stats(&queue("q")).await.unwrap();
    for (transition, count) in [("enqueued", stats.counters.enqueued), ("started", stats.counters.started)] {
        let series = format!(r#"tidemill_queue_transitions_total{{queue="q",transition="{transition}"}}"#);
        assert_eq!(prometheus.count(&series), Some(count), "{transition}");
    }
    assert_eq!(prometheus.count("sum(tidemill_operator_leader)"), Some(1));
    // An operator has many brokers, and says of each TaskQueue whether its own answers.
    assert_eq!(prometheus.ask("tidemill_broker_up"), Ok(Vec::new()));
    drop(worker);

    let mut asked = queries::of_dashboard("operator").unwrap();
    let mut others = queries::of_dashboard("queue").unwrap();
    others.extend(queries::of_dashboard("fleet").unwrap());
    others.extend(queries::of_alerts().unwrap());
    asked.extend(others.into_iter().filter(queries::Query::needs_operator));
    // No alert fires here; that they are shown is seen where one does.
    asked.retain(|query| !query.expr.starts_with("ALERTS"));
    let variables = Variables([("namespace", space.name()), ("queue", "q")].into());
    queries::until_answered(&prometheus, &asked, &variables, SOON);
    println!("{} queries of dashboards and alerts find what they ask for", asked.len());
}

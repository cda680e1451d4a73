use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tidemill_api::{HealthOptions, HealthServer, Options, WorkerGauge, WorkerProbe};
use tidemill_core::QueueName;
use tidemill_telemetry::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use crate::support::{Api, Faulty, options, send};

/// An executor that has not turned for so many seconds.
fn probe(still_s: &Arc<AtomicU64>) -> WorkerProbe {
    let still_s = Arc::clone(still_s);
    Arc::new(move || {
        let still_for = Duration::from_secs(still_s.load(Ordering::SeqCst));
        WorkerGauge { slots: 1, busy: 0, taking: true, still_for }
    })
}

const WEDGED: &str = "the executor's loop has not turned for 61 s: this process takes no tasks";

#[tokio::test]
async fn standalone_is_not_live_while_its_executor_has_not_turned_for_a_minute() {
    let still_s = Arc::default();
    let options = Options { worker: Some(probe(&still_s)), ..options() };
    let api = Api::with(options, Faulty::new()).await;
    assert_eq!(api.get("/livez").await.status, 200);
    still_s.store(61, Ordering::SeqCst);
    let reply = api.get("/livez").await;
    assert_eq!((reply.status, reply.json()), (503, json!({"status": "wedged", "detail": WEDGED})));
    still_s.store(59, Ordering::SeqCst);
    assert_eq!(api.get("/livez").await.status, 200, "it has caught up");
}

#[tokio::test]
async fn a_worker_is_live_without_its_store_but_not_with_an_executor_that_stands_still() {
    let still_s = Arc::default();
    let options = HealthOptions {
        host: "127.0.0.1".to_owned(),
        port: 0,
        queue: QueueName::default_queue(),
        http_shutdown_timeout: Duration::from_secs(1),
        tokens_file: None,
        tokens: Vec::new(),
        log_level: None,
        worker: Some(probe(&still_s)),
    };
    let broker = Arc::new(Faulty::new());
    broker.down.store(true, Ordering::SeqCst);
    let server = HealthServer::bind(options, broker, Arc::new(Metrics::new("0"))).await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    assert_eq!(send(&address, "GET", "/livez", &[], "").await.status, 200);
    still_s.store(61, Ordering::SeqCst);
    let reply = send(&address, "GET", "/livez", &[], "").await;
    assert_eq!((reply.status, reply.json()), (503, json!({"status": "wedged", "detail": WEDGED})));
    stop.cancel();
    running.await.unwrap().unwrap();
}

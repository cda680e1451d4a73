//! `sleep`, run as a worker runs it, on a clock of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's helpers may fail loudly

use std::time::Duration;

use tidemill_core::{TaskId, TaskType};
use tidemill_executor::{Context, Handler, HandlerError};
use tidemill_handlers::Sleep;
use tokio::time::Instant;

fn cx(payload: &str) -> Context {
    Context::detached(TaskId::new("a").unwrap(), TaskType::sleep(), payload.to_owned()).0
}

#[tokio::test(start_paused = true)]
async fn a_sleep_takes_its_time_and_ends_early_when_told() {
    let before = Instant::now();
    Sleep.run(cx(r#"{"duration_ms": 2500}"#)).await.unwrap();
    assert_eq!(before.elapsed(), Duration::from_millis(2_500));

    let (cx, stop) = Context::detached(TaskId::new("a").unwrap(), TaskType::sleep(), r#"{"duration_ms": 60000}"#);
    let sleeping = tokio::spawn(async move { Sleep.run(cx).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.cancel();
    let error = sleeping.await.unwrap().unwrap_err();
    assert_eq!(error, HandlerError::transient("told to end before the time was up"));
}

#[tokio::test]
async fn a_sleep_longer_than_a_day_is_refused_for_good() {
    let error = Sleep.run(cx(r#"{"duration_ms": 86400001}"#)).await.unwrap_err();
    assert!(error.is_permanent());
    assert!(Sleep.run(cx(r#"{"duration_ms": -1}"#)).await.unwrap_err().is_permanent());
}

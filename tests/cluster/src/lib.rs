//! What the tests against a real Kubernetes share.
//!
//! The cluster is the one that `KUBECONFIG` names; `scripts/with-cluster` starts one and sets it. The suite `control_plane`
//! needs an API server alone, `e2e` a node that runs pods (`TIDEMILL_CLUSTER_NODE=1`).
//!
//! Nothing here sleeps for a result: [`until`] waits for a condition with a deadline.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)] // a test fails by panicking

pub mod account;
pub mod cluster;
pub mod kubelet;
pub mod operator;
pub mod redis;

use std::time::{Duration, Instant};

pub use account::Account;
pub use cluster::{Space, kubectl};
pub use operator::{Launch, Operator};
pub use redis::RedisServer;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Waits until `look` finds what it looks for, at most for `deadline`.
///
/// # Panics
/// When it does not by then, with `what` was awaited and what it last found instead.
pub async fn until<T>(what: &str, deadline: Duration, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(instead) if began.elapsed() >= deadline => {
                panic!("{what}: not within {deadline:?}; instead: {instead}")
            }
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// Nothing where `holds`, else the error of `instead`, as [`until`] takes it.
pub fn holds(holds: bool, instead: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(instead()) }
}

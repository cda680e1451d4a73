//! What the end-to-end tests share: the program in a process of its own, requests to it, and its events;
//! workers that misbehave, and a connection that can be cut; a collector of traces, what metrics say, and a Prometheus with all
//! that dashboards and alerts ask it.
//!
//! Nothing here sleeps for a result: [`until`] waits for a condition with a deadline.

pub mod collector;
pub mod crew;
pub mod events;
pub mod mixture;
pub mod program;
pub mod prometheus;
pub mod queries;
pub mod scrape;
pub mod valve;

use std::time::{Duration, Instant};

pub use collector::{Collector, Span};
pub use crew::{Crew, Entry};
pub use events::Events;
pub use mixture::Mixture;
pub use program::{Answer, Program};
pub use prometheus::{Prometheus, Target};
pub use scrape::Scrape;
pub use tidemill_broker::conformance::server::RedisServer;
pub use valve::Valve;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until `condition` holds, at most for `deadline`.
///
/// # Panics
/// When it does not hold by then, with `what` was awaited.
#[allow(clippy::panic)] // a test fails by panicking
pub fn until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < deadline, "{what}: not within {deadline:?}");
        std::thread::sleep(LOOK_EVERY);
    }
}

//! What every process that serves a queue does for it: maintenance, and keeping an eye on its settings.

use std::sync::Arc;
use std::time::Duration;

use tidemill_broker::{BrokerError, Maintained};
use tidemill_core::State;
use tidemill_telemetry::task_log::{TaskEvent, TaskLine};
use tokio::time::{Instant, sleep};

use crate::executor::Shared;
use crate::link::within;

const MAINTAIN_EVERY: Duration = Duration::from_secs(1);
const SETTINGS_EVERY: Duration = Duration::from_secs(5);

/// Runs until it is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut refresh_at = Instant::now() + SETTINGS_EVERY;
    loop {
        sleep(MAINTAIN_EVERY.mul_f64(0.75 + rand::random::<f64>() / 2.0)).await;
        while maintain(&shared).await {
            tokio::task::yield_now().await;
        }
        if Instant::now() >= refresh_at {
            refresh_at = Instant::now() + SETTINGS_EVERY;
            refresh(&shared).await;
        }
    }
}

/// Whether more is left to do.
async fn maintain(shared: &Shared) -> bool {
    match within("maintain", shared.broker.maintain(&shared.options.queue)).await {
        Ok(done) => {
            shared.link.answered();
            tell(shared, &done);
            done.more
        }
        // The loop says so, and creates it where that is wanted.
        Err(BrokerError::UnknownQueue { .. }) => false,
        Err(error) => {
            shared.link.failed(&error);
            false
        }
    }
}

fn tell(shared: &Shared, done: &Maintained) {
    let queue = &shared.options.queue;
    if done.renewed {
        tracing::warn!(queue = queue.as_str(), "the store was away: all leases are renewed once");
    }
    for lost in &done.lost {
        let why = format!("worker {} was lost", lost.worker);
        let line = TaskLine { error: Some(&why), ..TaskLine::new(queue, &lost.task) };
        line.log(TaskEvent::Lost);
        match lost.state {
            State::Dead => line.log(TaskEvent::Dead),
            State::Cancelled => line.log(TaskEvent::Cancelled),
            _ => {}
        }
    }
}

async fn refresh(shared: &Shared) {
    match within("read settings", shared.broker.settings(&shared.options.queue)).await {
        Ok(settings) => shared.set_settings(settings),
        Err(error) => tracing::debug!(error = %error, "settings not refreshed"),
    }
}

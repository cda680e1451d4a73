//! Runs the broker's maintenance for every queue, each second, and says what was lost.

use std::time::Duration;

use tidemill_core::{QueueName, State};
use tidemill_telemetry::task_log::{TaskEvent, TaskLine};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::state::{App, Deadline, within};

/// How often each queue has its turn.
const EVERY: Duration = Duration::from_secs(1);
/// How many runs one queue may have in its turn: a backlog of some ten thousand due tasks a second.
const RUNS_MAX: usize = 20;

/// Maintains all queues until `stop`.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if !app.health.is_up() {
            continue;
        }
        let queues = match within(Deadline::now(), app.broker.queues()).await {
            Ok(queues) => queues,
            Err(error) => {
                tracing::debug!(%error, "the queues to maintain could not be read");
                continue;
            }
        };
        for queue in &queues {
            if stop.is_cancelled() {
                return;
            }
            maintain(&app, queue).await;
        }
    }
}

async fn maintain(app: &App, queue: &QueueName) {
    for _ in 0..RUNS_MAX {
        match within(Deadline::now(), app.broker.maintain(queue)).await {
            Ok(done) => {
                if done.renewed {
                    tracing::warn!(queue = queue.as_str(), "the store had been away: all leases were renewed once");
                }
                for lost in &done.lost {
                    let error = format!("worker {} was lost", lost.worker);
                    let line = TaskLine { error: Some(&error), ..TaskLine::new(queue, &lost.task) };
                    line.log(match lost.state {
                        State::Dead => TaskEvent::Dead,
                        State::Cancelled => TaskEvent::Cancelled,
                        _ => TaskEvent::Lost,
                    });
                }
                if !done.more {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, queue = queue.as_str(), "maintenance failed; the next turn tries again");
                return;
            }
        }
    }
}

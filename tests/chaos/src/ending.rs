//! Writes down where everything stands when it is over.

use std::collections::HashSet;
use std::time::Duration;

use tidemill::broker::contract::PAGE_MAX;
use tidemill::broker::{Broker, BrokerError, ListQuery, Result};
use tidemill::core::{QueueName, QueueStats, State};
use tokio::time::{Instant, sleep};

use crate::history::record::life;
use crate::history::{Record, Writer};

/// How often a queue is looked at that is to drain.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How many tasks are alive.
pub fn live(stats: &QueueStats) -> u64 {
    stats.pending + stats.delayed + stats.active + stats.retrying
}

/// Waits until nothing of `queue` is alive, at most until `deadline`. Whether nothing is.
pub async fn drained(broker: &dyn Broker, queue: &QueueName, deadline: Instant) -> Result<bool> {
    loop {
        match broker.stats(queue).await {
            Ok(stats) if live(&stats) == 0 => return Ok(true),
            Ok(_) if Instant::now() >= deadline => return Ok(false),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Ok(_) | Err(BrokerError::Unavailable { .. }) => sleep(LOOK_EVERY).await,
            Err(error) => return Err(error),
        }
    }
}

/// Writes down each task of `queue` where it stands, and the figures. Nothing may move meanwhile.
pub async fn write_down(broker: &dyn Broker, queue: &QueueName, history: &Writer) -> Result<()> {
    for state in State::ALL {
        let mut cursor = None;
        // A page may repeat what stood on the one before where times are equal; one state shows an id once.
        let mut shown = HashSet::new();
        loop {
            let query = ListQuery { state, task_type: None, cursor, limit: PAGE_MAX };
            let page = broker.list(queue, &query).await?;
            for task in page.tasks {
                if shown.insert(task.id.clone()) {
                    history.note(&Record::Kept {
                        queue: queue.to_string(),
                        task: task.id.to_string(),
                        life: life(&task.payload),
                        state: task.state,
                        failures: task.failures,
                        losses: task.losses,
                    });
                }
            }
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
    }
    let stats = broker.stats(queue).await?;
    history.note(&Record::Figures { queue: queue.to_string(), stats, last: true });
    Ok(())
}

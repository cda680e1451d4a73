//! The queue of this process, as its configuration wants it.
//!
//! A queue keeps its settings on the broker, so that all processes enforce the same. A queue that is new gets those of the
//! configuration. In one that is there already, what the configuration sets replaces what is kept; what it leaves at its
//! default stays as it is.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tidemill_broker::{Broker, BrokerError};
use tidemill_core::QueueSettings;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::settings::Queue;
use crate::process::Chosen;

/// How often it is tried again while the store is away.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// Makes the queue as the configuration wants it, as soon as the store answers.
pub async fn settle(
    broker: &Arc<dyn Broker>,
    queue: &Queue,
    chosen: &Chosen,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    loop {
        match once(broker, queue, chosen).await {
            Ok(()) => return Ok(()),
            Err(error) if error.downcast_ref().is_some_and(BrokerError::is_unavailable) => {}
            Err(error) => return Err(error.context(format!("the settings of queue {} cannot be set", queue.name))),
        }
        tokio::select! {
            () = sleep(TRY_EVERY) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

async fn once(broker: &Arc<dyn Broker>, queue: &Queue, chosen: &Chosen) -> anyhow::Result<()> {
    if broker.ensure_queue(&queue.name, &queue.settings).await? || chosen.is_empty() {
        return Ok(());
    }
    let kept = broker.settings(&queue.name).await?;
    let wanted = laid_over(&kept, chosen)?;
    if wanted != kept {
        broker.configure(&queue.name, &wanted).await?;
        tracing::info!(queue = queue.name.as_str(), "the settings of the queue are now those of the configuration");
    }
    Ok(())
}

fn laid_over(kept: &QueueSettings, chosen: &Chosen) -> serde_json::Result<QueueSettings> {
    let mut settings = serde_json::to_value(kept)?;
    lay_over(&mut settings, chosen);
    serde_json::from_value(settings)
}

fn lay_over(under: &mut Value, over: &Chosen) {
    for (name, value) in over {
        match value {
            Value::Object(inner) => lay_over(&mut under[name], inner),
            other => under[name] = other.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemill_core::Backoff;

    use super::*;

    #[test]
    fn what_is_set_replaces_what_is_kept_and_nothing_else_does() {
        let kept = QueueSettings { loss_limit: 9, ..QueueSettings::default() };
        let Value::Object(chosen) = serde_json::json!({ "retries": 3, "backoff": { "max_ms": 5 } }) else {
            unreachable!("an object")
        };
        let expected = QueueSettings { retries: 3, backoff: Backoff { max_ms: 5, ..kept.backoff }, ..kept };
        assert_eq!(laid_over(&kept, &chosen).unwrap(), expected);
    }
}

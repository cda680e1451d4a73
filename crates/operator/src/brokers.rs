//! Connections to brokers, shared by all TaskQueues that reach the same one in the same way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidemill_broker::{Access, Broker, BrokerError, Measured};
use tidemill_telemetry::metrics::Metrics;
use tokio::time::timeout;

/// How long closing a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections to brokers, each open as long as someone holds it. Their operations are counted together.
pub struct Brokers {
    open: Mutex<HashMap<Access, Shared>>,
    metrics: Arc<Metrics>,
}

struct Shared {
    broker: Arc<dyn Broker>,
    holders: usize,
}

impl Brokers {
    /// None yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { open: Mutex::default(), metrics }
    }

    /// The broker behind `access`. Whoever takes it gives it back with [`release`](Self::release).
    pub fn take(&self, access: &Access) -> Result<Arc<dyn Broker>, BrokerError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = open.get_mut(access) {
            shared.holders += 1;
            return Ok(shared.broker.clone());
        }
        let metrics = self.metrics.clone();
        let broker = Measured::over(tidemill_broker::connect_with(access)?, move |call| {
            metrics.broker_call(call.operation, call.took, call.error);
        });
        open.insert(access.clone(), Shared { broker: broker.clone(), holders: 1 });
        Ok(broker)
    }

    /// Gives it back; the last one closes it.
    pub async fn release(&self, access: &Access) {
        let last = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(shared) = open.get_mut(access) else { return };
            shared.holders -= 1;
            if shared.holders > 0 {
                return;
            }
            open.remove(access)
        };
        if let Some(shared) = last
            && timeout(CLOSE_TIMEOUT, shared.broker.close()).await.is_err()
        {
            tracing::warn!(broker = shared.broker.describe(), "a broker did not close in time");
        }
    }
}

//! A worker process of this harness, as any user of the library would write one, which writes down what it does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidemill::broker::connect;
use tidemill::{Broker, CancellationToken, Executor, ExecutorOptions, QueueName};

use super::{SHARED, TOLD, handlers, stop};
use crate::history::Writer;
use crate::recorder::Recorder;

/// Slots per queue.
const SLOTS: usize = 12;
/// How long what runs may go on after a SIGTERM: shorter than some tasks, so that some are given back.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// Runs until a SIGTERM.
pub async fn run(url: &str, folder: &Path, name: &str, skew_ms: i64) -> anyhow::Result<()> {
    let (stop, _listening) = stop::on_sigterm()?;
    let history = Writer::open(folder, name, skew_ms)?;
    let broker: Arc<dyn Broker> = Recorder::new(connect(url)?, history.clone());
    let registry = Arc::new(handlers::registry(&history)?);
    let executor = |queue: &str| -> anyhow::Result<Executor> {
        let options = ExecutorOptions {
            slots: SLOTS,
            shutdown_timeout: SHUTDOWN,
            worker_name: name.to_owned(),
            ..ExecutorOptions::new(QueueName::new(queue)?)
        };
        Ok(Executor::new(Arc::clone(&broker), Arc::clone(&registry), options))
    };
    let (shared, told) = (executor(SHARED)?, executor(TOLD)?);
    let never = CancellationToken::new;
    tokio::join!(shared.run(stop.clone(), never()), told.run(stop.clone(), never()));
    broker.close().await;
    Ok(())
}

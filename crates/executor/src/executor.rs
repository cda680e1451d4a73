//! Where an executor begins and ends.

use std::sync::Arc;

use tidemill_broker::Broker;
use tidemill_broker::contract::BATCH_MAX;
use tidemill_core::QueueSettings;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::instruments::Instruments;
use crate::link::Link;
use crate::options::ExecutorOptions;
use crate::progress::Board;
use crate::pulse::Pulse;
use crate::registry::Registry;
use crate::report::Report;
use crate::status::{Metrics, Status};
use crate::threads::Ground;
use crate::upkeep;
use crate::work::Work;

/// What the parts of an executor have in common.
pub(crate) struct Shared {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) options: ExecutorOptions,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) instruments: Instruments,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) link: Link,
    pub(crate) progress: Arc<Board>,
    settings: watch::Sender<QueueSettings>,
}

impl Shared {
    /// The queue's settings as last read.
    pub(crate) fn settings(&self) -> QueueSettings {
        *self.settings.borrow()
    }

    pub(crate) fn set_settings(&self, settings: QueueSettings) {
        self.settings.send_replace(settings);
    }
}

/// Runs the tasks of one queue on a number of slots.
pub struct Executor {
    shared: Arc<Shared>,
    pulse: Pulse,
}

impl Executor {
    /// An executor that is yet to [`run`](Executor::run).
    pub fn new(broker: Arc<dyn Broker>, registry: Arc<Registry>, mut options: ExecutorOptions) -> Self {
        options.slots = options.slots.clamp(1, BATCH_MAX);
        let (status, _) = watch::channel(Status {
            worker: None,
            reachable: false,
            active: 0,
            slots: options.slots,
            paused: false,
            draining: false,
            problem: None,
        });
        let shared = Shared {
            broker,
            instruments: Instruments::new(&options.queue, &registry.types()),
            registry,
            metrics: Arc::default(),
            link: Link::new(status.clone()),
            status,
            progress: Arc::default(),
            settings: watch::channel(options.settings).0,
            options,
        };
        Self { shared: Arc::new(shared), pulse: Pulse::new() }
    }

    /// Where it stands, now and from now on.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// Whether its loop turns, now and from now on.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// What it has done, now and from now on.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// Shows among `metrics` how tasks wait and run, how attempts end and how the store is spoken with. To be called once.
    pub fn show(&self, metrics: &tidemill_telemetry::metrics::Metrics) {
        self.shared.instruments.show(metrics);
    }

    /// Runs until it is told to end. `stop` begins the drain: nothing more is claimed, what runs may end within the
    /// shutdown timeout, the rest is released. `abort` ends it at once: what can be is released within half a second.
    pub async fn run(self, stop: CancellationToken, abort: CancellationToken) -> Report {
        let upkeep = AbortOnDropHandle::new(tokio::spawn(upkeep::run(Arc::clone(&self.shared))));
        let ground = Ground::lay(self.shared.options.threads);
        let work = Work::new(self.shared, ground.handle());
        let report = self.pulse.of(work.run(stop, abort)).await;
        drop((upkeep, ground));
        report
    }
}

//! What all handlers share, and how they reach the broker: within a deadline, and with the queue's name explained when
//! there is none of that name.

use std::collections::HashMap;
use std::future::Future;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidemill_broker::{Broker, BrokerError};
use tidemill_core::{QueueName, QueueSettings, suggest};
use tidemill_telemetry::metrics::Metrics;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Tokens;
use crate::error::{Answer, Refusal};
use crate::health::Health;
use crate::options::Options;
use crate::ui::Page;
use crate::ws::Hub;

/// WebSocket clients at a time.
pub(crate) const WS_CLIENTS_MAX: usize = 10_000;
/// In which a request is answered, whatever the store does: two seconds less what the way there and back takes.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_800);
/// How long settings of a queue are believed: a change of them reaches every API process within this.
const SETTINGS_FRESH: Duration = Duration::from_secs(5);
/// Queues whose settings are remembered.
const SETTINGS_KEPT: usize = 1_000;
/// Names offered in place of an unknown one.
const NAMES_OFFERED: usize = 3;

/// Until when a request must have its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(pub(crate) Instant);

impl Deadline {
    /// That of a request which came just now.
    pub(crate) fn now() -> Self {
        Self::after(ANSWER_WITHIN)
    }

    /// That of a request which may take so long.
    pub(crate) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }
}

/// What handlers share.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) options: Options,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<Health>,
    pub(crate) tokens: Tokens,
    pub(crate) hub: Hub,
    pub(crate) page: Page,
    pub(crate) ws_places: Arc<Semaphore>,
    pub(crate) sockets: TaskTracker,
    pub(crate) closing: CancellationToken,
    pub(crate) loopback: bool,
    settings: Mutex<HashMap<QueueName, (Instant, QueueSettings)>>,
}

impl Deref for App {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Whether a request may bring its queue into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Creation {
    /// It writes or watches: yes, where the installation says so.
    Allowed,
    /// It only looks: no, lest every typing error leave a queue behind.
    Never,
}

impl App {
    /// `loopback`: whether nobody but this machine reaches the server.
    pub(crate) fn new(
        options: Options,
        tokens: Tokens,
        broker: Arc<dyn Broker>,
        metrics: Arc<Metrics>,
        loopback: bool,
    ) -> Self {
        let page = Page::new(&options);
        metrics.broker_up(false);
        Self(Arc::new(Shared {
            hub: Hub::new(broker.clone(), metrics.ws_messages_behind()),
            health: Arc::new(Health::new(broker.describe(), options.worker.clone())),
            broker,
            options,
            metrics,
            tokens,
            page,
            ws_places: Arc::new(Semaphore::new(WS_CLIENTS_MAX)),
            sockets: TaskTracker::new(),
            closing: CancellationToken::new(),
            loopback,
            settings: Mutex::default(),
        }))
    }

    /// The queue that `named` picks, else the default one.
    pub(crate) fn queue(&self, named: Option<String>) -> Answer<QueueName> {
        match named {
            None => Ok(self.options.default_queue.clone()),
            Some(name) => QueueName::new(name).map_err(|error| Refusal::invalid("?queue", error.to_string())),
        }
    }

    /// Runs an operation on `queue`, creating the queue first where that is due.
    pub(crate) async fn on<T, F, Fut>(
        &self,
        deadline: Deadline,
        queue: &QueueName,
        creation: Creation,
        operation: F,
    ) -> Answer<T>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = tidemill_broker::Result<T>>,
    {
        let mut outcome = within(deadline, operation()).await;
        if matches!(outcome, Err(BrokerError::UnknownQueue { .. })) && self.creates(queue, creation) {
            let settings = &self.options.default_settings;
            outcome = match within(deadline, self.broker.ensure_queue(queue, settings)).await {
                Ok(_) => within(deadline, operation()).await,
                Err(error) => Err(error),
            };
        }
        match outcome {
            Ok(done) => Ok(done),
            Err(BrokerError::UnknownQueue { .. }) => Err(self.unknown_queue(deadline, queue).await),
            Err(error) => Err(error.into()),
        }
    }

    /// A read of `queue`.
    pub(crate) async fn read<T, F, Fut>(&self, queue: &QueueName, operation: F) -> Answer<T>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = tidemill_broker::Result<T>>,
    {
        self.on(Deadline::now(), queue, Creation::Never, operation).await
    }

    /// The settings of `queue`: those known of late, or of old where the store is out of reach.
    pub(crate) async fn settings(
        &self,
        deadline: Deadline,
        queue: &QueueName,
        creation: Creation,
    ) -> Answer<QueueSettings> {
        let known = self.known_settings().get(queue).copied();
        if let Some((at, settings)) = known
            && at.elapsed() < SETTINGS_FRESH
        {
            return Ok(settings);
        }
        let result = self.on(deadline, queue, creation, || self.broker.settings(queue)).await;
        let settings = match (result, known) {
            (Ok(settings), _) => settings,
            (Err(_), Some((_, settings))) if !self.health.is_up() => return Ok(settings),
            (Err(refusal), _) => return Err(refusal),
        };
        let mut kept = self.known_settings();
        if kept.len() >= SETTINGS_KEPT {
            kept.clear();
        }
        kept.insert(queue.clone(), (Instant::now(), settings));
        Ok(settings)
    }

    /// Forgets the settings of `queue`, which have changed.
    pub(crate) fn settings_changed(&self, queue: &QueueName) {
        self.known_settings().remove(queue);
    }

    fn known_settings(&self) -> std::sync::MutexGuard<'_, HashMap<QueueName, (Instant, QueueSettings)>> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn creates(&self, queue: &QueueName, creation: Creation) -> bool {
        *queue == self.options.default_queue || (self.options.creates_queues && creation == Creation::Allowed)
    }

    async fn unknown_queue(&self, deadline: Deadline, queue: &QueueName) -> Refusal {
        let names = within(deadline, self.broker.queues()).await.unwrap_or_default();
        let near = suggest::nearest(queue.as_str(), names.iter().map(QueueName::as_str), NAMES_OFFERED);
        let mut detail = format!("there is no queue {queue}");
        if !near.is_empty() {
            detail = format!("{detail}; did you mean {}?", near.join(" or "));
        }
        tidemill_core::Problem::new(404, "unknown-queue", "There is no such queue", detail).into()
    }
}

/// `operation`, given up at the deadline.
pub(crate) async fn within<T>(
    deadline: Deadline,
    operation: impl Future<Output = tidemill_broker::Result<T>>,
) -> tidemill_broker::Result<T> {
    timeout_at(deadline.0, operation).await.unwrap_or_else(|_| {
        Err(BrokerError::Unavailable { operation: "waiting for the store", reason: "no answer in time".to_owned() })
    })
}

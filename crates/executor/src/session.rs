//! An incarnation of this worker: its identity, its numbered exchanges, its lease.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidemill_broker::contract::BATCH_MAX;
use tidemill_broker::{BrokerError, Exchange};
use tidemill_core::{Claim, QueueSettings, Settlement, WorkerId, WorkerInfo};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::executor::Shared;
use crate::heartbeat::{self, Beat};
use crate::link::within;

/// Heartbeats that may wait for the loop: it takes each at once, so a few are plenty.
const BEATS: usize = 8;

/// A settlement on its way.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) claim: Arc<Claim>,
    pub(crate) settlement: Settlement,
}

/// An exchange whose outcome is not known yet.
#[derive(Debug)]
struct Open {
    request: Arc<Exchange>,
    claims: Vec<Arc<Claim>>,
    /// Since when an answer is due.
    since: Instant,
}

/// A registered incarnation.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: WorkerId,
    /// Whether it takes nothing more and only settles what it holds, because its lease has ended long ago.
    pub(crate) leaving: bool,
    number: u64,
    open: Option<Open>,
    renewed: Instant,
    /// Since when heartbeats are answered without a gap as long as a lease.
    heard_since: Instant,
    beats: mpsc::Receiver<Beat>,
    _heartbeat: AbortOnDropHandle<()>,
}

impl Session {
    /// Takes over a registration that was sent at `sent`, and keeps its lease from then on.
    pub(crate) fn new(shared: &Arc<Shared>, id: WorkerId, sent: Instant) -> Self {
        let (sender, beats) = mpsc::channel(BEATS);
        let heartbeat = AbortOnDropHandle::new(tokio::spawn(heartbeat::run(Arc::clone(shared), id, sender)));
        Self {
            id,
            leaving: false,
            number: 1,
            open: None,
            renewed: sent,
            heard_since: sent,
            beats,
            _heartbeat: heartbeat,
        }
    }

    /// The next heartbeat's answer. Safe to drop while it waits.
    pub(crate) async fn beat(&mut self) -> Beat {
        self.beats.recv().await.unwrap_or(Beat::Retired)
    }

    pub(crate) fn renewed(&mut self, at: Instant, settings: &QueueSettings) {
        if at > self.renewed + lease(settings) {
            self.heard_since = at;
        }
        self.renewed = self.renewed.max(at);
    }

    /// Whether an exchange's outcome is not known.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The exchange to send: the last one again while its outcome is not known, or else the next.
    /// The store may take until `at` before it has to answer.
    pub(crate) fn request(&mut self, due: &mut VecDeque<Due>, want: usize, at: Instant) -> Arc<Exchange> {
        if let Some(open) = &self.open {
            return Arc::clone(&open.request);
        }
        let batch = due.drain(..due.len().min(BATCH_MAX));
        let (claims, finished) = batch.map(|due| (due.claim, due.settlement)).unzip();
        let want = want.min(BATCH_MAX);
        let request = Arc::new(Exchange { worker: self.id, number: self.number, finished, want });
        self.open = Some(Open { request: Arc::clone(&request), claims, since: at });
        request
    }

    /// The outcome is known: what was sent, and since when an answer was due. The next exchange has the next number.
    pub(crate) fn answered(&mut self) -> Option<(Arc<Exchange>, Vec<Arc<Claim>>, Instant)> {
        let open = self.open.take()?;
        self.number += 1;
        Some((open.request, open.claims, open.since))
    }

    /// What was sent without the outcome being known, where this incarnation ends.
    pub(crate) fn abandoned(&mut self) -> Vec<Arc<Claim>> {
        self.open.take().map(|open| open.claims).unwrap_or_default()
    }

    /// When what runs is to be stopped, unless that is done: the lease has ended long ago.
    pub(crate) fn leaves_at(&self, settings: &QueueSettings, grace: Duration) -> Option<Instant> {
        (!self.leaving).then(|| self.renewed + lease(settings) + grace)
    }

    /// When this incarnation is to be given up: the store has long answered heartbeats, but not its exchange. While the
    /// store is away, never: the exchange may settle yet what ended.
    pub(crate) fn gives_up_at(&self, settings: &QueueSettings, grace: Duration) -> Option<Instant> {
        let asked = self.open.as_ref()?.since.max(self.heard_since);
        let at = asked + lease(settings) + grace;
        (self.renewed + lease(settings) >= at).then_some(at)
    }
}

fn lease(settings: &QueueSettings) -> Duration {
    Duration::from_millis(settings.lease_ms.into())
}

/// A new identity.
pub(crate) fn new_id() -> WorkerId {
    WorkerId::from_uuid(Uuid::new_v4())
}

/// Registers incarnation `id`, after `former` is ended in good order where it may still hold claims. Creates the queue
/// where that is wanted. Gives the queue's settings and the time from which the lease counts.
pub(crate) async fn open(
    shared: Arc<Shared>,
    id: WorkerId,
    former: Option<WorkerId>,
) -> Result<(WorkerId, QueueSettings, Instant), BrokerError> {
    let (broker, options) = (&shared.broker, &shared.options);
    let queue = &options.queue;
    if options.create_queue {
        within("create queue", broker.ensure_queue(queue, &options.settings)).await?;
    }
    let settings = within("read settings", broker.settings(queue)).await?;
    if let Some(former) = former {
        within("retire worker", broker.retire(queue, &former)).await?;
    }
    let info = WorkerInfo {
        id,
        name: options.worker_name.clone(),
        types: shared.registry.types(),
        slots: u32::try_from(options.slots).unwrap_or(u32::MAX),
        version: options.version.clone(),
    };
    let sent = Instant::now();
    within("register worker", broker.register(queue, &info)).await?;
    Ok((id, settings, sent))
}

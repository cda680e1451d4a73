//! The operator as a whole: contact, leadership, the controller, and the way down.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ApiResource;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::utils::Backoff;
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates, watcher};
use kube::{Api, Client, Resource, ResourceExt, discovery};
use tidemill_core::QueueOwner;
use tidemill_telemetry::LogLevel;
use tidemill_telemetry::metrics::Metrics;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::apply::Children;
use crate::crd::TaskQueue;
use crate::events::Events;
use crate::gauge::{Gauges, IsGone, Key};
use crate::http::{BindError, Health, OperatorServer, OperatorState, Phase, QueueFigures, ServeError};
use crate::leader::{Elector, LeaderOptions};
use crate::memo::Memos;
use crate::metrics::OperatorMetrics;
use crate::options::OperatorOptions;
use crate::plan::pod_monitor_resource;
use crate::reconcile::{Context, ReconcileError};

/// How many TaskQueues are reconciled at a time: enough that a slow API server is kept busy, few enough that it is not
/// stormed by the first turn of many hundred.
const CONCURRENCY: u16 = 16;
/// How many changed figures may wait for a reconciliation.
const CHANGES: usize = 4_096;
/// How often an API server that does not answer at the start is asked again.
const CONTACT_EVERY: Duration = Duration::from_secs(1);
/// How long one question to it may take.
const CONTACT_MAX: Duration = Duration::from_secs(5);
/// How long one reconciliation may take: many requests to a slow API server, or one whose connection is half dead.
const TURN_MAX: Duration = Duration::from_mins(1);
/// How often the API server is asked for `PodMonitors` before they count as unknown.
const DISCOVERIES: usize = 5;
/// How often the loop shows that it turns.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// How long reconciliations get to end when leadership is given back.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

const NOT_FOUND: u16 = 404;

type Guarded = DeserializeGuard<TaskQueue>;

/// Why an operator ended.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// HTTP could not listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// HTTP ended.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Another process leads now, or may soon.
    #[error(
        "leadership was lost: the Lease could not be renewed in time, so this process ends before another one leads"
    )]
    LeadershipLost,
    /// The cluster could not be told apart from others.
    #[error(
        "namespace {namespace} cannot be read, whose uid tells this cluster from others on the same broker: allow `get` on it, or set operator.cluster to a name of your own: {source}"
    )]
    Cluster {
        /// The namespace.
        namespace: String,
        /// Why not.
        source: Box<kube::Error>,
    },
    /// A watch ended by itself.
    #[error("the controller ended by itself")]
    Ended,
}

/// Where the operator listens.
#[derive(Debug, Clone)]
pub struct Listen {
    /// The address.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
}

/// What the operator shares with the process that it runs in.
#[derive(Debug, Clone)]
pub struct Process {
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is logged, where that may be changed over HTTP.
    pub log_level: Option<LogLevel>,
}

/// Runs until `stop`, or until leadership is lost.
pub async fn run(
    client: Client,
    options: OperatorOptions,
    listen: Listen,
    process: Process,
    stop: CancellationToken,
) -> Result<(), OperatorError> {
    let Process { metrics, log_level } = process;
    let own = Arc::new(OperatorMetrics::register(&metrics));
    let health = Arc::new(Health::new());
    let gauges: Arc<Mutex<Option<Arc<Gauges>>>> = Arc::default();
    let state = OperatorState {
        health: health.clone(),
        metrics: metrics.clone(),
        queues: figures(gauges.clone()),
        log_level: log_level.clone(),
    };
    let server = OperatorServer::bind(&listen.host, listen.port, state).await?;
    if let Some(address) = server.local_addr() {
        tracing::info!(%address, "the operator shows /livez, /readyz and /metrics");
    }
    // The server is the last to go, so that probes see what happens.
    let down = CancellationToken::new();
    let serving = tokio::spawn(server.run(down.clone()));
    let _down = down.clone().drop_guard();
    let turn = Turn { client, options, health: health.clone(), metrics: own, process: metrics, gauges, stop };
    let result = tokio::select! {
        result = turn.run() => result,
        never = keep(log_level) => never,
    };
    health.enter(Phase::Stopping);
    down.cancel();
    match serving.await {
        Ok(end) => result.and(end.map_err(OperatorError::from)),
        Err(error) => {
            tracing::error!(%error, "the HTTP server ended badly");
            result
        }
    }
}

/// Returns to the configured log level when its time comes; never ends.
async fn keep<T>(level: Option<LogLevel>) -> T {
    if let Some(level) = level {
        level.keep().await;
    }
    std::future::pending().await
}

fn figures(gauges: Arc<Mutex<Option<Arc<Gauges>>>>) -> QueueFigures {
    Arc::new(move || {
        let gauges = gauges.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        Box::pin(async move { gauges.map(|gauges| gauges.stats()).unwrap_or_default() })
    })
}

struct Turn {
    client: Client,
    options: OperatorOptions,
    health: Arc<Health>,
    metrics: Arc<OperatorMetrics>,
    process: Arc<Metrics>,
    gauges: Arc<Mutex<Option<Arc<Gauges>>>>,
    stop: CancellationToken,
}

impl Turn {
    async fn run(self) -> Result<(), OperatorError> {
        let beating = beat(self.health.clone());
        let working = async {
            if !self.contact().await {
                return Ok(());
            }
            let elector = Elector::new(
                self.client.clone(),
                LeaderOptions {
                    namespace: self.options.lease_namespace.clone(),
                    name: self.options.lease_name.clone(),
                    identity: self.options.identity.clone(),
                },
            );
            self.health.enter(Phase::Standby);
            self.metrics.leads(false);
            let Some(leadership) = elector.acquire(&self.stop).await else { return Ok(()) };
            self.metrics.leads(true);
            self.health.enter(Phase::Syncing);
            let lost = leadership.lost();
            let led = self.lead(&lost).await;
            self.metrics.leads(false);
            if lost.is_cancelled() {
                return Err(OperatorError::LeadershipLost);
            }
            leadership.release().await;
            led
        };
        tokio::select! {
            result = working => result,
            () = beating => Ok(()),
        }
    }

    /// Waits until the API server answers. Whether it did before this process was asked to end.
    async fn contact(&self) -> bool {
        let mut said = false;
        loop {
            let asked = tokio::select! {
                asked = timeout(CONTACT_MAX, self.client.apiserver_version()) => asked,
                () = self.stop.cancelled() => return false,
            };
            match asked {
                Ok(Ok(version)) => {
                    tracing::info!(version = version.git_version, "the API server answers");
                    self.health.answered();
                    return true;
                }
                Ok(Err(error)) if !said => tracing::warn!(%error, "the API server does not answer yet"),
                Err(_) if !said => tracing::warn!("the API server does not answer yet: no answer in time"),
                Ok(Err(_)) | Err(_) => {}
            }
            said = true;
            tokio::select! {
                () = sleep(CONTACT_EVERY) => {}
                () = self.stop.cancelled() => return false,
            }
        }
    }

    /// Reconciles until `stop` or `lost`.
    async fn lead(&self, lost: &CancellationToken) -> Result<(), OperatorError> {
        let Self { client, options, .. } = self;
        let cluster = self.cluster().await?;
        let namespace = options.namespace.as_deref();
        let api: Api<Guarded> = match namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let (children, watches) = Children::watch(client, namespace, self.pod_monitors().await);
        let (changed, news) = mpsc::channel(CHANGES);
        let gauges = Arc::new(Gauges::new(changed, is_gone(client.clone()), self.process.clone()));
        *self.gauges.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(gauges.clone());
        let context = Arc::new(Context {
            client: client.clone(),
            options: options.clone(),
            cluster,
            children,
            gauges: gauges.clone(),
            events: Events::new(client.clone(), &options.identity),
            metrics: self.metrics.clone(),
            memos: Memos::default(),
        });

        let writer = reflector::store::Writer::<Guarded>::new(());
        let reader = writer.as_reader();
        let task_queues = watcher(api, watcher::Config::default())
            .modify(|task_queue| task_queue.managed_fields_mut().clear())
            .default_backoff()
            .reflect(writer)
            .touched_objects()
            // The operator's own writes of the status are no news to it.
            .predicate_filter(
                Predicate::combine(predicates::generation, deleted).combine(predicates::finalizers),
                PredicateConfig::default(),
            );
        let ends = {
            let (stop, lost) = (self.stop.clone(), lost.clone());
            async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = lost.cancelled() => {}
                }
            }
        };
        let controller = Controller::for_stream(task_queues, reader)
            .with_config(Config::default().concurrency(CONCURRENCY))
            .trigger_backoff(NoPause)
            .reconcile_on(requests(news));
        let controller = watches.wire(controller).graceful_shutdown_on(ends);
        let health = self.health.clone();
        let caches = context.clone();
        let ready = async move {
            caches.children.ready().await;
            health.enter(Phase::Leading);
            tracing::info!("leading: every TaskQueue is looked after by this process");
            std::future::pending::<()>().await;
        };
        let running = controller.run(reconcile, failed, context.clone()).for_each(|done| async {
            match done {
                Ok(_) | Err(controller::Error::ReconcilerFailed(..)) => {}
                // Its finalizer was taken away by hand, or it went before its first turn.
                Err(controller::Error::ObjectNotFound(gone)) => {
                    context.forget(&(gone.namespace.unwrap_or_default(), gone.name)).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "a watch is interrupted; is the definition of TaskQueue installed?");
                }
            }
        });
        // Whoever lost leadership stops at once, in the middle of anything: another one may lead soon. What is given back
        // in order may end first what it is at.
        let over = async {
            tokio::select! {
                () = self.stop.cancelled() => sleep(STOP_TIMEOUT).await,
                () = lost.cancelled() => {}
            }
        };
        tokio::select! {
            () = running => {}
            () = over => tracing::warn!("reconciliations were cut short"),
            () = ready => {}
        }
        gauges.forget_all().await;
        self.metrics.forget_all();
        if self.stop.is_cancelled() || lost.is_cancelled() { Ok(()) } else { Err(OperatorError::Ended) }
    }

    async fn cluster(&self) -> Result<String, OperatorError> {
        if let Some(cluster) = &self.options.cluster {
            return Ok(cluster.clone());
        }
        let namespace = self.options.namespace.clone().unwrap_or_else(|| "kube-system".to_owned());
        let api = Api::<Namespace>::all(self.client.clone());
        match api.get(&namespace).await {
            Ok(found) => Ok(found.uid().unwrap_or_default()),
            Err(source) => Err(OperatorError::Cluster { namespace, source: Box::new(source) }),
        }
    }

    /// How the API server calls PodMonitors, if it knows them.
    async fn pod_monitors(&self) -> Option<ApiResource> {
        let wanted = pod_monitor_resource();
        let group = kube::core::GroupVersionKind::gvk(&wanted.group, &wanted.version, &wanted.kind);
        for _ in 0..DISCOVERIES {
            match timeout(CONTACT_MAX, discovery::pinned_kind(&self.client, &group)).await {
                Ok(Ok((resource, _))) => return Some(resource),
                // A group that nobody serves is answered in plain text, which has no reason.
                Ok(Err(kube::Error::Api(status))) if status.code == NOT_FOUND => break,
                Ok(Err(kube::Error::Discovery(_))) => break,
                Ok(Err(error)) => tracing::warn!(%error, "it is not known yet whether there are PodMonitors here"),
                Err(_) => tracing::warn!("it is not known yet whether there are PodMonitors here: no answer in time"),
            }
            sleep(CONTACT_EVERY).await;
        }
        tracing::info!("no PodMonitors here: worker pods get none until the next leader looks");
        None
    }
}

/// Each watch pauses by itself when it fails. The controller's own pause would silence all of them, and the gauges, for
/// the failure of one.
struct NoPause;

impl Iterator for NoPause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

impl Backoff for NoPause {
    fn reset(&mut self) {}
}

/// Whether it is being deleted, beside the generation.
#[allow(clippy::unnecessary_wraps)] // as a predicate is
fn deleted(task_queue: &Guarded) -> Option<u64> {
    Some(u64::from(task_queue.meta().deletion_timestamp.is_some()))
}

fn requests(mut changes: mpsc::Receiver<Key>) -> impl futures::Stream<Item = ObjectRef<Guarded>> + Send + 'static {
    futures::stream::poll_fn(move |context| changes.poll_recv(context))
        .map(|(namespace, name)| ObjectRef::new(&name).within(&namespace))
}

async fn reconcile(task_queue: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let began = Instant::now();
    let result = match &task_queue.0 {
        Ok(task_queue) => {
            let turn = Box::pin(context.reconcile(Arc::new(task_queue.clone())));
            timeout(TURN_MAX, turn).await.unwrap_or(Err(ReconcileError::Late(TURN_MAX)))
        }
        // The schema refuses what does not parse, unless it is of another version than this program.
        Err(invalid) => {
            let (namespace, name) = (invalid.metadata.namespace.clone(), invalid.metadata.name.clone());
            tracing::error!(namespace, name, error = %invalid.error, "a TaskQueue cannot be read and is left alone");
            context.metrics.failed("unreadable");
            Ok(Action::await_change())
        }
    };
    context.metrics.reconciled(began.elapsed());
    result
}

#[allow(clippy::needless_pass_by_value)] // as the controller calls it
fn failed(task_queue: Arc<Guarded>, error: &ReconcileError, context: Arc<Context>) -> Action {
    if let Some(kind) = error.kind() {
        context.metrics.failed(kind);
        tracing::warn!(namespace = task_queue.namespace(), name = task_queue.name_any(), %error, "a reconciliation failed");
    }
    Action::requeue(error.again())
}

/// A record names a TaskQueue that is no more, if the API server says so for certain.
fn is_gone(client: Client) -> IsGone {
    Arc::new(move |owner: QueueOwner| -> BoxFuture<'static, bool> {
        let api = Api::<TaskQueue>::namespaced(client.clone(), &owner.namespace);
        Box::pin(async move {
            match api.get_metadata_opt(&owner.name).await {
                Ok(found) => found.is_none(),
                Err(error) => {
                    tracing::debug!(%error, "it is not known whether the TaskQueue that owns a queue is there");
                    false
                }
            }
        })
    })
}

async fn beat(health: Arc<Health>) {
    let mut beats = interval(BEAT_EVERY);
    loop {
        beats.tick().await;
        health.beat();
    }
}

//! One reconciliation: dereference, validate, plan, apply, status.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{self, Event, finalizer};
use kube::{Api, Client, ResourceExt};
use rand::Rng;
use tidemill_core::{QueueName, QueueOwner};
use tokio::time::Instant;

use crate::apply::{self, ApplyError, Children, Owner};
use crate::crd::{FINALIZER, ScalingMode, TaskQueue, TaskQueueStatus, reason};
use crate::dereference::{Dereferenced, dereference};
use crate::events::{Events, Happened};
use crate::finalize::finalize;
use crate::gauge::{Gauges, Key, Pause, Reading, Target};
use crate::memo::{Memos, key};
use crate::metrics::{OperatorMetrics, TaskQueueFigures};
use crate::options::OperatorOptions;
use crate::plan::{self, BrokerAccess, Inputs, Names, plan};
use crate::scale::{Limit, Mode, Policy};
use crate::status::{self, Observed, Trouble};
use crate::validate::validate;

/// How often everything is looked at again although nothing was heard: Secrets are not watched.
const RESYNC: Duration = Duration::from_mins(1);
/// How often a Secret is looked for that is missing.
const MISSING_EVERY: Duration = Duration::from_secs(5);
/// How often an object is looked for that is on its way out.
const GOING_EVERY: Duration = Duration::from_secs(1);
/// How long to wait before what failed is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// How often figures that change by themselves are written.
const FIGURES_EVERY: Duration = Duration::from_secs(5);

/// What all reconciliations share.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) options: OperatorOptions,
    pub(crate) cluster: String,
    pub(crate) children: Children,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) events: Events,
    pub(crate) metrics: Arc<OperatorMetrics>,
    pub(crate) memos: Memos,
}

/// Why a reconciliation is not at its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// The API server refused a request, or did not answer.
    #[error("the API server: {0}")]
    Api(#[source] Box<kube::Error>),
    /// It took too long.
    #[error("it was not done within {0:?}")]
    Late(Duration),
    /// Worker pods are still there.
    #[error("{left} worker pods are draining")]
    Draining {
        /// How many.
        left: usize,
        /// When to look again.
        again: Duration,
    },
    /// The finalizer could not be set or taken away.
    #[error("the finalizer: {0}")]
    Finalizer(#[source] Box<finalizer::Error<ReconcileError>>),
}

impl ReconcileError {
    /// The kind, as a metric names it. `None`: this is no error.
    pub(crate) fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Api(_) => Some("api"),
            Self::Late(_) => Some("timeout"),
            Self::Draining { .. } => None,
            Self::Finalizer(error) => match &**error {
                finalizer::Error::ApplyFailed(inner) | finalizer::Error::CleanupFailed(inner) => inner.kind(),
                _ => Some("finalizer"),
            },
        }
    }

    /// When to try again.
    pub(crate) fn again(&self) -> Duration {
        match self {
            Self::Api(_) | Self::Late(_) => spread(RETRY_EVERY),
            Self::Draining { again, .. } => *again,
            Self::Finalizer(error) => match &**error {
                finalizer::Error::ApplyFailed(inner) | finalizer::Error::CleanupFailed(inner) => inner.again(),
                _ => spread(RETRY_EVERY),
            },
        }
    }
}

impl Context {
    /// Who claims a queue for `task_queue`.
    pub(crate) fn owner(&self, task_queue: &TaskQueue) -> QueueOwner {
        QueueOwner {
            cluster: self.cluster.clone(),
            namespace: task_queue.namespace().unwrap_or_default(),
            name: task_queue.name_any(),
            uid: task_queue.uid().unwrap_or_default(),
        }
    }

    /// One turn for one TaskQueue.
    pub(crate) async fn reconcile(&self, task_queue: Arc<TaskQueue>) -> Result<Action, ReconcileError> {
        // Whoever does not know yet what is there would make it anew.
        self.children.ready().await;
        self.metrics.depth(self.gauges.waiting());
        let api = Api::<TaskQueue>::namespaced(self.client.clone(), &task_queue.namespace().unwrap_or_default());
        let turn = async |event| match event {
            Event::Apply(task_queue) => Box::pin(self.apply(task_queue)).await,
            Event::Cleanup(task_queue) => finalize(task_queue, self).await,
        };
        match finalizer(&api, FINALIZER, task_queue, turn).await {
            Ok(action) => Ok(action),
            // Whoever deleted it, or changed it meanwhile: that change brings the next turn.
            Err(
                finalizer::Error::AddFinalizer(kube::Error::Api(status))
                | finalizer::Error::RemoveFinalizer(kube::Error::Api(status)),
            ) if status.is_not_found() => Ok(Action::await_change()),
            Err(error) => Err(ReconcileError::Finalizer(Box::new(error))),
        }
    }

    async fn apply(&self, task_queue: Arc<TaskQueue>) -> Result<Action, ReconcileError> {
        let turn = Box::pin(self.stages(&task_queue)).await;
        self.say(&task_queue, turn).await
    }

    /// The stages up to the status. What stops one of them is part of what is found.
    async fn stages(&self, task_queue: &Arc<TaskQueue>) -> Turn {
        let names = Names::of(&task_queue.name_any());
        let namespace = task_queue.namespace().unwrap_or_default();
        let memo = self.memos.of(task_queue);
        let mut turn = Turn {
            found: None,
            reading: Reading::Waiting,
            deployment: newest(self.children.deployments.get(&namespace, &names.worker), memo.deployment),
            trouble: None,
            again: spread(RESYNC),
            scaled: memo.scaled,
        };
        let found = match dereference(&self.client, &self.options, task_queue).await {
            Ok(found) => found,
            Err(missing) => {
                turn.stopped(missing.reason(), missing.to_string(), MISSING_EVERY);
                return turn;
            }
        };
        let valid = match validate(task_queue) {
            Ok(valid) => valid,
            Err(invalid) => {
                turn.stopped(reason::INVALID_SPEC, invalid.to_string(), RESYNC);
                return turn;
            }
        };
        let target = self.target(task_queue, &found, &valid.queue, turn.deployment.as_deref());
        turn.reading = self.gauges.follow(&key(task_queue), target.clone());
        turn.found = Some(found.clone());
        let Some(replicas) = replicas(task_queue, &turn.reading, turn.deployment.as_deref()) else {
            return turn;
        };
        let objects = Box::new(plan(&Inputs {
            task_queue,
            queue: &valid.queue,
            replicas,
            broker: match &task_queue.spec.broker {
                Some(broker) => BrokerAccess::Own(broker),
                None => BrokerAccess::Installation(&found.access),
            },
            broker_checksum: &found.checksum,
            default_image: &self.options.worker_image,
            network_policies: self.options.network_policies,
            traces: self.options.traces.as_ref(),
            pod_monitors: self.children.pod_monitors.is_some(),
            template: &valid.template,
        }));
        match self.make(task_queue, &objects, &turn, replicas).await {
            Ok(deployment) => {
                let before = target.replicas.unwrap_or(0);
                if before != replicas {
                    turn.scaled = Some((turn.scaled.map_or(before, |(from, _)| from), replicas));
                }
                self.memos.note(task_queue, |memo| {
                    memo.deployment = Some(deployment.clone());
                    memo.scaled = turn.scaled;
                });
                self.gauges.follow(&key(task_queue), Target { replicas: Some(replicas), ..target });
                turn.deployment = Some(deployment);
            }
            // What an earlier TaskQueue of this name left is on its way out.
            Err(error @ ApplyError::Going { .. }) => turn.stopped(reason::PENDING, error.to_string(), GOING_EVERY),
            Err(error) => turn.stopped(
                if error.is_outage() { reason::API_ERROR } else { reason::APPLY_FAILED },
                error.to_string(),
                RETRY_EVERY,
            ),
        }
        turn
    }

    /// Applies what was planned. When there are to be fewer pods, those with the least to do are marked to go first.
    async fn make(
        &self,
        task_queue: &TaskQueue,
        objects: &plan::Objects,
        turn: &Turn,
        replicas: u32,
    ) -> Result<Arc<Deployment>, ApplyError> {
        let (namespace, name) = key(task_queue);
        let uid = task_queue.uid().unwrap_or_default();
        let owner = Owner { namespace: &namespace, name: &name, uid: &uid };
        if deployed(turn.deployment.as_deref()).is_some_and(|before| replicas > 0 && replicas < before)
            && let Reading::Live(seen) = &turn.reading
        {
            // A hint: without it, busy pods drain as well.
            if let Err(error) = apply::mark(&self.client, &namespace, &name, &seen.busy).await {
                tracing::warn!(namespace, name, %error, "idle worker pods cannot be marked to go first");
            }
        }
        let deployment = self.children.apply_all(owner, objects).await?;
        // An earlier spec may have used the installation's broker. Secrets are not watched, so this is looked at once.
        let needless = objects.secret.is_none();
        if needless && !self.memos.of(task_queue).copy_gone && self.options.offers_broker_to(&namespace) {
            self.children.delete_secret(owner).await?;
        }
        self.memos.note(task_queue, |memo| memo.copy_gone = needless);
        Ok(deployment)
    }

    fn target(
        &self,
        task_queue: &TaskQueue,
        found: &Dereferenced,
        queue: &QueueName,
        deployment: Option<&Deployment>,
    ) -> Target {
        if task_queue.spec.paused {
            self.memos.note(task_queue, |memo| memo.held = true);
        }
        let memo = self.memos.of(task_queue);
        let said = memo.status.as_ref().map(|(status, _)| status).or(task_queue.status.as_ref());
        let held = memo.held || said.is_some_and(|status| status.paused);
        let ready = deployment.and_then(|deployment| deployment.status.as_ref()?.ready_replicas).unwrap_or(0);
        Target {
            access: found.access.clone(),
            queue: queue.clone(),
            owner: self.owner(task_queue),
            spec: Arc::new(task_queue.spec.clone()),
            pause: match (task_queue.spec.paused, held) {
                (true, _) => Pause::Hold,
                (false, true) => Pause::Lift,
                (false, false) => Pause::LeaveAlone,
            },
            policy: policy(task_queue),
            replicas: deployed(deployment),
            ready: ready.unsigned_abs(),
        }
    }

    /// Writes the status where it says something new, tells Events of it, and says when to come again.
    async fn say(&self, task_queue: &TaskQueue, turn: Turn) -> Result<Action, ReconcileError> {
        // A new leader has not asked the broker yet; what the one before it said holds until then.
        let unknown = matches!(turn.reading, Reading::Waiting) && turn.trouble.is_none();
        let said = task_queue.status.as_ref().and_then(|status| status.observed_generation);
        if unknown && said.is_some() && said == task_queue.metadata.generation {
            return Ok(Action::requeue(turn.again));
        }
        let queue = task_queue.spec.queue.clone().unwrap_or_else(|| task_queue.name_any());
        let observed = Observed {
            queue: &queue,
            broker: turn.found.as_ref().map(|found| found.access.shown_url()),
            image: turn.deployment.as_deref().and_then(image),
            reading: &turn.reading,
            deployment: turn.deployment.as_deref(),
            trouble: turn.trouble.clone(),
            scaled: turn.scaled,
            now: k8s_openapi::jiff::Timestamp::now(),
        };
        let (before, age) = match self.memos.of(task_queue).status {
            Some((status, at)) => (Some(status), at.elapsed()),
            None => (task_queue.status.clone(), FIGURES_EVERY),
        };
        let after = status::status(task_queue, before.clone().unwrap_or_default(), &observed);
        self.show(task_queue, &turn.reading, &after);
        let mut again = turn.again;
        let (new, figures) = match &before {
            Some(before) => (status::differs(before, &after), *before != after),
            None => (true, true),
        };
        if new || figures && age >= FIGURES_EVERY {
            status::write(&self.client, task_queue, &after)
                .await
                .map_err(|error| ReconcileError::Api(Box::new(error)))?;
            self.memos.note(task_queue, |memo| {
                memo.status = Some((after.clone(), Instant::now()));
                memo.scaled = None;
                memo.held = task_queue.spec.paused || memo.held && !is_lifted(&turn.reading);
            });
        } else if figures {
            again = again.min(FIGURES_EVERY.saturating_sub(age));
        }
        if let Some((from, to)) = turn.scaled {
            let why = after.scaling.as_ref().map(|decision| decision.reason.to_string()).unwrap_or_default();
            let note = format!("worker pods from {from} to {to}: {why}");
            tracing::info!(namespace = task_queue.namespace(), name = task_queue.name_any(), from, to, "{note}");
            let happened = Happened { action: format!("ScaledTo{to}"), ..Happened::normal("Scaled", note) };
            self.events.tell(task_queue, &happened).await;
        }
        for happened in changes(before.as_ref(), &after) {
            self.events.tell(task_queue, &happened).await;
        }
        Ok(Action::requeue(again))
    }

    fn show(&self, task_queue: &TaskQueue, reading: &Reading, status: &TaskQueueStatus) {
        let (namespace, name) = key(task_queue);
        let fresh = match reading {
            Reading::Live(seen) => Some(&seen.stats),
            _ => None,
        };
        let scaling = &task_queue.spec.scaling;
        let figures = TaskQueueFigures {
            desired: status.scaling.as_ref().map_or(0, |decision| decision.replicas),
            ready: status.ready_replicas.unsigned_abs(),
            limits: (scaling.mode == ScalingMode::Auto)
                .then(|| (scaling.min_replicas.unsigned_abs(), scaling.max_replicas.unsigned_abs())),
            at_max: status.scaling.as_ref().is_some_and(|decision| decision.limited_by == Some(Limit::MaxReplicas)),
            target_wait: Duration::from_secs(scaling.target_wait_seconds.unsigned_abs().into()),
            broker_up: match reading {
                Reading::Waiting => None,
                Reading::Unreachable { .. } => Some(false),
                Reading::Conflict(_) | Reading::Unfit(_) | Reading::Live(_) => Some(true),
            },
            pending: fresh.map(|stats| stats.pending),
            oldest: fresh.map(|stats| Duration::from_millis(stats.oldest_pending_ms.unwrap_or(0))),
        };
        self.metrics.task_queue(&namespace, &name, figures);
    }

    /// Ends what this process does for a TaskQueue that is no more.
    pub(crate) async fn forget(&self, key: &Key) {
        self.gauges.forget(key).await;
        self.memos.forget(key);
        let (namespace, name) = key;
        let names = Names::of(name);
        self.children.forget(namespace, &[&names.worker, &names.api, &names.broker_secret]);
        self.metrics.forget(namespace, name);
    }
}

/// Whether the broker no longer holds claims back for the TaskQueue's sake.
fn is_lifted(reading: &Reading) -> bool {
    matches!(reading, Reading::Live(seen) if !seen.stats.paused)
}

/// The newer of the Deployment that was watched and the one that was applied, if they are the same object.
fn newest(watched: Option<Arc<Deployment>>, applied: Option<Arc<Deployment>>) -> Option<Arc<Deployment>> {
    match (watched, applied) {
        (Some(watched), Some(applied))
            if watched.metadata.uid == applied.metadata.uid
                && watched.metadata.generation < applied.metadata.generation =>
        {
            Some(applied)
        }
        (watched, _) => watched,
    }
}

/// What the stages came to.
struct Turn {
    found: Option<Dereferenced>,
    reading: Reading,
    deployment: Option<Arc<Deployment>>,
    trouble: Option<Trouble>,
    again: Duration,
    scaled: Option<(u32, u32)>,
}

impl Turn {
    fn stopped(&mut self, reason: &'static str, message: String, again: Duration) {
        self.trouble = Some(Trouble { reason, message });
        self.again = again;
    }
}

/// How many worker pods to ask for. `None`: it is not known yet whether this TaskQueue may serve the queue.
fn replicas(task_queue: &TaskQueue, reading: &Reading, deployment: Option<&Deployment>) -> Option<u32> {
    let there = deployed(deployment);
    match reading {
        Reading::Conflict(_) => None,
        // Without figures the pods stay as many as they are, and by hand they may still be changed.
        Reading::Waiting | Reading::Unfit(_) | Reading::Unreachable { .. } => {
            there.map(|there| match policy(task_queue).mode {
                Mode::Manual { replicas } => replicas,
                Mode::Auto => there,
            })
        }
        Reading::Live(seen) => Some(match policy(task_queue).mode {
            Mode::Manual { replicas } => replicas,
            Mode::Auto => seen.decision.replicas,
        }),
    }
}

fn policy(task_queue: &TaskQueue) -> Policy {
    let spec = &task_queue.spec;
    let scaling = &spec.scaling;
    let seconds = |number: i32| Duration::from_secs(u64::from(number.unsigned_abs()));
    Policy {
        mode: match scaling.mode {
            ScalingMode::Auto => Mode::Auto,
            ScalingMode::Manual => Mode::Manual { replicas: spec.replicas.unsigned_abs() },
        },
        min_replicas: scaling.min_replicas.unsigned_abs(),
        max_replicas: scaling.max_replicas.unsigned_abs(),
        target_wait: seconds(scaling.target_wait_seconds),
        backlog_per_slot: scaling.backlog_per_slot.map(i32::unsigned_abs),
        stabilization: seconds(scaling.scale_down.stabilization_seconds),
        max_step: scaling.scale_up.max_step.map(i32::unsigned_abs),
        slots_per_pod: spec.worker.workers_limit.unsigned_abs(),
    }
}

fn deployed(deployment: Option<&Deployment>) -> Option<u32> {
    let replicas = deployment?.spec.as_ref()?.replicas?;
    Some(replicas.unsigned_abs())
}

fn image(deployment: &Deployment) -> Option<String> {
    let containers = &deployment.spec.as_ref()?.template.spec.as_ref()?.containers;
    containers.iter().find(|container| container.name == plan::WORKER_CONTAINER)?.image.clone()
}

/// What changed from one status to the next, as far as someone should be told.
fn changes(before: Option<&TaskQueueStatus>, after: &TaskQueueStatus) -> Vec<Happened> {
    let of = |status: Option<&TaskQueueStatus>| {
        let conditions = status.into_iter().flat_map(|status| status.conditions.iter());
        conditions.map(|condition| (condition.type_.clone(), condition.reason.clone())).collect::<Vec<_>>()
    };
    let known = of(before);
    let told = after.conditions.iter().filter(|condition| {
        condition.type_ == crate::crd::condition::READY
            && ![reason::PENDING, reason::ROLLING_OUT].contains(&condition.reason.as_str())
            && !known.contains(&(condition.type_.clone(), condition.reason.clone()))
    });
    let happened = |condition: &Condition| {
        let as_it_should_be = condition.status == "True";
        let make = if as_it_should_be { Happened::normal } else { Happened::warning };
        make(&condition.reason, condition.message.clone())
    };
    told.map(happened).collect()
}

/// A little sooner, each time by another part, so that many TaskQueues are not all looked at at once.
fn spread(every: Duration) -> Duration {
    every.mul_f64(rand::rng().random_range(0.8..1.0))
}

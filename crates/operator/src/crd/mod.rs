//! The `TaskQueue` resource, `tidemill.dev/v1alpha1`.
//!
//! The types here are the source of the CustomResourceDefinition: every bound, default and enumeration stands in its
//! schema, and a CEL rule with a sentence judges what spans fields, so that `kubectl apply` refuses nonsense by itself.
//! Every text and list that a rule reads is bounded: the API server refuses a rule whose cost it cannot bound.

#![allow(unreachable_pub)] // the derive of `KubeSchema` repeats a struct, with its visibility, within a function

mod api;
mod broker;
mod defaults;
mod handlers;
mod manifest;
mod policy;
mod scaling;
mod status;
mod worker;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use tidemill_core::QueueName;

pub use api::{ApiForm, ApiSpec};
pub use broker::{BrokerSpec, SecretKey, TlsSpec};
pub use defaults::{BackoffSpec, KeepSpec, RetentionSpec, RetrySpec};
pub use handlers::{HandlerSpec, HandlerVariable};
pub use manifest::manifest;
pub use policy::DeletionPolicy;
pub use scaling::{ScaleDownSpec, ScaleUpSpec, ScalingMode, ScalingSpec};
pub use status::{QueueFigures, SCALINGS_MAX, Scaling, TaskQueueStatus, condition, reason};
pub use worker::{PullPolicy, WorkerSpec};

/// The API group.
pub const GROUP: &str = "tidemill.dev";
/// The name of the CustomResourceDefinition.
pub const CRD_NAME: &str = "taskqueues.tidemill.dev";
/// Who owns the fields that the operator applies.
pub const FIELD_MANAGER: &str = "tidemill";
/// Who owns the fields of the status.
pub const STATUS_MANAGER: &str = "tidemill-status";
/// Keeps a deleted TaskQueue until its workers have drained.
pub const FINALIZER: &str = "tidemill.dev/drain";

/// A queue, and the worker pods that run its tasks.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tidemill.dev",
    version = "v1alpha1",
    kind = "TaskQueue",
    plural = "taskqueues",
    namespaced,
    shortname = "tq",
    category = "all",
    status = "TaskQueueStatus",
    derive = "PartialEq",
    doc = "A queue of tasks, and the worker pods that come and go with its work.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        description = "Whether the queue is served as it should be",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Replicas", type_ = "integer", description = "Worker pods", json_path = ".status.replicas"),
    printcolumn(
        name = "Pending",
        type_ = "integer",
        description = "Tasks that wait for a slot",
        json_path = ".status.queue.pending"
    ),
    printcolumn(
        name = "Active",
        type_ = "integer",
        description = "Tasks that run",
        json_path = ".status.queue.active"
    ),
    printcolumn(
        name = "Oldest",
        type_ = "string",
        description = "How long the head of the queue has waited",
        json_path = ".status.queue.oldest"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Broker",
        type_ = "string",
        priority = 1,
        description = "Where the tasks are kept",
        json_path = ".status.broker"
    ),
    printcolumn(
        name = "Image",
        type_ = "string",
        priority = 1,
        description = "The image of the worker pods",
        json_path = ".status.image"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        description = "Why it is ready, or not",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    validation = Rule::new("self.metadata.name.size() <= 50 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be 1 to 50 lower-case letters, digits and '-', begin with a letter and end with a letter or digit: the names of its objects are made of it")
)]
#[x_kube(
    validation = Rule::new("has(self.queue) == has(oldSelf.queue) && (!has(self.queue) || self.queue == oldSelf.queue)")
        .message("queue can neither change nor appear nor go: create another TaskQueue instead"),
    validation = Rule::new("self.scaling.mode == 'Manual' || oldSelf.scaling.mode == 'Manual' || self.replicas == oldSelf.replicas")
        .message("replicas counts in mode Manual alone: set scaling.mode: Manual to scale by hand or by an HPA")
)]
#[serde(rename_all = "camelCase")]
pub struct TaskQueueSpec {
    /// The queue's name on the broker. Default: metadata.name. One TaskQueue alone serves a queue; a second one says
    /// `QueueConflict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"))]
    pub queue: Option<String>,
    /// Where the tasks are kept. Default: the broker of the installation, where it is offered to this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<BrokerSpec>,
    /// The worker pods.
    #[serde(default)]
    pub worker: WorkerSpec,
    /// Task types of one's own, beside the built-in ones: each is served by a command in the workers' image, or by a URL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub handlers: Vec<HandlerSpec>,
    /// How many worker pods there are.
    #[serde(default)]
    pub scaling: ScalingSpec,
    /// Worker pods in mode Manual. Written by `kubectl scale` or by a HorizontalPodAutoscaler.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// Workers stop claiming tasks. Nothing is lost, and what runs goes on to its end.
    #[serde(default)]
    pub paused: bool,
    /// What becomes of the queue's tasks when this resource is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// What is kept of tasks that ended.
    #[serde(default)]
    pub retention: RetentionSpec,
    /// Retries of tasks that name none.
    #[serde(default)]
    pub retry: RetrySpec,
    /// How long an attempt may take of a task that says nothing of it, in seconds.
    #[serde(default = "an_hour")]
    #[schemars(range(min = 1, max = 604_800))]
    pub timeout_seconds: i64,
    /// An API of this queue's own. Default: the shared API of the installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiSpec>,
}

fn one() -> i32 {
    1
}

fn an_hour() -> i64 {
    3_600
}

impl Default for TaskQueueSpec {
    fn default() -> Self {
        Self {
            queue: None,
            broker: None,
            worker: WorkerSpec::default(),
            handlers: Vec::new(),
            scaling: ScalingSpec::default(),
            replicas: one(),
            paused: false,
            deletion_policy: DeletionPolicy::default(),
            retention: RetentionSpec::default(),
            retry: RetrySpec::default(),
            timeout_seconds: an_hour(),
            api: None,
        }
    }
}

impl TaskQueue {
    /// The queue's name on the broker: what the spec says, else the name of the resource.
    pub fn queue_name(&self) -> Result<QueueName, tidemill_core::NameError> {
        QueueName::new(self.spec.queue.as_deref().or(self.metadata.name.as_deref()).unwrap_or_default())
    }
}

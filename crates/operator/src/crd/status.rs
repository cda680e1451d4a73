//! What the operator says of a TaskQueue.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scale::Decision;

/// What the operator last saw and decided.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskQueueStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Progressing`, `Degraded`, `BrokerReachable` and `ScalingActive`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Worker pods.
    pub replicas: i32,
    /// Worker pods that are ready.
    pub ready_replicas: i32,
    /// The labels of the worker pods, as a selector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Where the tasks are kept, without secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    /// The image of the worker pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Whether the pause that the spec asks for is in force.
    pub paused: bool,
    /// The queue at a glance, a few seconds old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueFigures>,
    /// How many worker pods there should be, and what that was decided on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Decision>,
    /// The last changes of that number, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub scalings: Vec<Scaling>,
}

/// Changes of the number of worker pods that a status remembers.
pub const SCALINGS_MAX: usize = 10;

/// A change of the number of worker pods.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// When.
    pub at: Time,
    /// Worker pods before.
    pub from: u32,
    /// Worker pods wanted since.
    pub to: u32,
    /// Why, in one sentence.
    pub why: String,
}

/// The queue at a glance.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueFigures {
    /// The queue's name on the broker.
    pub name: String,
    /// Tasks that wait for a slot.
    pub pending: i64,
    /// Tasks that run.
    pub active: i64,
    /// Tasks that are not due yet.
    pub delayed: i64,
    /// Tasks that wait for their next attempt.
    pub retrying: i64,
    /// Dead letters.
    pub dead: i64,
    /// How long the head of the queue has waited, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_seconds: Option<i64>,
    /// The same, for reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<String>,
}

/// The types of the conditions.
pub mod condition {
    /// The queue is served as it should be.
    pub const READY: &str = "Ready";
    /// Pods are being started, replaced or drained.
    pub const PROGRESSING: &str = "Progressing";
    /// Something is wrong, though tasks may still run.
    pub const DEGRADED: &str = "Degraded";
    /// The operator reaches the broker.
    pub const BROKER_REACHABLE: &str = "BrokerReachable";
    /// The autoscaler decides on fresh figures.
    pub const SCALING_ACTIVE: &str = "ScalingActive";
}

/// The reasons of the conditions.
pub mod reason {
    /// All worker pods that should be there are ready.
    pub const AVAILABLE: &str = "Available";
    /// No worker pods, and nothing to do.
    pub const IDLE: &str = "Idle";
    /// Workers claim nothing, as the spec wants it.
    pub const PAUSED: &str = "Paused";
    /// Worker pods are being started or replaced.
    pub const ROLLING_OUT: &str = "RollingOut";
    /// Worker pods drain and go.
    pub const DRAINING: &str = "Draining";
    /// Pods do not become ready.
    pub const PODS_NOT_READY: &str = "PodsNotReady";
    /// Everything is as it should be.
    pub const AS_EXPECTED: &str = "AsExpected";
    /// Another TaskQueue serves this queue.
    pub const QUEUE_CONFLICT: &str = "QueueConflict";
    /// A Secret that the spec names is not there, or lacks the key.
    pub const SECRET_MISSING: &str = "SecretMissing";
    /// The spec names no broker, and the installation's is not offered to this namespace.
    pub const NO_BROKER: &str = "NoBroker";
    /// What the spec says cannot work.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// The broker does not answer.
    pub const BROKER_UNREACHABLE: &str = "BrokerUnreachable";
    /// The broker answers, and cannot be trusted with tasks.
    pub const BROKER_UNFIT: &str = "BrokerUnfit";
    /// The broker answers.
    pub const CONNECTED: &str = "Connected";
    /// The API server did not answer, or refused a request.
    pub const API_ERROR: &str = "ApiError";
    /// The API server refused an object.
    pub const APPLY_FAILED: &str = "ApplyFailed";
    /// The operator decides.
    pub const AUTO: &str = "Auto";
    /// spec.replicas decides.
    pub const MANUAL: &str = "Manual";
    /// No figures: the number of pods is held.
    pub const NO_DATA: &str = "NoData";
    /// It has not been looked at yet.
    pub const PENDING: &str = "Pending";
}

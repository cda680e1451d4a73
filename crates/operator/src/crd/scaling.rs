//! How many worker pods there are.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many worker pods there are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas")
    .message("scaling: minReplicas must not exceed maxReplicas"))]
#[serde(rename_all = "camelCase")]
pub struct ScalingSpec {
    /// Who decides: the operator by the queue's own figures (Auto), or spec.replicas (Manual).
    #[serde(default)]
    pub mode: ScalingMode,
    /// Fewest worker pods in mode Auto. With 0, an idle queue costs nothing.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub min_replicas: i32,
    /// Most worker pods in mode Auto.
    #[serde(default = "max_replicas")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// How long a task should wait at most for a slot, in seconds.
    #[serde(default = "target_wait_seconds")]
    #[schemars(range(min = 1, max = 86_400))]
    pub target_wait_seconds: i32,
    /// How many waiting tasks one slot is reckoned to take on while too few tasks have been measured. Default: by the
    /// autoscaler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub backlog_per_slot: Option<i32>,
    /// Scaling in.
    #[serde(default)]
    pub scale_down: ScaleDownSpec,
    /// Scaling out.
    #[serde(default)]
    pub scale_up: ScaleUpSpec,
}

fn max_replicas() -> i32 {
    10
}

fn target_wait_seconds() -> i32 {
    10
}

impl Default for ScalingSpec {
    fn default() -> Self {
        Self {
            mode: ScalingMode::Auto,
            min_replicas: 0,
            max_replicas: max_replicas(),
            target_wait_seconds: target_wait_seconds(),
            backlog_per_slot: None,
            scale_down: ScaleDownSpec::default(),
            scale_up: ScaleUpSpec::default(),
        }
    }
}

/// Who decides how many worker pods there are.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScalingMode {
    /// The operator, by the queue's own figures.
    #[default]
    Auto,
    /// spec.replicas.
    Manual,
}

/// Scaling in.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleDownSpec {
    /// For how long fewer pods must have been enough before any is taken away, in seconds.
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_seconds: i32,
}

impl Default for ScaleDownSpec {
    fn default() -> Self {
        Self { stabilization_seconds: 60 }
    }
}

/// Scaling out.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleUpSpec {
    /// Most pods that are added at a time. Default: no limit, straight to the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_step: Option<i32>,
}

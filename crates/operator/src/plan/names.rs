//! The names of everything that belongs to a `TaskQueue`.

/// The names of a `TaskQueue`'s objects. Each is a DNS label of at most 63 characters, since the schema holds the
/// name of a `TaskQueue` to 50.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Of the workers' Deployment, `ConfigMap`, `Service`, `ServiceAccount`, `PodDisruptionBudget`, `NetworkPolicy` and
    /// `PodMonitor`.
    pub worker: String,
    /// Of the Secret with a copy of the installation's broker access.
    pub broker_secret: String,
    /// Of the own API's Deployment, `ConfigMap` and `Service`.
    pub api: String,
}

impl Names {
    /// Those of the `TaskQueue` of this name.
    pub fn of(task_queue: &str) -> Self {
        Self {
            worker: format!("{task_queue}-worker"),
            broker_secret: format!("{task_queue}-broker"),
            api: format!("{task_queue}-api"),
        }
    }
}

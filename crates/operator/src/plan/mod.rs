//! From the spec and what was observed to the full set of owned objects.
//!
//! ```text
//!   Inputs ─► names, labels ─► secret, config map ─► pod template ─► deployment
//!                                                  (worker.template merged over it)
//! ```
//!
//! Pure: no client, no clock, no randomness, nothing awaited. The same inputs give the same bytes, so that a
//! reconciliation without a change writes nothing and rolls nothing. One file per object.

mod api;
mod broker;
mod config;
mod deployment;
mod disruption_budget;
mod labels;
mod names;
mod network_policy;
mod pod;
mod pod_monitor;
mod schema;
mod service;
mod service_account;
mod template;
#[cfg(test)]
mod tests;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::DynamicObject;
use tidemill_core::QueueName;

pub use api::ApiObjects;
pub use broker::BrokerAccess;
pub use labels::{OWNER_LABEL, selector, selector_text};
pub use names::Names;
pub use pod::{BROKER_CHECKSUM, CONFIG_CHECKSUM, WORKER_CONTAINER};
pub use pod_monitor::resource as pod_monitor_resource;
pub use template::Template;

use crate::crd::TaskQueue;
use crate::options::TraceSettings;

/// All that the objects are made from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The resource. Its name, namespace and uid are those of the API server.
    pub task_queue: &'a TaskQueue,
    /// The queue that its workers serve.
    pub queue: &'a QueueName,
    /// How many worker pods there should be: the autoscaler's answer, or the spec's in mode Manual.
    pub replicas: u32,
    /// How the pods reach the broker.
    pub broker: BrokerAccess<'a>,
    /// A checksum of the values that reach the broker. When it changes, the pods are replaced one after another.
    pub broker_checksum: &'a str,
    /// The image of worker pods that name none, and of the API's.
    pub default_image: &'a str,
    /// Whether worker pods get a `NetworkPolicy`.
    pub network_policies: bool,
    /// Where the pods send their traces.
    pub traces: Option<&'a TraceSettings>,
    /// Whether the API server knows `PodMonitor`.
    pub pod_monitors: bool,
    /// `spec.worker.template`, validated.
    pub template: &'a Template,
}

/// Every object that belongs to a `TaskQueue`. What is `None` must not exist: a `TaskQueue` that had it before has to
/// lose it, by the name in [`Names`].
#[derive(Clone, PartialEq)]
pub struct Objects {
    /// The installation's broker access, copied to where the pods can read it.
    pub secret: Option<Secret>,
    /// Whom the pods run as, unless the spec names an account.
    pub service_account: Option<ServiceAccount>,
    /// The workers' settings.
    pub config_map: ConfigMap,
    /// Where the workers' metrics are found, by DNS.
    pub service: Service,
    /// How many workers an eviction may take at a time.
    pub disruption_budget: PodDisruptionBudget,
    /// What may reach the workers.
    pub network_policy: Option<NetworkPolicy>,
    /// Tells Prometheus to scrape the workers.
    pub pod_monitor: Option<DynamicObject>,
    /// The workers.
    pub deployment: Deployment,
    /// The API of the queue's own.
    pub api: Option<ApiObjects>,
}

/// The full set of objects that these inputs ask for.
pub fn plan(inputs: &Inputs<'_>) -> Objects {
    let config_map = config::config_map(inputs);
    Objects {
        secret: broker::secret(inputs),
        service_account: service_account::service_account(inputs),
        service: service::service(inputs),
        disruption_budget: disruption_budget::disruption_budget(inputs),
        network_policy: inputs.network_policies.then(|| network_policy::network_policy(inputs)),
        pod_monitor: inputs.pod_monitors.then(|| pod_monitor::pod_monitor(inputs)),
        deployment: deployment::deployment(inputs, &config_map),
        api: inputs.task_queue.spec.api.as_ref().map(|spec| api::objects(inputs, spec)),
        config_map,
    }
}

impl Inputs<'_> {
    /// The resource's name.
    fn name(&self) -> &str {
        self.task_queue.metadata.name.as_deref().unwrap_or_default()
    }

    /// The names of its objects.
    fn names(&self) -> Names {
        Names::of(self.name())
    }
}

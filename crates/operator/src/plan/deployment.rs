//! The worker pods.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVar, EnvVarSource, ObjectFieldSelector, PodSpec, PodTemplateSpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;

use super::labels::{Component, label_selector, labels, metadata};
use super::{Inputs, WORKER_CONTAINER, broker, config, pod, service_account};

/// How many pods more than wanted there may be during a rollout. None is taken away before its successor is ready, so
/// that a rollout never takes slots from the queue.
const SURGE: &str = "25%";
/// How many revisions are kept to look at. The operator goes back by itself when the spec does.
const REVISIONS: i32 = 2;
/// How long a rollout may stand still before its Deployment says so, in seconds: a large image on a slow network fits.
const PROGRESS_SECONDS: i32 = 300;
/// What a pod has beyond `shutdownTimeoutSeconds`: to settle what ended, give back what has not, and answer the last
/// requests.
const SETTLING_SECONDS: i32 = 10;

/// The variable that names the pod to its program; the name of the worker on the broker is made of it.
pub(crate) const POD_NAME: &str = "POD_NAME";

/// The Deployment of the worker pods.
pub(super) fn deployment(inputs: &Inputs<'_>, config_map: &ConfigMap) -> Deployment {
    Deployment {
        metadata: metadata(inputs, &inputs.names().worker, Component::Worker),
        spec: Some(spec(inputs, Component::Worker, inputs.replicas, template(inputs, &config::checksum(config_map)))),
        ..Deployment::default()
    }
}

/// What the Deployments of workers and of APIs have in common.
pub(super) fn spec(
    inputs: &Inputs<'_>,
    component: Component,
    replicas: u32,
    template: PodTemplateSpec,
) -> DeploymentSpec {
    let rolling = RollingUpdateDeployment {
        max_surge: Some(IntOrString::String(SURGE.to_owned())),
        max_unavailable: Some(IntOrString::Int(0)),
    };
    DeploymentSpec {
        replicas: Some(i32::try_from(replicas).unwrap_or(i32::MAX)),
        selector: label_selector(inputs, component),
        strategy: Some(DeploymentStrategy { type_: Some("RollingUpdate".to_owned()), rolling_update: Some(rolling) }),
        revision_history_limit: Some(REVISIONS),
        progress_deadline_seconds: Some(PROGRESS_SECONDS),
        template,
        ..DeploymentSpec::default()
    }
}

/// The operator's own pod template with `worker.template` over it. Labels, checksums and the restart policy are not for
/// the taking: selectors and rollouts hang on them.
fn template(inputs: &Inputs<'_>, config_checksum: &str) -> PodTemplateSpec {
    let own = PodTemplateSpec { metadata: None, spec: Some(pod_spec(inputs)) };
    let mut template = inputs.template.over(own);
    let metadata = template.metadata.get_or_insert_with(ObjectMeta::default);
    metadata.labels.get_or_insert_default().extend(labels(inputs.name(), Component::Worker));
    metadata.annotations.get_or_insert_default().extend(pod::checksums(inputs, config_checksum));
    if let Some(spec) = &mut template.spec {
        spec.restart_policy = Some("Always".to_owned());
    }
    template
}

fn pod_spec(inputs: &Inputs<'_>) -> PodSpec {
    let worker = &inputs.task_queue.spec.worker;
    let broker = broker::wiring(inputs, pod::SETTINGS_FOLDER);
    let (settings, settings_mount) = pod::settings(&inputs.names().worker, broker.authorities);
    let (data, data_mount) = pod::folder("data", pod::DATA_FOLDER);
    let (scratch, scratch_mount) = pod::folder("tmp", "/tmp");
    let container = Container {
        name: WORKER_CONTAINER.to_owned(),
        image: Some(worker.image.as_deref().unwrap_or(inputs.default_image).to_owned()),
        image_pull_policy: Some(pod::pull_policy(inputs)),
        args: Some(["worker", "--config", &config_path()].map(str::to_owned).to_vec()),
        env: Some(env(broker.env, &worker.env)),
        env_from: (!worker.env_from.is_empty()).then(|| worker.env_from.clone()),
        ports: Some(vec![pod::port(pod::HTTP_PORT_NAME, pod::HTTP_PORT)]),
        resources: Some(pod::resources(worker.resources.as_ref())),
        startup_probe: Some(pod::startup_probe()),
        liveness_probe: Some(pod::liveness_probe()),
        readiness_probe: Some(pod::readiness_probe()),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(vec![settings_mount, data_mount, scratch_mount]),
        ..Container::default()
    };
    let grace = worker.shutdown_timeout_seconds.saturating_add(SETTLING_SECONDS);
    PodSpec {
        containers: vec![container],
        volumes: Some(vec![settings, data, scratch]),
        service_account_name: Some(service_account::name(inputs)),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: pod::pull_secrets(inputs),
        security_context: Some(pod::pod_security()),
        termination_grace_period_seconds: Some(i64::from(grace)),
        topology_spread_constraints: Some(vec![pod::spread(inputs, Component::Worker)]),
        ..PodSpec::default()
    }
}

/// The file of settings as the program finds it.
pub(super) fn config_path() -> String {
    format!("{}/{}", pod::SETTINGS_FOLDER, config::FILE)
}

/// Ours first, so that the user's may refer to them. A name stands once: the later entry wins, as in the kubelet.
fn env(broker: Vec<EnvVar>, given: &[EnvVar]) -> Vec<EnvVar> {
    let mut env = broker;
    env.push(pod_name());
    for variable in given {
        match env.iter_mut().find(|known| known.name == variable.name) {
            Some(known) => *known = variable.clone(),
            None => env.push(variable.clone()),
        }
    }
    env
}

fn pod_name() -> EnvVar {
    let field = ObjectFieldSelector { field_path: "metadata.name".to_owned(), api_version: None };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    EnvVar { name: POD_NAME.to_owned(), value_from: Some(source), ..EnvVar::default() }
}

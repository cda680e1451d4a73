//! The API of a queue's own.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, Lifecycle, LifecycleHandler, PodSpec, PodTemplateSpec, Service, ServiceSpec, SleepAction,
};
use kube::api::ObjectMeta;

use super::labels::{Component, labels, metadata, selecting};
use super::{Inputs, broker, config, deployment, pod, service};
use crate::crd::ApiSpec;

/// The name of the container.
const CONTAINER: &str = "api";
/// The port of the metrics, which asks for no token; that of everything else does.
const METRICS_PORT: i32 = 9090;
const METRICS_PORT_NAME: &str = "metrics";
/// Where the bearer tokens are found, below the folder of the settings.
const TOKENS_PATH: &str = "auth/tokens";
/// How long a pod that is to go still answers before it is told, in seconds: so long does it take until no proxy sends
/// it requests any more.
const FAREWELL_SECONDS: i64 = 5;
/// How long open requests get to end, in milliseconds; most take a few.
const REQUESTS_END_MS: i64 = 10_000;
/// The pod's grace period, in seconds: farewell, open requests, and five more to exit on a slow node.
const GRACE_SECONDS: i64 = 20;

/// The objects of the API.
#[derive(Clone, PartialEq)]
pub struct ApiObjects {
    /// Its settings.
    pub config_map: ConfigMap,
    /// Its address.
    pub service: Service,
    /// Its pods.
    pub deployment: Deployment,
}

/// The API that serves this queue alone.
pub(super) fn objects(inputs: &Inputs<'_>, spec: &ApiSpec) -> ApiObjects {
    let config_map = config_map(inputs, spec);
    ApiObjects { service: service(inputs), deployment: deployment(inputs, spec, &config_map), config_map }
}

fn config_map(inputs: &Inputs<'_>, spec: &ApiSpec) -> ConfigMap {
    let ApiSpec { form, replicas: _, resources: _, tokens_from } = spec;
    let tokens = match tokens_from {
        Some(_) => format!("auth:\n  tokens_file: {}/{TOKENS_PATH}\n", pod::SETTINGS_FOLDER),
        None => String::new(),
    };
    let config = format!(
        "app:
  port: {port}
  fiber_shutdown_timeout_ms: {REQUESTS_END_MS}
form: {form}
queue:
  name: {queue}
log:
  format: json
metrics:
  port: {METRICS_PORT}
{tokens}{traces}",
        port = pod::HTTP_PORT,
        form = form.as_str(),
        traces = config::traces(inputs),
        queue = config::quoted(inputs.queue.as_str()),
    );
    config::named(inputs, &inputs.names().api, Component::Api, &config)
}

fn service(inputs: &Inputs<'_>) -> Service {
    let spec = ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        selector: Some(selecting(inputs.name(), Component::Api)),
        ports: Some(vec![
            service::port(pod::HTTP_PORT_NAME, pod::HTTP_PORT),
            service::port(METRICS_PORT_NAME, METRICS_PORT),
        ]),
        ..ServiceSpec::default()
    };
    Service { metadata: metadata(inputs, &inputs.names().api, Component::Api), spec: Some(spec), ..Service::default() }
}

fn deployment(inputs: &Inputs<'_>, spec: &ApiSpec, config_map: &ConfigMap) -> Deployment {
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels(inputs.name(), Component::Api)),
            annotations: Some(pod::checksums(inputs, &config::checksum(config_map))),
            ..ObjectMeta::default()
        }),
        spec: Some(pod_spec(inputs, spec)),
    };
    Deployment {
        metadata: metadata(inputs, &inputs.names().api, Component::Api),
        spec: Some(deployment::spec(inputs, Component::Api, spec.replicas.unsigned_abs(), template)),
        ..Deployment::default()
    }
}

/// The operator's own image, and not the worker's: that one may hold a program of the user's that serves no API.
fn pod_spec(inputs: &Inputs<'_>, spec: &ApiSpec) -> PodSpec {
    let broker = broker::wiring(inputs, pod::SETTINGS_FOLDER);
    let tokens = spec.tokens_from.clone().map(|from| broker::projection(from, TOKENS_PATH));
    let (settings, settings_mount) = pod::settings(&inputs.names().api, broker.authorities.into_iter().chain(tokens));
    let farewell =
        LifecycleHandler { sleep: Some(SleepAction { seconds: FAREWELL_SECONDS }), ..LifecycleHandler::default() };
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(inputs.default_image.to_owned()),
        image_pull_policy: Some(pod::pull_policy(inputs)),
        args: Some(["api", "--config", &deployment::config_path()].map(str::to_owned).to_vec()),
        env: Some(broker.env),
        ports: Some(vec![pod::port(pod::HTTP_PORT_NAME, pod::HTTP_PORT), pod::port(METRICS_PORT_NAME, METRICS_PORT)]),
        resources: Some(pod::resources(spec.resources.as_ref())),
        startup_probe: Some(pod::startup_probe()),
        liveness_probe: Some(pod::liveness_probe()),
        readiness_probe: Some(pod::readiness_probe()),
        lifecycle: Some(Lifecycle { pre_stop: Some(farewell), ..Lifecycle::default() }),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(vec![settings_mount]),
        ..Container::default()
    };
    PodSpec {
        containers: vec![container],
        volumes: Some(vec![settings]),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: pod::pull_secrets(inputs),
        security_context: Some(pod::pod_security()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        topology_spread_constraints: Some(vec![pod::spread(inputs, Component::Api)]),
        ..PodSpec::default()
    }
}

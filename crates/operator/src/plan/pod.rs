//! What the pods of workers and of APIs have in common: their safety, their probes, where their settings lie.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapProjection, ContainerPort, EmptyDirVolumeSource, HTTPGetAction, KeyToPath,
    LocalObjectReference, PodSecurityContext, Probe, ProjectedVolumeSource, ResourceRequirements, SeccompProfile,
    SecurityContext, TopologySpreadConstraint, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Inputs;
use super::config;
use super::labels::{Component, label_selector};
use crate::crd::PullPolicy;

/// The name of the workers' container, by which `worker.template` speaks of it.
pub const WORKER_CONTAINER: &str = "worker";
/// The annotation of a pod with the checksum of its settings.
pub const CONFIG_CHECKSUM: &str = "tidemill.dev/config-checksum";
/// The annotation of a pod with the checksum of the values that reach the broker.
pub const BROKER_CHECKSUM: &str = "tidemill.dev/broker-checksum";

/// The port of health, metrics and, in an API, of everything else.
pub(super) const HTTP_PORT: i32 = 8080;
/// The name of that port within a pod.
pub(super) const HTTP_PORT_NAME: &str = "http";
/// Where the settings are found.
pub(super) const SETTINGS_FOLDER: &str = "/etc/tidemill";
/// Where a worker may keep files for as long as its pod lives: the outbox of mails among them.
pub(super) const DATA_FOLDER: &str = "/data";

/// The user of the image; any other that is not root would do.
const USER: i64 = 65_532;
/// How much a folder of a pod's own may hold. The node's disk is everybody's: without a bound one pod could fill it.
/// `worker.template` replaces the volume where a handler needs more.
const FOLDER_BYTES_MAX: &str = "1Gi";
/// What a pod asks for that says nothing of it: an idle one needs about a tenth of that. Enough for the scheduler to
/// spread pods, little enough for many to find a place. No limits, since only the handlers' author knows them.
const REQUESTS: [(&str, &str); 2] = [("cpu", "50m"), ("memory", "64Mi")];
/// How long a starting program has before it is started anew, in seconds. It starts in well under one; this is for nodes
/// under load.
const START_SECONDS_MAX: i32 = 60;
/// How often a living program is asked for a sign of life, in seconds.
const LIVENESS_SECONDS: i32 = 10;
/// How often a program is asked whether it is ready, in seconds. Rollouts wait for it, so it is short.
const READINESS_SECONDS: i32 = 3;
/// How long an answer may take, in seconds. The answers need neither broker nor disk.
const ANSWER_SECONDS: i32 = 3;
/// How many answers may fail in a row: one may be lost on a busy node, three are not.
const FAILURES: i32 = 3;

/// What the pod as a whole may do: what the restricted pod security standard asks for.
pub(super) fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

/// The same for the container.
pub(super) fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
        ..SecurityContext::default()
    }
}

/// What these resources are, or those of a pod that says nothing of them.
pub(super) fn resources(given: Option<&ResourceRequirements>) -> ResourceRequirements {
    given.cloned().unwrap_or_else(|| {
        let requests = REQUESTS.map(|(name, quantity)| (name.to_owned(), Quantity(quantity.to_owned())));
        ResourceRequirements { requests: Some(BTreeMap::from(requests)), ..ResourceRequirements::default() }
    })
}

/// Whether the program has started: asked every second, so that it serves without delay.
pub(super) fn startup_probe() -> Probe {
    Probe { failure_threshold: Some(START_SECONDS_MAX), period_seconds: Some(1), ..get("/livez") }
}

/// Whether it lives.
pub(super) fn liveness_probe() -> Probe {
    Probe { failure_threshold: Some(FAILURES), period_seconds: Some(LIVENESS_SECONDS), ..get("/livez") }
}

/// Whether it is ready.
pub(super) fn readiness_probe() -> Probe {
    Probe { failure_threshold: Some(FAILURES), period_seconds: Some(READINESS_SECONDS), ..get("/readyz") }
}

fn get(path: &str) -> Probe {
    let request =
        HTTPGetAction { path: Some(path.to_owned()), port: IntOrString::Int(HTTP_PORT), ..HTTPGetAction::default() };
    Probe { http_get: Some(request), timeout_seconds: Some(ANSWER_SECONDS), ..Probe::default() }
}

/// A port of a container.
pub(super) fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// Settings, certificate authorities and tokens in one folder that changes as a whole, and where it is mounted.
pub(super) fn settings(config_map: &str, secrets: impl IntoIterator<Item = VolumeProjection>) -> (Volume, VolumeMount) {
    let config = ConfigMapProjection {
        name: config_map.to_owned(),
        items: Some(vec![KeyToPath { key: config::FILE.to_owned(), path: config::FILE.to_owned(), mode: None }]),
        optional: None,
    };
    let mut sources = vec![VolumeProjection { config_map: Some(config), ..VolumeProjection::default() }];
    sources.extend(secrets);
    let volume = Volume {
        name: "settings".to_owned(),
        projected: Some(ProjectedVolumeSource { default_mode: None, sources: Some(sources) }),
        ..Volume::default()
    };
    (volume, VolumeMount { read_only: Some(true), ..mount("settings", SETTINGS_FOLDER) })
}

/// A folder that lives and dies with the pod, and where it is mounted.
pub(super) fn folder(name: &str, path: &str) -> (Volume, VolumeMount) {
    let source = EmptyDirVolumeSource { size_limit: Some(Quantity(FOLDER_BYTES_MAX.to_owned())), ..Default::default() };
    let volume = Volume { name: name.to_owned(), empty_dir: Some(source), ..Volume::default() };
    (volume, mount(name, path))
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

/// Spreads the pods of each revision over the nodes, where there is room.
pub(super) fn spread(inputs: &Inputs<'_>, component: Component) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(label_selector(inputs, component)),
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    }
}

/// When the images are pulled, as the spec says. Kubernetes' own default would ask a registry at each start for an image
/// that is tagged `latest`, also for one that only the nodes have.
pub(super) fn pull_policy(inputs: &Inputs<'_>) -> String {
    let policy = inputs.task_queue.spec.worker.image_pull_policy.unwrap_or(PullPolicy::IfNotPresent);
    policy.as_str().to_owned()
}

/// What the images are pulled with.
pub(super) fn pull_secrets(inputs: &Inputs<'_>) -> Option<Vec<LocalObjectReference>> {
    let secrets = &inputs.task_queue.spec.worker.image_pull_secrets;
    (!secrets.is_empty()).then(|| secrets.clone())
}

/// The annotations of a pod: what has to replace it when it changes.
pub(super) fn checksums(inputs: &Inputs<'_>, config_checksum: &str) -> BTreeMap<String, String> {
    super::labels::texts([(CONFIG_CHECKSUM, config_checksum), (BROKER_CHECKSUM, inputs.broker_checksum)])
}

//! Where the workers' metrics are found.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Inputs;
use super::labels::{Component, metadata, selector};
use super::pod::HTTP_PORT;

/// A Service without an address of its own: its DNS name leads to every worker pod, ready or not, since the metrics of a
/// pod that is not ready are the ones worth reading. Tasks never pass through it.
pub(super) fn service(inputs: &Inputs<'_>) -> Service {
    let spec = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        publish_not_ready_addresses: Some(true),
        selector: Some(selector(inputs.name())),
        ports: Some(vec![port("metrics", HTTP_PORT)]),
        ..ServiceSpec::default()
    };
    Service {
        metadata: metadata(inputs, &inputs.names().worker, Component::Worker),
        spec: Some(spec),
        ..Service::default()
    }
}

/// A port that leads to the same number of the pod.
pub(super) fn port(name: &str, number: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        target_port: Some(IntOrString::Int(number)),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}

//! What may reach the workers.

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Inputs;
use super::labels::{Component, label_selector, metadata};
use super::pod::HTTP_PORT;

/// Only the port of health and metrics is open, to kubelets and scrapers wherever they are. What goes out is not
/// restricted: the broker may be anywhere, and so may whatever a handler speaks to.
pub(super) fn network_policy(inputs: &Inputs<'_>) -> NetworkPolicy {
    let port =
        NetworkPolicyPort { port: Some(IntOrString::Int(HTTP_PORT)), protocol: Some("TCP".to_owned()), end_port: None };
    let spec = NetworkPolicySpec {
        pod_selector: Some(label_selector(inputs, Component::Worker)),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(vec![NetworkPolicyIngressRule { from: None, ports: Some(vec![port]) }]),
        egress: None,
    };
    NetworkPolicy { metadata: metadata(inputs, &inputs.names().worker, Component::Worker), spec: Some(spec) }
}

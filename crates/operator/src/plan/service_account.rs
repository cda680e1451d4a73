//! Whom the workers run as.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::Inputs;
use super::labels::{Component, metadata};

/// An account without any rights, unless the spec names one. Its token is not mounted either: a worker has nothing to
/// ask of the API server.
pub(super) fn service_account(inputs: &Inputs<'_>) -> Option<ServiceAccount> {
    inputs.task_queue.spec.worker.service_account_name.is_none().then(|| ServiceAccount {
        metadata: metadata(inputs, &inputs.names().worker, Component::Worker),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}

/// The account's name: the given one, or that of the workers' own.
pub(super) fn name(inputs: &Inputs<'_>) -> String {
    inputs.task_queue.spec.worker.service_account_name.clone().unwrap_or_else(|| inputs.names().worker)
}

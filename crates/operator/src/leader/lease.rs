//! The record on the API server: a Lease of `coordination.k8s.io/v1`, read and conditionally written.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use super::state::{Attempt, Failure, Record};
use crate::crd::FIELD_MANAGER;

const CONFLICT: u16 = 409;
const NOT_FOUND: u16 = 404;

/// One Lease. It needs the verbs `get`, `create` and `patch`.
#[derive(Clone)]
pub(super) struct LeaseRecord {
    api: Api<Lease>,
    name: String,
    lasts: Duration,
}

impl LeaseRecord {
    /// The Lease `name`, written with leases of `lasts`.
    pub(super) fn new(api: Api<Lease>, name: String, lasts: Duration) -> Self {
        Self { api, name, lasts }
    }

    /// How it is; `None` when there is none.
    pub(super) async fn read(&self) -> kube::Result<Option<Record>> {
        Ok(self.api.get_opt(&self.name).await?.map(record))
    }

    /// Writes, if the record is still the one that the attempt was meant for.
    pub(super) async fn write(&self, attempt: &Attempt) -> kube::Result<Record> {
        match &attempt.base {
            Some(base) => self.replace(attempt, base).await,
            None => self.create(attempt).await,
        }
    }

    async fn create(&self, attempt: &Attempt) -> kube::Result<Record> {
        let now = MicroTime(Timestamp::now());
        let lease = Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                acquire_time: Some(now.clone()),
                holder_identity: attempt.holder.clone(),
                lease_duration_seconds: Some(self.seconds()),
                lease_transitions: Some(attempt.transitions),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        };
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        self.api.create(&params, &lease).await.map(record)
    }

    /// A merge patch that names a `resourceVersion` is refused with a conflict when the object has another by then; unlike
    /// an update it leaves alone what others wrote in labels and annotations.
    async fn replace(&self, attempt: &Attempt, base: &Record) -> kube::Result<Record> {
        let now = MicroTime(Timestamp::now());
        let mut patch = json!({
            "metadata": { "resourceVersion": base.version },
            "spec": {
                "holderIdentity": attempt.holder,
                "leaseDurationSeconds": self.seconds(),
                "leaseTransitions": attempt.transitions,
                "renewTime": now,
            }
        });
        if attempt.begins {
            patch["spec"]["acquireTime"] = json!(now);
        }
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.api.patch(&self.name, &params, &Patch::Merge(&patch)).await.map(record)
    }

    fn seconds(&self) -> i32 {
        i32::try_from(self.lasts.as_secs()).unwrap_or(i32::MAX)
    }
}

/// What a refused or failed write means.
pub(super) fn failure(error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) if matches!(status.code, CONFLICT | NOT_FOUND) => Failure::Conflict,
        _ => Failure::Unknown,
    }
}

fn record(lease: Lease) -> Record {
    let Lease { metadata, spec } = lease;
    let spec = spec.unwrap_or_default();
    let lasts = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
    Record {
        version: metadata.resource_version.unwrap_or_default(),
        uid: metadata.uid.unwrap_or_default(),
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        renewed: spec.renew_time.map(|MicroTime(time)| time),
        transitions: spec.lease_transitions.unwrap_or(0),
        lasts: Duration::from_secs(lasts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_with_an_empty_or_no_holder_is_held_by_nobody() {
        for spec in [
            None,
            Some(LeaseSpec::default()),
            Some(LeaseSpec { holder_identity: Some(String::new()), ..LeaseSpec::default() }),
        ] {
            let read = record(Lease { spec, ..Lease::default() });
            assert_eq!((read.holder, read.lasts), (None, Duration::ZERO));
        }
    }

    #[test]
    fn a_lease_of_other_software_is_read_in_full() {
        let lease = serde_json::from_value(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": "x", "resourceVersion": "17", "uid": "u-1" },
            "spec": { "holderIdentity": "a_1", "leaseDurationSeconds": 15, "leaseTransitions": 2,
                "renewTime": "2026-01-02T03:04:05.000006Z" }
        }))
        .unwrap();
        let expected = Record {
            version: "17".to_owned(),
            uid: "u-1".to_owned(),
            holder: Some("a_1".to_owned()),
            renewed: Some("2026-01-02T03:04:05.000006Z".parse().unwrap()),
            transitions: 2,
            lasts: Duration::from_secs(15),
        };
        assert_eq!(record(lease), expected);
    }

    #[test]
    fn a_conflict_and_a_missing_record_mean_that_the_record_is_another_by_now() {
        let refused = |code| {
            let status: kube::core::Status = serde_json::from_value(json!({ "code": code })).unwrap();
            failure(&kube::Error::Api(Box::new(status)))
        };
        assert_eq!((refused(409), refused(404)), (Failure::Conflict, Failure::Conflict));
        assert_eq!((refused(403), refused(500), refused(504)), (Failure::Unknown, Failure::Unknown, Failure::Unknown));
    }
}

//! The fourth stage: planned objects become objects of the cluster, by server-side apply.
//!
//! The order has a reason: a pod needs its Secret, ServiceAccount and ConfigMap to start, so the Deployment comes after
//! them; the disruption budget and the network policy stand before the first pod does.

mod children;
mod cost;
mod error;

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use children::{Children, Kept};
pub use cost::{mark, pods};
pub use error::ApplyError;

use crate::crd::FIELD_MANAGER;
use crate::plan::{ApiObjects, Names, Objects};

/// What became of an object.
#[derive(Debug, Clone)]
pub enum Outcome<K> {
    /// It was not there.
    Created(Arc<K>),
    /// It was sent.
    Changed(Arc<K>),
    /// It was as it should be, and nothing was sent.
    Kept(Arc<K>),
}

impl<K> Outcome<K> {
    /// The object as it is now.
    pub fn into_object(self) -> Arc<K> {
        match self {
            Self::Created(object) | Self::Changed(object) | Self::Kept(object) => object,
        }
    }
}

/// Whose objects these are.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The namespace of the TaskQueue.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

impl Children {
    /// Makes the cluster hold `objects`, and none of the objects that an earlier plan had besides. The worker Deployment
    /// as it is then.
    pub async fn apply_all(&self, owner: Owner<'_>, objects: &Objects) -> Result<Arc<Deployment>, ApplyError> {
        let Objects {
            secret,
            service_account,
            config_map,
            service,
            disruption_budget,
            network_policy,
            pod_monitor,
            deployment,
            api,
        } = objects;
        let Owner { namespace, uid, .. } = owner;
        let names = Names::of(owner.name);
        if let Some(secret) = secret {
            self.apply_secret(secret, uid).await?;
        }
        self.settle(&self.service_accounts, owner, &names.worker, service_account.as_ref()).await?;
        self.apply(&self.config_maps, config_map, uid).await?;
        self.apply(&self.services, service, uid).await?;
        self.apply(&self.disruption_budgets, disruption_budget, uid).await?;
        self.settle(&self.network_policies, owner, &names.worker, network_policy.as_ref()).await?;
        let deployment = self.apply(&self.deployments, deployment, uid).await?.into_object();
        if let Some(ApiObjects { config_map, service, deployment }) = api {
            self.apply(&self.config_maps, config_map, uid).await?;
            self.apply(&self.services, service, uid).await?;
            self.apply(&self.deployments, deployment, uid).await?;
        } else {
            self.delete(&self.deployments, namespace, &names.api, uid).await?;
            self.delete(&self.services, namespace, &names.api, uid).await?;
            self.delete(&self.config_maps, namespace, &names.api, uid).await?;
        }
        // Whoever reads metrics may come and go: work does not wait for it.
        if let (Some(monitors), Some(monitor)) = (&self.pod_monitors, pod_monitor)
            && let Err(error) = self.apply(monitors, monitor, uid).await
        {
            tracing::warn!(namespace, name = owner.name, %error, "the worker pods' PodMonitor cannot be applied");
        }
        Ok(deployment)
    }

    /// Applies the object where it is planned, deletes it where it is not.
    async fn settle<K>(
        &self,
        kept: &Kept<K>,
        owner: Owner<'_>,
        name: &str,
        wanted: Option<&K>,
    ) -> Result<(), ApplyError>
    where
        K: Resource + Clone + Debug + Serialize + DeserializeOwned + 'static,
        K::DynamicType: Hash + Eq + Clone,
    {
        match wanted {
            Some(wanted) => self.apply(kept, wanted, owner.uid).await.map(drop),
            None => self.delete(kept, owner.namespace, name, owner.uid).await,
        }
    }

    /// Secrets are not watched: this one is got by its name, compared, and written where it differs.
    async fn apply_secret(&self, wanted: &Secret, owner: &str) -> Result<(), ApplyError> {
        let name = wanted.name_any();
        let failed =
            |source| ApplyError::Refused { kind: "Secret".to_owned(), name: name.clone(), source: Box::new(source) };
        let api = Api::<Secret>::namespaced(self.client.clone(), &wanted.namespace().unwrap_or_default());
        if let Some(there) = api.get_opt(&name).await.map_err(failed)? {
            children::check_owner(&there, wanted, "Secret", owner)?;
            if there.data == wanted.data && there.labels() == wanted.labels() {
                return Ok(());
            }
        }
        let params = PatchParams::apply(FIELD_MANAGER).force();
        api.patch(&name, &params, &Patch::Apply(wanted)).await.map(drop).map_err(failed)
    }

    /// Deletes the copy of the installation's broker access that an earlier spec needed.
    pub async fn delete_secret(&self, owner: Owner<'_>) -> Result<(), ApplyError> {
        let name = Names::of(owner.name).broker_secret;
        let failed =
            |source| ApplyError::Refused { kind: "Secret".to_owned(), name: name.clone(), source: Box::new(source) };
        let api = Api::<Secret>::namespaced(self.client.clone(), owner.namespace);
        match api.get_opt(&name).await.map_err(failed)? {
            Some(there) if children::belongs_to(&there, owner.uid) => {
                api.delete(&name, &DeleteParams::default()).await.map(drop).map_err(failed)
            }
            _ => Ok(()),
        }
    }
}

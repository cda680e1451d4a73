//! The objects that the operator owns, as the API server has them: watched, so that whoever changes one by hand sees it
//! mended, and kept, so that nothing is sent that would change nothing.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{ApiResource, DynamicObject};
use kube::core::NamespaceResourceScope;
use kube::runtime::controller::Controller;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use super::Outcome;
use super::error::ApplyError;
use crate::crd::FIELD_MANAGER;
use crate::plan::OWNER_LABEL;

/// What the operator owns, as last seen.
pub struct Children {
    pub(super) client: Client,
    /// Worker pods come from these.
    pub deployments: Kept<Deployment>,
    pub(super) services: Kept<Service>,
    pub(super) service_accounts: Kept<ServiceAccount>,
    pub(super) config_maps: Kept<ConfigMap>,
    pub(super) disruption_budgets: Kept<PodDisruptionBudget>,
    pub(super) network_policies: Kept<NetworkPolicy>,
    /// Only where the API server knows PodMonitors.
    pub pod_monitors: Option<Kept<DynamicObject>>,
    applied: Mutex<HashMap<String, Applied>>,
    seen: OnceCell<()>,
}

/// What was last applied of an object, and what the API server made of it.
#[derive(Clone, PartialEq, Eq)]
struct Applied {
    planned: Fingerprint,
    became: Fingerprint,
}

type Fingerprint = [u8; 32];

/// The objects of one kind.
pub struct Kept<K: Resource + 'static>
where
    K::DynamicType: Hash + Eq,
{
    store: Store<K>,
    kind: K::DynamicType,
    client: Client,
    within: Within<K>,
}

/// How the objects of a kind in one namespace are reached.
type Within<K> = fn(Client, &str, &<K as Resource>::DynamicType) -> Api<K>;

impl<K> Kept<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    /// The object of this name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new_with(name, self.kind.clone()).within(namespace))
    }

    fn api(&self, namespace: &str) -> Api<K> {
        (self.within)(self.client.clone(), namespace, &self.kind)
    }

    /// Waits until all have been seen once. For one caller alone: a store wakes only the last of several that wait.
    async fn ready(&self) {
        if self.store.wait_until_ready().await.is_err() {
            tracing::debug!("a watch ended before it began");
        }
    }
}

/// Changes of owned objects, on their way to the controller.
pub struct Watches {
    deployments: Watch<Deployment>,
    services: Watch<Service>,
    service_accounts: Watch<ServiceAccount>,
    config_maps: Watch<ConfigMap>,
    disruption_budgets: Watch<PodDisruptionBudget>,
    network_policies: Watch<NetworkPolicy>,
    pod_monitors: Option<(ApiResource, Watch<DynamicObject>)>,
}

type Watch<K> = BoxStream<'static, Result<K, watcher::Error>>;

impl Children {
    /// Prepares to watch what the operator owns in `namespace`, or everywhere.
    pub fn watch(client: &Client, namespace: Option<&str>, monitors: Option<ApiResource>) -> (Self, Watches) {
        let (deployments, watch_deployments) = typed(client, namespace);
        let (services, watch_services) = typed(client, namespace);
        let (service_accounts, watch_service_accounts) = typed(client, namespace);
        let (config_maps, watch_config_maps) = typed(client, namespace);
        let (disruption_budgets, watch_disruption_budgets) = typed(client, namespace);
        let (network_policies, watch_network_policies) = typed(client, namespace);
        let (pod_monitors, watch_pod_monitors) = match monitors {
            Some(kind) => {
                let api = match namespace {
                    Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
                    None => Api::all_with(client.clone(), &kind),
                };
                let (monitors, watch) = kept(client, api, kind.clone(), Api::namespaced_with);
                (Some(monitors), Some((kind, watch)))
            }
            None => (None, None),
        };
        let children = Self {
            client: client.clone(),
            deployments,
            services,
            service_accounts,
            config_maps,
            disruption_budgets,
            network_policies,
            pod_monitors,
            applied: Mutex::default(),
            seen: OnceCell::new(),
        };
        let watches = Watches {
            deployments: watch_deployments,
            services: watch_services,
            service_accounts: watch_service_accounts,
            config_maps: watch_config_maps,
            disruption_budgets: watch_disruption_budgets,
            network_policies: watch_network_policies,
            pod_monitors: watch_pod_monitors,
        };
        (children, watches)
    }

    /// Waits until all objects have been seen once; any number of callers may. `PodMonitors` are not waited for: their API
    /// may have gone meanwhile.
    pub async fn ready(&self) {
        let Self {
            client: _,
            deployments,
            services,
            service_accounts,
            config_maps,
            disruption_budgets,
            network_policies,
            pod_monitors: _,
            applied: _,
            seen,
        } = self;
        // One waits, the others wait for that one.
        let see = async || {
            deployments.ready().await;
            services.ready().await;
            service_accounts.ready().await;
            config_maps.ready().await;
            disruption_budgets.ready().await;
            network_policies.ready().await;
        };
        seen.get_or_init(see).await;
    }

    /// Applies `wanted`, unless the object is already what an earlier apply of the same made of it.
    pub(super) async fn apply<K>(&self, kept: &Kept<K>, wanted: &K, owner: &str) -> Result<Outcome<K>, ApplyError>
    where
        K: Resource + Clone + Debug + Serialize + DeserializeOwned + 'static,
        K::DynamicType: Hash + Eq + Clone,
    {
        let (namespace, name) = (wanted.namespace().unwrap_or_default(), wanted.name_any());
        let kind = K::kind(&kept.kind).into_owned();
        let failed = |source| ApplyError::Refused { kind: kind.clone(), name: name.clone(), source: Box::new(source) };
        let key = format!("{kind}/{namespace}/{name}");
        let api = kept.api(&namespace);
        let seen = kept.get(&namespace, &name);
        let planned = fingerprint(wanted)?;
        let before = self.applied().get(&key).cloned();
        if let (Some(seen), Some(before)) = (&seen, &before)
            && before.planned == planned
            && before.became == fingerprint(&**seen)?
        {
            return Ok(Outcome::Kept(seen.clone()));
        }
        // What someone else made under this name is theirs.
        let there = match seen {
            Some(seen) => Some(seen),
            None => api.get_opt(&name).await.map_err(failed)?.map(Arc::new),
        };
        if let Some(there) = &there {
            check_owner(&**there, wanted, &kind, owner)?;
        }
        let params = kube::api::PatchParams::apply(FIELD_MANAGER).force();
        let became = api.patch(&name, &params, &kube::api::Patch::Apply(wanted)).await.map_err(failed)?;
        let fresh = Applied { planned, became: fingerprint(&became)? };
        self.applied().insert(key, fresh);
        Ok(if there.is_some() { Outcome::Changed(Arc::new(became)) } else { Outcome::Created(Arc::new(became)) })
    }

    /// Deletes the object of this name, if it is there and belongs to `owner`.
    pub(super) async fn delete<K>(
        &self,
        kept: &Kept<K>,
        namespace: &str,
        name: &str,
        owner: &str,
    ) -> Result<(), ApplyError>
    where
        K: Resource + Clone + Debug + DeserializeOwned + 'static,
        K::DynamicType: Hash + Eq + Clone,
    {
        let Some(there) = kept.get(namespace, name) else { return Ok(()) };
        if !belongs_to(&*there, owner) || there.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        let kind = K::kind(&kept.kind).into_owned();
        self.applied().remove(&format!("{kind}/{namespace}/{name}"));
        let api = kept.api(namespace);
        match api.delete(name, &kube::api::DeleteParams::background()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => Err(ApplyError::Refused { kind, name: name.to_owned(), source: Box::new(source) }),
        }
    }

    /// Forgets what was applied for a TaskQueue that is gone.
    pub fn forget(&self, namespace: &str, names: &[&str]) {
        self.applied().retain(|key, _| {
            let mut parts = key.splitn(3, '/').skip(1);
            let (there, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            there != namespace || !names.contains(&name)
        });
    }

    fn applied(&self) -> std::sync::MutexGuard<'_, HashMap<String, Applied>> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watches {
    /// Lets `controller` reconcile the owner of whatever changes.
    pub fn wire<K>(self, controller: Controller<K>) -> Controller<K>
    where
        K: Clone + Resource + DeserializeOwned + Debug + Send + Sync + 'static,
        K::DynamicType: Debug + Eq + Hash + Clone + Default,
    {
        let Self {
            deployments,
            services,
            service_accounts,
            config_maps,
            disruption_budgets,
            network_policies,
            pod_monitors,
        } = self;
        let controller = controller
            .owns_stream(deployments)
            .owns_stream(services)
            .owns_stream(service_accounts)
            .owns_stream(config_maps)
            .owns_stream(disruption_budgets)
            .owns_stream(network_policies);
        match pod_monitors {
            Some((kind, monitors)) => controller.owns_stream_with(monitors, kind),
            None => controller,
        }
    }
}

/// Whether `object` is controlled by the TaskQueue with the uid `owner`.
pub(super) fn belongs_to<K: Resource>(object: &K, owner: &str) -> bool {
    object.owner_references().iter().any(|reference| reference.uid == owner && reference.controller == Some(true))
}

/// Whether `there` may be changed for the sake of `owner`.
pub(super) fn check_owner<K: Resource>(there: &K, wanted: &K, kind: &str, owner: &str) -> Result<(), ApplyError> {
    if belongs_to(there, owner) {
        return Ok(());
    }
    let controller = |object: &K| {
        let owners = object.owner_references().iter().find(|reference| reference.controller == Some(true));
        owners.map(|reference| (reference.kind.clone(), reference.name.clone()))
    };
    let (kind, name) = (kind.to_owned(), there.name_any());
    // The owner of an earlier life, which the garbage collector follows.
    if there.meta().deletion_timestamp.is_some() || controller(there) == controller(wanted) {
        return Err(ApplyError::Going { kind, name });
    }
    Err(ApplyError::Foreign { kind, name })
}

fn typed<K>(client: &Client, namespace: Option<&str>) -> (Kept<K>, Watch<K>)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let api = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    kept(client, api, (), |client, namespace, ()| Api::namespaced(client, namespace))
}

fn kept<K>(client: &Client, api: Api<K>, kind: K::DynamicType, within: Within<K>) -> (Kept<K>, Watch<K>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Clone + Send + Sync + 'static,
{
    let writer = reflector::store::Writer::new(kind.clone());
    let store = writer.as_reader();
    let config = watcher::Config::default().labels(OWNER_LABEL);
    let watch = watcher(api, config)
        .modify(|object| object.managed_fields_mut().clear())
        .default_backoff()
        .reflect(writer)
        .touched_objects()
        .boxed();
    (Kept { store, kind, client: client.clone(), within }, watch)
}

/// Of all that the operator could have meant: neither the status, nor what the API server counts for itself.
fn fingerprint<K: Serialize>(object: &K) -> Result<Fingerprint, ApplyError> {
    let mut value = serde_json::to_value(object).map_err(ApplyError::Json)?;
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
        if let Some(metadata) = object.get_mut("metadata").and_then(serde_json::Value::as_object_mut) {
            for counted in ["resourceVersion", "managedFields", "generation", "creationTimestamp", "uid"] {
                metadata.remove(counted);
            }
        }
    }
    let text = serde_json::to_vec(&value).map_err(ApplyError::Json)?;
    Ok(Sha256::digest(text).into())
}

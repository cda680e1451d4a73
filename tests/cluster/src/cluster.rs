//! The cluster under test, and a namespace of it for each test.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidemill_operator::crd::{CRD_NAME, FINALIZER, TaskQueue};
use tokio::sync::{OnceCell, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::{holds, until};

/// How long something may take that takes a second on an idle machine. Other tests run beside it.
pub const SOON: Duration = Duration::from_secs(45);
/// How long an answer of the API server may take while it has to come.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(20);
/// Who applies what tests apply.
const MANAGER: &str = "tidemill-tests";

/// Tests run side by side, each in a namespace of its own. Those that need the machine, or the whole cluster, run alone.
static TURNS: LazyLock<Arc<RwLock<()>>> = LazyLock::new(Arc::default);
static DEFINED: OnceCell<()> = OnceCell::const_new();

enum Turn {
    Shared { _guard: OwnedRwLockReadGuard<()> },
    Alone { _guard: OwnedRwLockWriteGuard<()> },
}

/// A namespace of a test's own, deleted with all that is in it when it is dropped.
pub struct Space {
    client: Client,
    name: String,
    _turn: Turn,
}

impl Space {
    /// A namespace whose name begins with `topic`. The resource is defined.
    pub async fn new(topic: &str) -> Self {
        let turn = Turn::Shared { _guard: TURNS.clone().read_owned().await };
        Self::make(topic, turn).await
    }

    /// The same, while no other test of this suite runs.
    pub async fn alone(topic: &str) -> Self {
        let turn = Turn::Alone { _guard: TURNS.clone().write_owned().await };
        Self::make(topic, turn).await
    }

    async fn make(topic: &str, turn: Turn) -> Self {
        let client = client().await;
        DEFINED.get_or_init(async || define(&client).await).await;
        let namespace = Namespace {
            metadata: ObjectMeta { generate_name: Some(format!("test-{topic}-")), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        let made = Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await;
        Self { client, name: made.expect("a namespace can be made").name_any(), _turn: turn }
    }

    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The administrator's client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The objects of a kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// The object of this name.
    pub async fn get<K>(&self, name: &str) -> Option<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        self.api::<K>().get_opt(name).await.expect("the API server answers")
    }

    /// Makes a TaskQueue with this spec.
    pub async fn task_queue(&self, name: &str, spec: Value) -> TaskQueue {
        let made = self.try_task_queue(name, spec).await;
        made.expect("the API server takes the TaskQueue")
    }

    /// Makes a TaskQueue with this spec, unless the API server refuses it.
    pub async fn try_task_queue(&self, name: &str, spec: Value) -> kube::Result<TaskQueue> {
        let task_queue = json!({
            "apiVersion": "tidemill.dev/v1alpha1", "kind": "TaskQueue", "metadata": { "name": name }, "spec": spec,
        });
        let task_queue = serde_json::from_value(task_queue).expect("a TaskQueue");
        self.api::<TaskQueue>().create(&PostParams::default(), &task_queue).await
    }

    /// Merges `change` into an object, as somebody does by hand.
    pub async fn change<K>(&self, name: &str, change: Value) -> kube::Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(change)).await
    }

    /// Makes an object.
    pub async fn create<K>(&self, object: &K) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Serialize + Debug,
    {
        self.api::<K>().create(&PostParams::default(), object).await.expect("the API server takes the object")
    }

    /// Deletes an object, as somebody does by hand. It may be there for a while.
    pub async fn delete<K>(&self, name: &str)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        self.api::<K>().delete(name, &DeleteParams::default()).await.expect("the API server deletes");
    }

    /// Makes a Secret.
    pub async fn secret(&self, name: &str, data: &[(&str, &str)]) {
        let data: BTreeMap<_, _> = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        self.create(&Secret { metadata, string_data: Some(data), ..Secret::default() }).await;
    }

    /// Waits until a condition of a TaskQueue has this status (`True`, `False`) and reason, said of its present spec.
    pub async fn until_condition(&self, name: &str, type_: &str, status: &str, reason: &str) -> TaskQueue {
        self.until_condition_within(SOON, name, type_, status, reason).await
    }

    /// The same within `deadline`.
    pub async fn until_condition_within(
        &self,
        deadline: Duration,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> TaskQueue {
        until(&format!("{name}: {type_}={status}, reason {reason}"), deadline, async || {
            let Some(task_queue) = self.get::<TaskQueue>(name).await else { return Err("it is not there".to_owned()) };
            let conditions = task_queue.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
            let said = conditions.iter().any(|condition| {
                (condition.type_.as_str(), condition.status.as_str(), condition.reason.as_str())
                    == (type_, status, reason)
                    && condition.observed_generation == task_queue.metadata.generation
            });
            let instead = || {
                let said = conditions
                    .iter()
                    .map(|said| format!("{}={} {}: {}", said.type_, said.status, said.reason, said.message));
                said.collect::<Vec<_>>().join("; ")
            };
            holds(said, instead).map(|()| task_queue)
        })
        .await
    }

    /// Waits until a TaskQueue is ready, for this reason.
    pub async fn until_ready(&self, name: &str, reason: &str) -> TaskQueue {
        self.until_condition(name, "Ready", "True", reason).await
    }

    /// Waits until an object is gone.
    pub async fn until_gone<K>(&self, name: &str, deadline: Duration)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        until(&format!("{} {name} is gone", K::kind(&())), deadline, async || {
            let there = self.get::<K>(name).await;
            holds(there.is_none(), || format!("{there:?}"))
        })
        .await;
    }

    /// What was told of the TaskQueue of this name: reason and note of each Event.
    pub async fn events(&self, name: &str) -> Vec<(String, String)> {
        let events = self.api::<Event>().list(&ListParams::default()).await.expect("the API server answers").items;
        let of = events
            .into_iter()
            .filter(|event| event.regarding.as_ref().is_some_and(|regarding| regarding.name.as_deref() == Some(name)));
        of.map(|event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default())).collect()
    }

    /// Waits for an Event with this reason. Its note.
    pub async fn until_event(&self, name: &str, reason: &str) -> String {
        until(&format!("an Event {reason} of {name}"), SOON, async || {
            let events = self.events(name).await;
            events.iter().find(|(known, _)| known == reason).map(|(_, note)| note.clone()).ok_or(format!("{events:?}"))
        })
        .await
    }
}

impl Drop for Space {
    /// An operator that would let go of the TaskQueues may be gone by now, so their finalizers are taken away by hand.
    fn drop(&mut self) {
        let name = self.name.clone();
        // The test's own runtime cannot be waited for from within.
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { tokio::time::timeout(CLEANUP_TIMEOUT, clean(&name)).await })??;
            anyhow::Ok(())
        });
        match cleaning.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("namespace {} is left behind: {error}", self.name),
            Err(_) => eprintln!("namespace {} is left behind", self.name),
        }
    }
}

async fn clean(namespace: &str) -> anyhow::Result<()> {
    let client = client().await;
    let api = Api::<TaskQueue>::namespaced(client.clone(), namespace);
    api.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    for task_queue in api.list_metadata(&ListParams::default()).await?.items {
        if task_queue.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
            let nobody = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
            match api.patch_metadata(&task_queue.name_any(), &PatchParams::default(), &nobody).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Api::<Namespace>::all(client).delete(namespace, &DeleteParams::default()).await?;
    Ok(())
}

/// The administrator's client.
///
/// # Panics
/// When no cluster is configured.
pub async fn client() -> Client {
    Client::try_default().await.expect("KUBECONFIG names a cluster: scripts/with-cluster starts one")
}

/// Applies the definition in `crds/`, and waits until the API server serves it.
async fn define(client: &Client) {
    let text = std::fs::read_to_string(definition()).expect("the definition is in crds/");
    let wanted: Value = serde_yaml_ng::from_str(&text).expect("the definition is YAML");
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    api.patch(CRD_NAME, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&wanted))
        .await
        .expect("the definition is taken");
    until("the definition is established", SOON, async || {
        let known = api.get(CRD_NAME).await.map_err(|error| error.to_string())?;
        let conditions = known.status.and_then(|status| status.conditions).unwrap_or_default();
        let established =
            conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True");
        holds(established, || format!("{conditions:?}"))
    })
    .await;
    // Established is a promise; the resource is served a moment later.
    until("TaskQueues are served", SOON, async || {
        let listed = Api::<TaskQueue>::all(client.clone()).list_metadata(&ListParams::default().limit(1)).await;
        listed.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

/// The file of the CustomResourceDefinition.
pub fn definition() -> PathBuf {
    root().join("crds/taskqueues.tidemill.dev.yaml")
}

/// The folder of the whole project.
///
/// # Panics
/// When the folder of this package has been moved.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the package is in tests/cluster").to_owned()
}

/// Runs kubectl as the administrator: whether it succeeded, what it printed, and what it complained of.
///
/// # Panics
/// When there is no kubectl.
pub fn kubectl(args: &[&str]) -> (bool, String, String) {
    let Output { status, stdout, stderr } = Command::new("kubectl").args(args).output().expect("kubectl is in PATH");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.success(), text(stdout), text(stderr))
}

/// The script that can take the API server away and tell where its audit log is, with this verb. `None` where the cluster
/// is somebody else's (`TIDEMILL_TEST_CLUSTER=external`).
pub fn script(verb: &str) -> Option<Command> {
    let mut command = Command::new(std::env::var_os("TIDEMILL_CLUSTER")?);
    command.arg(verb);
    Some(command)
}

//! `spec.worker.template`: anything of a pod that the resource has no field for, merged over the operator's own template.
//!
//! The merge is Kubernetes' strategic merge: objects member by member, lists with a key (containers by name, mounts by
//! path, ports by number…) item by item, other lists as a whole. `null` takes a member away. Where only one of several
//! members may be set (the source of a volume or of a variable, what a probe does), what is given replaces ours.

use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::{Container, EnvVar, PodTemplateSpec, Probe, Volume};
use serde_json::{Map, Value};

use super::schema;
use crate::validate::Invalid;

/// Where the template stands in the resource.
pub(crate) const PATH: &str = "spec.worker.template";
/// What items of lists are known by, the most telling member first: mounts have a name too, which is the volume's.
const KEYS: [&str; 6] = ["mountPath", "devicePath", "containerPort", "topologyKey", "ip", "name"];

/// A pod template that may be laid over the operator's. The empty one changes nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Template {
    patch: PodTemplateSpec,
    /// As it was given, where it takes something away with `null`.
    removing: Option<Value>,
}

impl Template {
    /// Reads a template, and refuses what no pod has, what has the wrong type and what workers cannot do without.
    pub fn parse(given: &Map<String, Value>) -> Result<Self, Invalid> {
        let whole = Value::Object(given.clone());
        schema::check(&whole, PATH)?;
        for (member, value) in given {
            let path = format!("{PATH}.{member}");
            if value.is_null() {
                return Err(Invalid::new(path, "a worker pod cannot do without it"));
            }
            if member == "metadata" {
                only_labels_and_annotations(value, &path)?;
            }
        }
        let restart = whole.pointer("/spec/restartPolicy").unwrap_or(&Value::Null);
        if !restart.is_null() && restart != "Always" {
            let message = "the pods of a Deployment are always restarted: leave it out";
            return Err(Invalid::new(format!("{PATH}.spec.restartPolicy"), message));
        }
        if whole.pointer("/spec/containers").is_some_and(Value::is_null) {
            return Err(Invalid::new(format!("{PATH}.spec.containers"), "a worker pod cannot do without its worker"));
        }
        let patch = serde_json::from_value(without_nulls(&whole)).map_err(|e| Invalid::new(PATH, e.to_string()))?;
        Ok(Self { patch, removing: holds_null(&whole).then_some(whole) })
    }

    /// What it says, without what it takes away.
    pub(crate) fn patch(&self) -> &PodTemplateSpec {
        &self.patch
    }

    /// The operator's own template with this one over it.
    pub(super) fn over(&self, own: PodTemplateSpec) -> PodTemplateSpec {
        let mut merged = own;
        make_way(&mut merged, &self.patch);
        merged.merge_from(self.patch.clone());
        self.without_removed(&merged).unwrap_or(merged)
    }

    /// `None` where nothing is to be removed. What is left of a template is always one: all of its members may be absent.
    fn without_removed(&self, template: &PodTemplateSpec) -> Option<PodTemplateSpec> {
        let mut value = serde_json::to_value(template).ok()?;
        remove(&mut value, self.removing.as_ref()?);
        serde_json::from_value(value).ok()
    }
}

fn only_labels_and_annotations(metadata: &Value, path: &str) -> Result<(), Invalid> {
    let allowed = ["labels", "annotations"];
    match metadata.as_object().into_iter().flat_map(Map::keys).find(|key| !allowed.contains(&key.as_str())) {
        Some(key) => {
            Err(Invalid::new(format!("{path}.{key}"), "of a pod's metadata only labels and annotations can be set"))
        }
        None => Ok(()),
    }
}

fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(holds_null),
        Value::Object(members) => members.values().any(holds_null),
        _ => false,
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        other => other.clone(),
    }
}

/// Takes out of `value` what is `null` in `patch`.
fn remove(value: &mut Value, patch: &Value) {
    match (value, patch) {
        (Value::Object(members), Value::Object(patch)) => {
            for (key, patch) in patch {
                if patch.is_null() {
                    members.remove(key);
                } else if let Some(member) = members.get_mut(key) {
                    remove(member, patch);
                }
            }
        }
        (Value::Array(items), Value::Array(patches)) => {
            for patch in patches {
                let Some(key) = KEYS.into_iter().find(|key| patch.get(key).is_some()) else { continue };
                if let Some(item) = items.iter_mut().find(|item| item.get(key) == patch.get(key)) {
                    remove(item, patch);
                }
            }
        }
        _ => {}
    }
}

/// Empties what the patch replaces as a whole.
fn make_way(own: &mut PodTemplateSpec, patch: &PodTemplateSpec) {
    let (Some(own), Some(patch)) = (&mut own.spec, &patch.spec) else { return };
    for given in patch.volumes.iter().flatten() {
        if let Some(volume) = own.volumes.iter_mut().flatten().find(|volume| volume.name == given.name) {
            *volume = Volume { name: given.name.clone(), ..Volume::default() };
        }
    }
    for given in &patch.containers {
        if let Some(container) = own.containers.iter_mut().find(|container| container.name == given.name) {
            make_way_in_container(container, given);
        }
    }
}

fn make_way_in_container(own: &mut Container, patch: &Container) {
    for given in patch.env.iter().flatten() {
        if let Some(variable) = own.env.iter_mut().flatten().find(|variable| variable.name == given.name) {
            *variable = EnvVar { name: given.name.clone(), ..EnvVar::default() };
        }
    }
    let probes = [
        (&mut own.startup_probe, &patch.startup_probe),
        (&mut own.liveness_probe, &patch.liveness_probe),
        (&mut own.readiness_probe, &patch.readiness_probe),
    ];
    for (own, patch) in probes {
        if let (Some(own), Some(patch)) = (own, patch)
            && acts(patch)
        {
            let Probe { exec, grpc, http_get, tcp_socket, .. } = own;
            (*exec, *grpc, *http_get, *tcp_socket) = (None, None, None, None);
        }
    }
}

fn acts(probe: &Probe) -> bool {
    probe.exec.is_some() || probe.grpc.is_some() || probe.http_get.is_some() || probe.tcp_socket.is_some()
}

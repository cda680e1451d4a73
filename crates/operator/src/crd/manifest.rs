//! The CustomResourceDefinition as YAML.

use kube::CustomResourceExt;
use serde_json::Value;

use super::TaskQueue;

const HEAD: &str = "# Generated from crates/operator/src/crd by `make crds`. Do not edit.\n";

/// The CustomResourceDefinition as a YAML document.
pub fn manifest() -> Result<String, ManifestError> {
    let mut definition = serde_json::to_value(TaskQueue::crd())?;
    drop_formats(&mut definition);
    Ok(format!("{HEAD}{}", serde_yaml_ng::to_string(&definition)?))
}

/// The CustomResourceDefinition could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// As JSON.
    #[error("the CustomResourceDefinition cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// As YAML.
    #[error("the CustomResourceDefinition cannot be written as YAML: {0}")]
    Yaml(#[from] serde_yaml_ng::Error),
}

/// Formats that the API server warns of, since it does not know them. The bounds say the same.
fn drop_formats(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
                members.shift_remove("format");
            }
            members.values_mut().for_each(drop_formats);
        }
        Value::Array(members) => members.iter_mut().for_each(drop_formats),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound of what `kubectl apply` can remember in an annotation is 262,144 bytes; ours leaves room to grow.
    const BYTES_MAX: usize = 100_000;

    #[test]
    fn the_definition_in_crds_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crds/taskqueues.tidemill.dev.yaml");
        let generated = manifest().unwrap();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../../crds")).unwrap();
            std::fs::write(path, &generated).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(kept == generated, "{path} is not what the types say: run `make crds`");
        assert!(generated.len() < BYTES_MAX, "{} bytes", generated.len());
    }
}

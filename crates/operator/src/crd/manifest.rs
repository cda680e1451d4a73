//! The CustomResourceDefinition as YAML.

use kube::CustomResourceExt;

use super::TaskQueue;

const HEAD: &str = "# Generated from crates/operator/src/crd by `make crds`. Do not edit.\n";

/// The CustomResourceDefinition as a YAML document.
pub fn manifest() -> Result<String, serde_yaml_ng::Error> {
    Ok(format!("{HEAD}{}", serde_yaml_ng::to_string(&TaskQueue::crd())?))
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

//! The images that the scenarios use.
//!
//! `make images` builds them as `localhost/tidemill/NAME:latest`, and the test cluster has loaded them. Worker pods that say
//! nothing of it pull an image of that tag each time, which cannot be done without a registry; so Tidemill's image gets two
//! tags of a version, the second for the scenario that rolls out a new one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use crate::process;

/// The test cluster's own program; scripts/with-cluster sets it. Another cluster has been given the images already.
pub(crate) const CLUSTER: &str = "TIDEMILL_CLUSTER";
/// The registry and folder of the images.
pub(crate) const REGISTRY: &str = "localhost";
/// Tidemill's image there.
pub(crate) const TIDEMILL: &str = "tidemill/base";
/// The broker's.
pub(crate) const VALKEY: &str = "tidemill/valkey";
/// The image of pods that talk to the API.
pub(crate) const TOOLS: &str = "localhost/tidemill/tools:latest";
/// The image of examples/custom-worker.
pub(crate) const CUSTOM_WORKER: &str = "localhost/tidemill/custom-worker:latest";
/// The tag of the version that is installed.
pub(crate) const TAG: &str = "e2e";
/// The tag of the version that it is updated to.
const NEXT_TAG: &str = "e2e-next";
/// How long loading an image may take.
const LOADING: Duration = Duration::from_mins(2);

/// The image that workers are updated to.
pub(crate) fn next() -> String {
    format!("{REGISTRY}/{TIDEMILL}:{NEXT_TAG}")
}

/// Sees to it that the node has both tags. On another cluster than the tests' own, `localhost/tidemill/base:e2e` and
/// `:e2e-next` must have been loaded.
pub(crate) fn prepare() {
    static LOADED: OnceLock<()> = OnceLock::new();
    LOADED.get_or_init(|| {
        let Ok(cluster) = std::env::var(CLUSTER) else { return };
        let folder = tempfile::tempdir().unwrap();
        for tag in [TAG, NEXT_TAG] {
            let archive = tagged(folder.path(), tag);
            process::run(&cluster, &["load", archive.to_str().unwrap()], "", LOADING).done();
        }
    });
}

/// A copy of the archive of Tidemill's image that says another tag.
fn tagged(folder: &Path, tag: &str) -> PathBuf {
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/images/base.tar");
    assert!(original.exists(), "{} is missing: make images builds it", original.display());
    let unpacked = folder.join(tag);
    fs::create_dir(&unpacked).unwrap();
    let unpacked_path = unpacked.to_str().unwrap();
    process::run("tar", &["-xf", original.to_str().unwrap(), "-C", unpacked_path], "", LOADING).done();
    let manifest = unpacked.join("manifest.json");
    let mut images: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    images[0]["RepoTags"] = Value::from(vec![format!("{REGISTRY}/{TIDEMILL}:{tag}")]);
    fs::write(&manifest, images.to_string()).unwrap();
    let archive = folder.join(format!("{tag}.tar"));
    process::run("tar", &["-cf", archive.to_str().unwrap(), "-C", unpacked_path, "."], "", LOADING).done();
    archive
}

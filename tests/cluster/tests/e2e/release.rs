//! The installation that the scenarios share.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::kubectl::{NAMESPACE, apply, is_ready, kubectl, list, name};
use crate::process::{self, Said};
use crate::wait::{ensure, until};
use crate::{images, tools};

/// The name of the release.
pub(crate) const RELEASE: &str = "tidemill";
/// How long an installation has until every pod is ready.
pub(crate) const READY_WITHIN: Duration = Duration::from_mins(1);
/// Longer than the hooks of the chart may take, and than a broker takes to go.
const HELM: Duration = Duration::from_mins(5);
/// How long a namespace may take to be gone with all that is in it.
const GONE_WITHIN: Duration = Duration::from_mins(3);

static INSTALLED: Mutex<bool> = Mutex::new(false);

/// The chart.
fn chart() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/tidemill").to_owned()
}

/// Runs helm in the namespace of the scenarios.
pub(crate) fn helm(args: &[&str]) -> Said {
    let args: Vec<&str> = ["--namespace", NAMESPACE].into_iter().chain(args.iter().copied()).collect();
    process::run("helm", &args, "", HELM)
}

/// Makes the installation unless it is there, with the pods of the tools beside it.
pub(crate) fn needed() {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if *installed {
        return;
    }
    images::prepare();
    clean_namespace();
    apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } })).done();
    let began = Instant::now();
    install().done();
    println!("helm install returned after {:.1} s", began.elapsed().as_secs_f32());
    until(READY_WITHIN.saturating_sub(began.elapsed()), "every pod of the release is ready", || {
        let pods = list(&["pods"])?;
        let unready: Vec<String> = pods.iter().filter(|pod| !is_ready(pod)).map(name).collect();
        // Two of the operator, two of the API, one of the broker.
        ensure(pods.len() == 5 && unready.is_empty(), || format!("{} pods, not ready: {unready:?}", pods.len()))
    });
    println!("every pod was ready after {:.1} s", began.elapsed().as_secs_f32());
    *installed = true;
    drop(installed);
    tools::start();
}

fn install() -> Said {
    let image = format!("image.registry={}", images::REGISTRY);
    let repository = format!("image.repository={}", images::TIDEMILL);
    let tag = format!("image.tag={}", images::TAG);
    let broker = format!(
        "valkey.image.registry={},valkey.image.repository={},valkey.image.tag=latest",
        images::REGISTRY,
        images::VALKEY
    );
    helm(&["install", RELEASE, &chart(), "--set", &image, "--set", &repository, "--set", &tag, "--set", &broker])
}

/// `helm upgrade`, with one more value, as JSON.
pub(crate) fn upgrade(value: &str) -> Said {
    helm(&["upgrade", RELEASE, &chart(), "--reuse-values", "--set-json", value, "--wait"])
}

/// `helm uninstall`, as a user would.
pub(crate) fn uninstall() -> Said {
    *INSTALLED.lock().unwrap_or_else(PoisonError::into_inner) = false;
    helm(&["uninstall", RELEASE, "--wait", "--timeout", "4m"])
}

/// Has the next scenario make it anew: what a failed one left would only confuse.
pub(crate) fn spoil() {
    *INSTALLED.lock().unwrap_or_else(PoisonError::into_inner) = false;
}

/// Removes the installation and its namespace, if they are there.
pub(crate) fn clean_up() {
    if std::mem::take(&mut *INSTALLED.lock().unwrap_or_else(PoisonError::into_inner)) {
        kubectl(&["delete", "taskqueues", "--all", "--timeout=90s"]).done();
        uninstall().done();
    }
    clean_namespace();
}

/// What an earlier run left: without its operator, a finalizer would keep TaskQueues for good.
fn clean_namespace() {
    if !kubectl(&["get", "namespace", NAMESPACE]).ok {
        return;
    }
    drop(helm(&["uninstall", RELEASE, "--no-hooks", "--ignore-not-found"]));
    let left = crate::kubectl::names(&["taskqueues"]).unwrap_or_default();
    for left in left {
        let patch = r#"{"metadata": {"finalizers": null}}"#;
        drop(kubectl(&["patch", "taskqueue", &left, "--type=merge", "--patch", patch]));
    }
    let args = ["delete", "namespace", NAMESPACE, "--timeout=170s"];
    crate::kubectl::kubectl_within(GONE_WITHIN, &args).done();
}

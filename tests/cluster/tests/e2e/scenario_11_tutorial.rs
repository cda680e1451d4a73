//! The tutorial of the cluster works as it stands.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tidemill_tests::tutorial::{Step, compare, run as run_commands, steps};
use tidemill_tests::{program, until};

use crate::kubectl::kubectl;
use crate::{images, release};

/// The port that the page speaks of; the test takes a free one instead.
const PORT: &str = "8080";
/// The page's command that installs, to which the images of a checkout are added as its how-to says.
const INSTALL: &str = "helm install tidemill charts/tidemill";
/// The namespace of the page.
const NAMESPACE: &str = "tidemill";
/// How long a forwarded port may take to be open.
const OPEN: Duration = Duration::from_secs(30);

/// The terminal in which the port is forwarded.
struct Forward(Option<Child>);

impl Drop for Forward {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().and_then(|()| child.wait()).unwrap();
        }
    }
}

pub(crate) fn run() {
    // One operator for all namespaces, and the page installs its own.
    release::clean_up();
    forget_definition();
    images::prepare();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let page = std::fs::read_to_string(root.join("docs/src/tutorial/cluster.md")).unwrap();
    let port = program::free_port().unwrap().to_string();
    let page = page.replace(&format!("127.0.0.1:{PORT}"), &format!("127.0.0.1:{port}"));
    let work = tempfile::tempdir().unwrap();
    for shown in ["charts", "config"] {
        std::os::unix::fs::symlink(root.join(shown), work.path().join(shown)).unwrap();
    }
    let environment: [(String, OsString); 0] = [];
    let mut forward = Forward(None);
    for step in steps(&page).unwrap() {
        let run = |commands: &str| compare(&step, &run_commands(commands, work.path(), &environment).unwrap()).unwrap();
        match step.name.as_str() {
            "" => run(&step.commands),
            "install" => {
                assert!(step.commands.contains(INSTALL), "{step:?}");
                run(&step.commands.replace(INSTALL, &format!("{INSTALL} {}", images())));
            }
            "forward" => forward.0 = Some(forwarded(&step, &port)),
            other => panic!("line {}: {other} is no step of this tutorial", step.line),
        }
    }
    drop(forward);
    run_commands(&format!("kubectl delete namespace {NAMESPACE} --timeout=170s"), work.path(), &environment).unwrap();
    forget_definition();
}

/// A release keeps the definition when it goes, and one of another namespace does not take it over.
fn forget_definition() {
    kubectl(&["delete", "customresourcedefinition", "taskqueues.tidemill.dev", "--ignore-not-found", "--timeout=30s"])
        .done();
}

fn images() -> String {
    format!(
        "--set image.registry={registry},image.repository={},image.tag={} \
         --set valkey.image.registry={registry},valkey.image.repository={},valkey.image.tag=latest",
        images::TIDEMILL,
        images::TAG,
        images::VALKEY,
        registry = images::REGISTRY,
    )
}

fn forwarded(step: &Step, port: &str) -> Child {
    let commands = step.commands.replace(&format!(" {PORT}"), &format!(" {port}:{PORT}"));
    let child = Command::new("bash")
        .args(["-c", &format!("exec {commands}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("the port is forwarded", OPEN, || std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok());
    child
}

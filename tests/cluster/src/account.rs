//! The operator's ServiceAccount with the roles that the chart gives it, and what the audit log says that it did.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::{root, script};
use crate::{Launch, Space, kubectl};

/// What the chart's objects are called here. The names of the roles begin with it.
const FULL_NAME: &str = "under-test";
const ACCOUNT: &str = "under-test-operator";

/// An API group, a resource (with its subresource), and a verb.
pub type Permission = (String, String, String);

/// A ServiceAccount of the chart with its roles, which are deleted when it is dropped.
pub struct Account {
    namespace: String,
    manifest: String,
    kubeconfig: PathBuf,
    _folder: TempDir,
}

/// A request that the API server answered to an account.
#[derive(Debug)]
pub struct Request {
    /// What it needed.
    pub permission: Permission,
    /// The HTTP status.
    pub code: u64,
    /// Its URI.
    pub uri: String,
}

impl Account {
    /// What the chart makes in the namespace of `space` with these settings (`--set`).
    ///
    /// # Panics
    /// When the chart cannot be rendered or its roles are not taken.
    pub async fn of_chart(space: &Space, settings: &[&str]) -> Self {
        let version = space.client().apiserver_version().await.expect("the API server answers").git_version;
        let mut helm = Command::new("helm");
        helm.args(["template", "under-test", &root().join("charts/tidemill").display().to_string()])
            .args(["--namespace", space.name(), "--set", &format!("fullnameOverride={FULL_NAME}")])
            .args(["--kube-version", &version, "--show-only", "templates/operator/rbac.yaml"])
            .args(["--show-only", "templates/operator/serviceaccount.yaml"]);
        for setting in settings {
            helm.args(["--set", setting]);
        }
        let rendered = helm.output().expect("helm is in PATH");
        let manifest = String::from_utf8_lossy(&rendered.stdout).into_owned();
        assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
        let folder = TempDir::new().expect("a temporary folder");
        let account = Self {
            namespace: space.name().to_owned(),
            manifest,
            kubeconfig: folder.path().join("kubeconfig"),
            _folder: folder,
        };
        assert!(account.pipe("apply"), "kubectl does not take what the chart renders");
        std::fs::write(&account.kubeconfig, account.token_kubeconfig()).expect("a file can be written");
        account
    }

    /// An operator that is started as this account.
    pub fn launch(&self, launch: Launch) -> Launch {
        launch.kubeconfig(&self.kubeconfig).set("operator.lease_name", ACCOUNT)
    }

    /// The file by which it is used.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Everything that its roles allow.
    ///
    /// # Panics
    /// When the chart's manifest is no YAML.
    pub fn allowed(&self) -> BTreeSet<Permission> {
        let mut allowed = BTreeSet::new();
        for document in self.manifest.split("\n---") {
            let object: Value = serde_yaml_ng::from_str(document).expect("the chart renders YAML");
            for rule in object["rules"].as_array().into_iter().flatten() {
                let texts = |name: &str| rule[name].as_array().cloned().unwrap_or_default();
                for group in texts("apiGroups") {
                    for resource in texts("resources") {
                        for verb in texts("verbs") {
                            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                            allowed.insert((text(&group), text(&resource), text(&verb)));
                        }
                    }
                }
            }
        }
        allowed
    }

    /// What the API server answered to it so far, watches that still run included. `None` where there is no audit log.
    ///
    /// # Panics
    /// When the log cannot be read.
    pub fn requests(&self) -> Option<Vec<Request>> {
        let path = script("audit-log")?.output().expect("the script of the cluster runs").stdout;
        let path = String::from_utf8(path).expect("a path").trim().to_owned();
        let log = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let user = format!("system:serviceaccount:{}:{ACCOUNT}", self.namespace);
        let lines = log.lines().filter(|line| line.contains(&user));
        let events = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        // A watch is told of twice, when it begins and when it ends.
        let once = events
            .filter(|event| event["user"]["username"] == user.as_str())
            .filter(|event| (event["verb"] == "watch") == (event["stage"] == "ResponseStarted"));
        Some(once.map(|event| request(&event)).collect())
    }

    /// Whether kubectl did that with the chart's objects.
    fn pipe(&self, verb: &str) -> bool {
        let child = Command::new("kubectl")
            .args([verb, "--namespace", &self.namespace, "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        let Ok(mut child) = child else { return false };
        let given = child.stdin.take().is_some_and(|mut stdin| stdin.write_all(self.manifest.as_bytes()).is_ok());
        given && child.wait().is_ok_and(|status| status.success())
    }

    fn token_kubeconfig(&self) -> String {
        let (made, token, complained) = kubectl(&["create", "token", ACCOUNT, "--namespace", &self.namespace]);
        assert!(made, "{complained}");
        let (_, own, _) = kubectl(&["config", "view", "--raw", "--minify", "--output", "json"]);
        let mut config: Value = serde_json::from_str(&own).expect("kubectl prints its configuration");
        config["users"][0]["user"] = json!({ "token": token.trim() });
        config.to_string()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if !self.pipe("delete") {
            eprintln!("roles of the operator in namespace {} are left behind", self.namespace);
        }
    }
}

fn request(event: &Value) -> Request {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let resource = match object["subresource"].as_str() {
        Some(subresource) => format!("{}/{subresource}", text(&object["resource"])),
        None => text(&object["resource"]),
    };
    Request {
        permission: (text(&object["apiGroup"]), resource, text(&event["verb"])),
        code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        uri: text(&event["requestURI"]),
    }
}

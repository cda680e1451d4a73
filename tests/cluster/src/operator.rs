//! The operator under test, in a process of its own outside the cluster.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use tidemill_tests::program::binary;

use crate::cluster::SOON;
use crate::{Space, holds, until};

/// The image of worker pods that name none.
pub const WORKER_IMAGE: &str = "localhost/tidemill/base:latest";
/// How many lines of its log are shown when a test fails.
const SHOWN_LINES: usize = 80;
/// How long a request for its metrics may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// What it says when it leads and its caches are filled.
const LEADING: &str = "leading: every TaskQueue is looked after by this process";

/// How an operator is started.
#[derive(Clone)]
pub struct Launch {
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Launch {
    /// An operator of one namespace, which also has its Lease.
    pub fn of(space: &Space) -> Self {
        let mut launch = Self::everywhere(space);
        launch.arguments.extend(["--namespace".to_owned(), space.name().to_owned()]);
        launch
    }

    /// An operator of all namespaces. Its Lease is in this one.
    pub fn everywhere(space: &Space) -> Self {
        let launch = Self { program: binary(), arguments: vec!["operator".to_owned()], variables: Vec::new() };
        launch
            .set("app.host", "127.0.0.1")
            .set("app.port", "0")
            .set("log.format", "json")
            .set("operator.worker_image", WORKER_IMAGE)
            .set("operator.lease_namespace", space.name())
    }

    /// With a setting.
    #[must_use]
    pub fn set(self, key: &str, value: &str) -> Self {
        let name = format!("TIDEMILL_{}", key.replace('.', "__").to_uppercase());
        self.variable(&name, value)
    }

    /// With an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With the broker at this URL offered to `namespaces`.
    #[must_use]
    pub fn offer(self, url: &str, namespaces: &str) -> Self {
        self.set("broker.url", url).set("operator.offered_namespaces", namespaces)
    }

    /// As whoever a file of kubectl's form says.
    #[must_use]
    pub fn kubeconfig(self, file: &Path) -> Self {
        self.variable("KUBECONFIG", &file.display().to_string())
    }

    /// Another program than the usual one.
    #[must_use]
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// Starts it and waits until it leads.
    pub async fn lead(self) -> Operator {
        let mut operator = self.start();
        operator.until_leading(SOON).await;
        operator
    }

    /// Starts it.
    ///
    /// # Panics
    /// When the program is not there.
    pub fn start(self) -> Operator {
        let folder = TempDir::new().expect("a temporary folder");
        let log = folder.path().join("stderr.log");
        let mut command = Command::new(&self.program);
        // What is meant for the tests is no setting of the program, and it would say so.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEMILL_")) {
            command.env_remove(name);
        }
        let child = command
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log file"))
            .spawn();
        let child =
            child.unwrap_or_else(|error| panic!("{}: {error}; build it, or set TIDEMILL_BIN", self.program.display()));
        Operator { child, log, _folder: folder }
    }
}

/// A running operator: killed when it is dropped, its log shown when the test has failed by then.
pub struct Operator {
    child: Child,
    log: PathBuf,
    _folder: TempDir,
}

impl Operator {
    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it said so far, one JSON object a line.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it leads, or did.
    pub fn has_led(&self) -> bool {
        self.log().contains(LEADING)
    }

    /// Waits until it leads and its caches are filled.
    ///
    /// # Panics
    /// When it does not, or has ended.
    pub async fn until_leading(&mut self, deadline: Duration) {
        until("the operator leads", deadline, async || {
            if let Some(ended) = self.ended() {
                panic!("the operator ended: {ended}");
            }
            holds(self.has_led(), || "it waits, or fills its caches".to_owned())
        })
        .await;
    }

    /// Kills it as `kill -9` does.
    ///
    /// # Panics
    /// When it cannot be.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process of ours can be killed");
        self.child.wait().expect("a killed process ends");
    }

    /// Asks it to end, as the kubelet does.
    ///
    /// # Panics
    /// When there is no `kill`.
    pub fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status();
        assert!(sent.expect("kill is in PATH").success(), "the operator has ended already");
    }

    /// How it ended, if it did.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child process is known")
    }

    /// Waits until it has ended: its exit code, or the number of the signal that ended it.
    pub async fn until_ended(&mut self, deadline: Duration) -> i32 {
        let status = until("the operator ends", deadline, async || self.ended().ok_or("it runs".to_owned())).await;
        status.code().or(status.signal()).unwrap_or_default()
    }

    /// Its metrics as text.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.address());
        let asked = tokio::task::spawn_blocking(move || {
            let agent: ureq::Agent =
                ureq::Agent::config_builder().timeout_global(Some(REQUEST_TIMEOUT)).proxy(None).build().into();
            agent.get(&url).header("accept", "text/plain").call()?.body_mut().read_to_string()
        });
        asked.await.expect("the request is awaited").expect("the operator answers")
    }

    /// Where it shows its health and metrics.
    ///
    /// # Panics
    /// When it has not said so.
    pub fn address(&self) -> String {
        let log = self.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let address = lines.find_map(|line| find(&line, "address"));
        address.unwrap_or_else(|| panic!("the operator does not say where it listens: {log}"))
    }

    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        if ended.is_none() {
            let killed = self.child.kill().and_then(|()| self.child.wait());
            if let Err(error) = killed {
                eprintln!("the operator {} is left running: {error}", self.pid());
            }
        }
        if std::thread::panicking() {
            eprintln!("the operator {} ended: {ended:?}; its last words:\n{}", self.pid(), self.last_words());
        }
    }
}

/// The text of this name, wherever it is in a line of the log.
fn find(line: &Value, name: &str) -> Option<String> {
    let members = line.as_object()?;
    let own = members.get(name).and_then(Value::as_str).map(str::to_owned);
    own.or_else(|| members.values().find_map(|member| find(member, name)))
}

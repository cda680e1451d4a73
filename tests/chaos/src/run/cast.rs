//! The processes of a run: each by its name, with a life that is counted up whenever it is started again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command as Plain, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use tidemill_tests::program::{binary, free_port};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::clocks;
use super::plan::{API, PRODUCERS, WORKERS};
use crate::history::{Record, Writer};
use crate::load::SHARED;
use crate::proxy::Proxy;

/// How long a process may take to end by itself.
const END_DEADLINE: Duration = Duration::from_secs(15);
/// Slots of the program's workers.
const PROGRAM_SLOTS: &str = "12";

/// What is the same for all.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Where histories and logs go.
    pub folder: PathBuf,
    /// The seed of the run.
    pub seed: u64,
    /// Where the API listens.
    pub api_port: u16,
    /// How long a silent worker keeps its claims, in milliseconds.
    pub lease_ms: u32,
    /// What moves clocks, if anything does.
    pub faketime: Option<PathBuf>,
    /// The conductor's own history.
    pub history: Writer,
}

/// A process and the proxy before what it speaks to.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// The proxy through which it reaches the store, or the API.
    pub proxy: Proxy,
    stage: Stage,
    life: u32,
    child: Option<Child>,
    work: TempDir,
}

impl Member {
    /// A member that is yet to be started. A producer by HTTP reaches the API through its proxy, all others the store.
    pub async fn new(name: &'static str, stage: &Stage, redis_port: u16) -> anyhow::Result<Self> {
        let target = if name.starts_with("http") { stage.api_port } else { redis_port };
        let proxy = Proxy::start(target).await?;
        Ok(Self { name, proxy, stage: stage.clone(), life: 0, child: None, work: TempDir::new()? })
    }

    /// All members of a run.
    pub async fn all(stage: &Stage, redis_port: u16) -> anyhow::Result<Vec<Self>> {
        let mut members = Vec::new();
        for name in [API].into_iter().chain(WORKERS).chain(PRODUCERS) {
            members.push(Self::new(name, stage, redis_port).await?);
        }
        Ok(members)
    }

    /// Its name and life, by which its history is found.
    pub fn process(&self) -> String {
        format!("{}.{}", self.name, self.life)
    }

    /// Whether it runs, as far as is known.
    pub fn is_up(&self) -> bool {
        self.child.is_some()
    }

    /// Starts it, with a clock that is off by `skew_ms`.
    pub fn start(&mut self, skew_ms: i64) -> anyhow::Result<()> {
        anyhow::ensure!(self.child.is_none(), "{} runs already", self.name);
        self.life += 1;
        let process = self.process();
        let mut command = self.command(skew_ms)?;
        if let (true, Some(library)) = (skew_ms != 0, &self.stage.faketime) {
            command.envs(clocks::environment(library, skew_ms));
        }
        let log = File::create(self.stage.folder.join(format!("{process}.{}", self.log_suffix())))?;
        command
            .current_dir(self.work.path())
            .env_remove("TIDEMILL_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        self.stage.history.note(&Record::Spawned { process: process.clone(), skew_ms });
        self.child = Some(command.spawn().with_context(|| process)?);
        Ok(())
    }

    /// The program's logs are histories; what a process of this harness has to say is for people.
    fn log_suffix(&self) -> &'static str {
        if self.is_program() { crate::history::program_log::SUFFIX } else { "err" }
    }

    fn is_program(&self) -> bool {
        self.name == API || self.name.starts_with("program")
    }

    fn command(&self, skew_ms: i64) -> anyhow::Result<Command> {
        let process = self.process();
        let url = format!("redis://127.0.0.1:{}", self.proxy.port());
        let stage = &self.stage;
        if self.is_program() {
            let (role, port) = if self.name == API { ("api", stage.api_port) } else { ("worker", 0) };
            let mut command = Command::new(binary());
            command
                .arg(role)
                .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--log-format", "json"])
                .args(["--broker-url", &url, "--queue", SHARED, "--slots", PROGRAM_SLOTS])
                .args(["--set", &format!("queue.settings.lease_ms={}", stage.lease_ms)])
                .args(["--set", "app.executor_shutdown_timeout_ms=1000", "--log-file", ""])
                // By which the broker lists it.
                .env("POD_NAME", &process);
            return Ok(command);
        }
        let (role, place) = match self.name {
            name if name.starts_with("http") => ("produce-http", self.proxy.port().to_string()),
            name if name.starts_with("direct") => ("produce-direct", url),
            _ => ("work", url),
        };
        let mut command = Command::new(std::env::current_exe()?);
        // A producer that is started again goes on with other tasks.
        let seed = stage.seed.wrapping_mul(1_000).wrapping_add(self.life.into());
        command
            .args([role, &place, "--name", &process, "--skew-ms", &skew_ms.to_string(), "--seed", &seed.to_string()])
            .arg("--dir")
            .arg(&stage.folder);
        Ok(command)
    }

    /// Sends it a signal by name. Whether there was anyone to send it to.
    pub fn signal(&self, name: &str) -> bool {
        self.child.as_ref().and_then(Child::id).is_some_and(|id| signal(id, name))
    }

    /// Kills it as `kill -9` does.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
            self.ended("kill -9");
        }
        Ok(())
    }

    /// Tells it to end and waits for that, and kills it where it does not in time. Whether it ended by itself.
    pub async fn terminate(&mut self) -> anyhow::Result<bool> {
        let asked = self.signal("TERM");
        let Some(child) = &mut self.child else { return Ok(true) };
        if asked && timeout(END_DEADLINE, child.wait()).await.is_ok() {
            self.child = None;
            self.ended("SIGTERM");
            return Ok(true);
        }
        self.kill().await?;
        Ok(false)
    }

    /// Notices an end that nobody ordered: the status and the last words.
    pub fn fell(&mut self) -> anyhow::Result<Option<String>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let Some(status) = child.try_wait()? else { return Ok(None) };
        self.child = None;
        self.ended("itself");
        let log = self.stage.folder.join(format!("{}.{}", self.process(), self.log_suffix()));
        Ok(Some(format!("{} ended by itself with {status}; its last words: {}", self.process(), last_line(&log))))
    }

    fn ended(&self, how: &str) {
        self.stage.history.note(&Record::Ended { process: self.process(), how: how.to_owned() });
    }

    /// Whether the clock of a program that was started with one that is off really is: its first line tells.
    pub fn clock_is_off(&self, skew_ms: i64) -> Option<bool> {
        if !self.is_program() {
            return Some(true);
        }
        let log = std::fs::read_to_string(self.stage.folder.join(format!("{}.log", self.process()))).ok()?;
        let line: serde_json::Value = serde_json::from_str(log.lines().next()?).ok()?;
        let shown: jiff::Timestamp = line["timestamp"].as_str()?.parse().ok()?;
        Some(clocks::is_off(shown.as_millisecond(), skew_ms))
    }
}

/// Sends a signal by name to a process.
pub fn signal(id: u32, name: &str) -> bool {
    Plain::new("kill").args([&format!("-{name}"), &id.to_string()]).status().is_ok_and(|status| status.success())
}

/// A port for the API that is free now and stays the same through its lives.
pub fn api_port() -> std::io::Result<u16> {
    free_port()
}

fn last_line(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().next_back().unwrap_or_default().to_owned()
}

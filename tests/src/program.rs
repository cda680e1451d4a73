//! The `tidemill` program in a process of its own.

use std::fs::File;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::until;

/// How long the program may take to be ready.
const READY_DEADLINE: Duration = Duration::from_secs(20);
/// How long a request may take.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);

/// A running program, killed when dropped. It works in a folder of its own.
#[derive(Debug)]
pub struct Program {
    child: Child,
    port: u16,
    folder: TempDir,
    agent: ureq::Agent,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers that came with it, by lower-case name.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[allow(clippy::panic)] // a test fails by panicking
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    /// A header, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// The program that is tested.
pub fn binary() -> PathBuf {
    std::env::var_os("TIDEMILL_BIN").map_or_else(
        || {
            let mut path = std::env::current_exe().unwrap_or_default();
            path.pop();
            if path.ends_with("deps") {
                path.pop();
            }
            path.join("tidemill")
        },
        PathBuf::from,
    )
}

/// A port that is free now.
pub fn free_port() -> std::io::Result<u16> {
    TcpListener::bind("127.0.0.1:0")?.local_addr().map(|address| address.port())
}

impl Program {
    /// Starts `tidemill ROLE ARGS` on a free port and waits until it is ready.
    pub fn start(role: &str, args: &[&str]) -> anyhow::Result<Self> {
        let program = Self::start_at(role, args, free_port()?, TempDir::new()?)?;
        program.wait_ready();
        Ok(program)
    }

    /// Starts it at a port, in a folder that may hold what an earlier one left; does not wait.
    pub fn start_at(role: &str, args: &[&str], port: u16, folder: TempDir) -> anyhow::Result<Self> {
        Self::start_program_at(&binary(), role, args, port, folder)
    }

    /// Starts another program that takes the same arguments and waits until it is ready: the one of this name that was
    /// built beside `tidemill`.
    pub fn start_other(name: &str, role: &str, args: &[&str]) -> anyhow::Result<Self> {
        let program = binary().with_file_name(name);
        let program = Self::start_program_at(&program, role, args, free_port()?, TempDir::new()?)?;
        program.wait_ready();
        Ok(program)
    }

    fn start_program_at(program: &Path, role: &str, args: &[&str], port: u16, folder: TempDir) -> anyhow::Result<Self> {
        let child = Command::new(program)
            .arg(role)
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--log-format", "json"])
            .args(args)
            .current_dir(folder.path())
            .env_remove("TIDEMILL_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.path().join("stderr.log"))?)
            .spawn()?;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST_DEADLINE))
            .proxy(None)
            .build();
        Ok(Self { child, port, folder, agent: config.into() })
    }

    /// Waits until `/readyz` says so.
    pub fn wait_ready(&self) {
        until(&format!("the program is ready; its log: {}", self.log()), READY_DEADLINE, || self.is_ready());
    }

    /// Whether `/readyz` says so.
    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_ok_and(|answer| answer.status == 200)
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder in which it works.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it wrote to stderr so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr.log")).unwrap_or_default()
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        answer(self.agent.get(self.url(path)).call()?)
    }

    /// `POST path` with a JSON body, as written.
    pub fn post(&self, path: &str, body: &str) -> anyhow::Result<Answer> {
        answer(self.agent.post(self.url(path)).header("content-type", "application/json").send(body)?)
    }

    /// `POST path` with a JSON body and headers.
    pub fn post_with(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let mut request = self.agent.post(self.url(path)).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send(body)?)
    }

    /// `PUT path` with a JSON body.
    pub fn put(&self, path: &str, body: &str) -> anyhow::Result<Answer> {
        answer(self.agent.put(self.url(path)).header("content-type", "application/json").send(body)?)
    }

    /// `DELETE path`.
    pub fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        answer(self.agent.delete(self.url(path)).call()?)
    }

    /// `GET path` with headers.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let mut request = self.agent.get(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.call()?)
    }

    /// A queue's figures by `/api/v1`.
    ///
    /// # Panics
    /// When the server does not answer.
    #[allow(clippy::panic)] // a test fails by panicking
    pub fn figure(&self, queue: &str, name: &str) -> u64 {
        let path = format!("/api/v1/queues/{queue}");
        let queue = self.get(&path).unwrap_or_else(|error| panic!("{path}: {error}")).json();
        queue.pointer(name).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {name} in {queue}"))
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    /// Kills it as `kill -9` does, and keeps its folder and port for another.
    pub fn kill_for_restart(mut self) -> anyhow::Result<(u16, TempDir)> {
        self.kill()?;
        let folder = std::mem::replace(&mut self.folder, TempDir::new()?);
        Ok((self.port, folder))
    }

    /// Sends it a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status()?;
        anyhow::ensure!(sent.success(), "kill -{name}: {sent}");
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within `deadline`.
    pub fn wait_end(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let mut status = None;
        until("the program ends", deadline, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        });
        status
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

fn answer(response: ureq::http::Response<ureq::Body>) -> anyhow::Result<Answer> {
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let mut text = String::new();
    response.into_body().into_reader().read_to_string(&mut text)?;
    Ok(Answer { status, headers, text })
}

//! Runs the program: to its end, or as a server on a free port in a folder of its own.

#![allow(clippy::unwrap_used, clippy::expect_used)] // what fails here fails the test

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(20);

/// How a run ended.
pub(crate) struct End {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The program, without the settings of whoever runs the tests.
pub(crate) fn tidemill() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEMILL_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn told(command: &mut Command) -> End {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    End { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// Waits until something is so; `what` says in a failure what did not come about.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process, killed when it is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Sends SIGTERM.
    pub(crate) fn signal(&self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Waits for its end. The exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        until("the process has ended", || self.0.try_wait().unwrap().is_some());
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|status| status.is_none()) {
            self.0.kill().and_then(|()| self.0.wait()).unwrap();
        }
    }
}

/// A running `tidemill standalone`.
pub(crate) struct Standalone {
    running: Running,
    url: String,
    log: Option<JoinHandle<String>>,
    folder: TempDir,
}

impl Standalone {
    /// Starts it and waits until it says where it is.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(tidemill(), arguments)
    }

    /// The same of a command that runs [`tidemill`] in its own way.
    pub(crate) fn start_with(mut tidemill: Command, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = tidemill
            .current_dir(folder.path())
            .args(["standalone", "--host", "127.0.0.1", "--port", "0", "--log-format", "json"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut running = Running(child);
        let stderr = BufReader::new(running.0.stderr.take().unwrap());
        let (url_in, url) = mpsc::channel();
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            for line in stderr.lines().map_while(Result::ok) {
                let url = serde_json::from_str::<serde_json::Value>(&line)
                    .ok()
                    .and_then(|line| line["url"].as_str().map(|url| url.trim_end_matches('/').to_owned()));
                // Whoever waits has the first; nobody wants a second.
                url.map(|url| url_in.send(url).ok());
                log.push_str(&line);
                log.push('\n');
            }
            log
        });
        let url = url.recv_timeout(DEADLINE).expect("the server says where it is");
        Self { running, url, log: Some(log), folder }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The program as a client of this server.
    pub(crate) fn client(&self) -> Command {
        let mut command = tidemill();
        command.env("TIDEMILL_SERVER", &self.url);
        command
    }

    /// Sends SIGTERM.
    pub(crate) fn signal(&self) {
        self.running.signal();
    }

    /// Waits until a line of the log holds `text`.
    pub(crate) fn waits_for(&self, text: &str) {
        until(&format!("the log says {text:?}"), || {
            std::fs::read_to_string(self.folder().join("logs.txt")).is_ok_and(|log| log.contains(text))
        });
    }

    /// Sends SIGTERM and waits. The exit code and all that it logged.
    pub(crate) fn stop(self) -> (Option<i32>, String) {
        let ((code, log), _) = self.stop_keeping();
        (code, log)
    }

    /// The same, and the folder, so that another may go on in it.
    pub(crate) fn stop_keeping(mut self) -> ((Option<i32>, String), TempDir) {
        self.signal();
        let code = self.running.ended();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        ((code, self.log.take().unwrap().join().unwrap()), folder)
    }
}

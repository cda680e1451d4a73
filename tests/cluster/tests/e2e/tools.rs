//! Pods that are users: they talk to the API by the name of its Service.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::images;
use crate::kubectl::{NAMESPACE, apply, kubectl, wait_for};
use crate::release::RELEASE;

/// The pod that sends requests.
pub(crate) const CLIENT: &str = "client";
/// The pod that listens to events.
const LISTENER: &str = "listener";
/// How long these pods may take to start.
const STARTING: Duration = Duration::from_mins(1);
/// How long curl waits for an answer, in seconds.
const ANSWER_SECONDS: &str = "20";
/// How long a WebSocket may take to be open.
const CONNECTING: Duration = Duration::from_secs(30);

/// Starts the pods, and waits until they run.
pub(crate) fn start() {
    for pod in [CLIENT, LISTENER] {
        apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": pod },
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "tools", "image": images::TOOLS, "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "1000000"],
                }],
            },
        }))
        .done();
    }
    wait_for("condition=Ready", &["pod", CLIENT, LISTENER], STARTING).done();
}

/// The address of the API's Service.
pub(crate) fn api() -> String {
    format!("{RELEASE}-api.{NAMESPACE}.svc:8080")
}

/// The token that the chart generated.
pub(crate) fn token() -> String {
    kubectl(&["get", "secret", &format!("{RELEASE}-auth"), "--template={{.data.token | base64decode}}"]).done()
}

/// What the API answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status; 0 where there was no answer.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: String,
}

impl Answer {
    /// The body of an answer of this status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// curl from a pod, with these arguments; the URL is among them.
pub(crate) fn curl(args: &[&str]) -> Answer {
    let head = ["exec", CLIENT, "--", "curl", "-sS", "-m", ANSWER_SECONDS, "-w", "\n%{http_code}"];
    let args: Vec<&str> = head.into_iter().chain(args.iter().copied()).collect();
    let said = kubectl(&args);
    let (body, status) = said.out.rsplit_once('\n').unwrap_or(("", "0"));
    let status = status.trim().parse().unwrap_or(0);
    Answer { status, body: if status == 0 { said.err } else { body.to_owned() } }
}

/// A request with the token; with a body it is a POST.
pub(crate) fn request(path: &str, body: Option<&str>) -> Answer {
    let (url, bearer) = (format!("http://{}{path}", api()), format!("Authorization: Bearer {}", token()));
    match body {
        Some(body) => curl(&["-H", &bearer, "-H", "Content-Type: application/json", "-d", body, &url]),
        None => curl(&["-H", &bearer, &url]),
    }
}

/// A WebSocket that a pod holds open.
pub(crate) struct Listening {
    child: Child,
    messages: Receiver<String>,
}

impl Listening {
    /// Opens it; every event from now on is seen.
    pub(crate) fn to(path: &str) -> Self {
        let url = format!("ws://{}{path}", api());
        let mut child = Command::new("kubectl")
            .args(["--namespace", NAMESPACE, "exec", LISTENER, "--", "ws", "-token", &token(), "-t", "10m", &url])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, messages) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let (send, opened) = channel();
        let err = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || err.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let said = opened.recv_timeout(CONNECTING).expect("the WebSocket says that it is open");
        assert_eq!(said, "connected");
        Self { child, messages }
    }

    /// The messages until `enough` of them have come; those so far where it took longer than `limit`.
    pub(crate) fn until(&self, limit: Duration, mut enough: impl FnMut(&[Value]) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + limit;
        let mut seen = Vec::new();
        while !enough(&seen) {
            match self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => seen.push(serde_json::from_str(&line).expect("a message is JSON")),
                Err(_) => break,
            }
        }
        seen
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

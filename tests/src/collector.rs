//! A real OpenTelemetry collector (tests/otel/go), and the spans in the file that it writes.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::free_port;
use crate::until;

/// How long the collector may take to listen.
const READY_DEADLINE: Duration = Duration::from_secs(20);
/// How long spans may take to stand in its file: they are sent every few seconds.
const SPANS_DEADLINE: Duration = Duration::from_secs(30);

/// A running collector, killed when dropped.
#[derive(Debug)]
pub struct Collector {
    child: Child,
    port: u16,
    folder: TempDir,
}

/// A span as the collector took it.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace.
    pub trace: String,
    /// Its id.
    pub id: String,
    /// That of the span that it is part of; empty of a root.
    pub parent: String,
    /// What it is called.
    pub name: String,
    /// 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub kind: u64,
    /// When it began, in nanoseconds since the Unix epoch.
    pub began_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
    /// Its attributes, as text.
    pub attributes: BTreeMap<String, String>,
    /// Those of what sent it.
    pub resource: BTreeMap<String, String>,
    /// The ids of the spans that it is linked to.
    pub links: Vec<String>,
    /// Whether it says that it failed.
    pub failed: bool,
}

impl Span {
    /// An attribute, empty where there is none.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

impl Collector {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When there is none to start.
    pub fn start() -> anyhow::Result<Self> {
        let (port, folder) = (free_port()?, TempDir::new()?);
        let program = program();
        assert!(program.exists(), "there is no {}: scripts/setup collector builds it", program.display());
        let file = folder.path().join("spans.json");
        let config = format!(
            "yaml:{{receivers: {{otlp: {{protocols: {{http: {{endpoint: 127.0.0.1:{port}}}}}}}}}, \
             exporters: {{file: {{path: {}, flush_interval: 100ms}}}}, \
             service: {{telemetry: {{metrics: {{level: none}}}}, \
             pipelines: {{traces: {{receivers: [otlp], exporters: [file]}}}}}}}}",
            file.display()
        );
        let child = Command::new(program)
            .args(["--config", &config])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.path().join("stderr.log"))?)
            .spawn()?;
        let collector = Self { child, port, folder };
        until("the collector listens", READY_DEADLINE, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Ok(collector)
    }

    /// Where it takes OTLP over HTTP.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr.log")).unwrap_or_default()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        let text = std::fs::read_to_string(self.folder.path().join("spans.json")).unwrap_or_default();
        // The last line may be half written.
        text.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .flat_map(|batch| spans(&batch))
            .collect()
    }

    /// The spans of one trace, once there are as many as `expected`.
    pub fn trace(&self, trace: &str, expected: usize) -> Vec<Span> {
        let mut found = Vec::new();
        until(&format!("the collector has {expected} spans of {trace}"), SPANS_DEADLINE, || {
            found = self.spans();
            found.retain(|span| span.trace == trace);
            found.len() >= expected
        });
        found
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// The collector that `OTEL_COLLECTOR` names, else the one that scripts/setup built.
fn program() -> PathBuf {
    std::env::var_os("OTEL_COLLECTOR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin/otel-collector"), PathBuf::from)
}

fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    of[name].as_array().map_or(&[], Vec::as_slice)
}

fn spans(batch: &Value) -> Vec<Span> {
    let mut found = Vec::new();
    for resource in list(batch, "resourceSpans") {
        let sender = attributes(&resource["resource"]);
        for span in list(resource, "scopeSpans").iter().flat_map(|scope| list(scope, "spans")) {
            let text = |name: &str| span[name].as_str().unwrap_or_default().to_owned();
            found.push(Span {
                trace: text("traceId"),
                id: text("spanId"),
                parent: text("parentSpanId"),
                name: text("name"),
                kind: span["kind"].as_u64().unwrap_or_default(),
                began_ns: text("startTimeUnixNano").parse().unwrap_or_default(),
                ended_ns: text("endTimeUnixNano").parse().unwrap_or_default(),
                attributes: attributes(span),
                resource: sender.clone(),
                links: list(span, "links")
                    .iter()
                    .filter_map(|link| Some(link["spanId"].as_str()?.to_owned()))
                    .collect(),
                failed: span["status"]["code"].as_u64() == Some(2),
            });
        }
    }
    found
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let value = |attribute: &Value| attribute["value"].as_object()?.values().next().map(text);
    list(of, "attributes")
        .iter()
        .filter_map(|attribute| Some((attribute["key"].as_str()?.to_owned(), value(attribute)?)))
        .collect()
}

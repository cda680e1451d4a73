//! A real Prometheus that scrapes what a test runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::LOOK_EVERY;
use crate::program::free_port;

/// The variable that names the program, and the program where it is not set.
const PROGRAM: (&str, &str) = ("PROMETHEUS", "prometheus");
/// How long it may take to be ready.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// How long a query may take.
const QUERY_DEADLINE: Duration = Duration::from_secs(10);
/// How often it scrapes, and judges the alerts.
const INTERVAL: &str = "1s";

/// What is scraped.
#[derive(Debug, Clone)]
pub struct Target {
    /// The label `job`.
    pub job: &'static str,
    /// `HOST:PORT`, of which `/metrics` is read.
    pub address: String,
    /// The label `namespace`, as it would be on Kubernetes, unless the metric brings one of its own.
    pub namespace: String,
}

/// A running Prometheus, killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    address: String,
    agent: ureq::Agent,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes `targets` each second and judges the alerts in the file `rules`, and waits until it is ready.
    pub fn scrape(targets: &[Target], rules: &Path) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let configuration = folder.path().join("prometheus.json");
        let groups: Vec<Value> = targets
            .iter()
            .map(|Target { job, address, namespace }| {
                json!({ "targets": [address], "labels": { "job": job, "namespace": namespace } })
            })
            .collect();
        // JSON is YAML.
        let text = json!({
            "global": { "scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL },
            "rule_files": [rules],
            "scrape_configs": [{ "job_name": "tidemill", "honor_labels": true, "static_configs": groups }],
        });
        fs::write(&configuration, text.to_string())?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let program = std::env::var(PROGRAM.0).unwrap_or_else(|_| PROGRAM.1.to_owned());
        let log = folder.path().join("stderr.log");
        let child = Command::new(&program)
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()
            .map_err(|error| {
                anyhow::anyhow!("{program}: {error}; scripts/setup prometheus fetches it, {} names it", PROGRAM.0)
            })?;
        let config =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(QUERY_DEADLINE)).proxy(None);
        let started = Self { child, address, agent: config.build().into(), _folder: folder };
        let ready = format!("http://{}/-/ready", started.address);
        let began = Instant::now();
        while !started.agent.get(&ready).call().is_ok_and(|answer| answer.status() == 200) {
            let said = || fs::read_to_string(&log).unwrap_or_default();
            anyhow::ensure!(began.elapsed() < READY_DEADLINE, "Prometheus is not ready; its log: {}", said());
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(started)
    }

    /// What a query finds now: the labels and the value of each series. The error is what Prometheus has against it.
    pub fn ask(&self, query: &str) -> Result<Vec<(Value, f64)>, String> {
        let url = format!("http://{}/api/v1/query", self.address);
        let mut answer = self.agent.get(url).query("query", query).call().map_err(|error| error.to_string())?;
        let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
        let said: Value = serde_json::from_str(&text).map_err(|error| format!("{error} in {text:?}"))?;
        if said["status"] != "success" {
            return Err(said["error"].to_string());
        }
        let result = &said["data"]["result"];
        let sample = |labels: &Value, value: &Value| {
            let value = value[1].as_str().and_then(|text| text.parse().ok())?;
            Some((labels.clone(), value))
        };
        match result.as_array() {
            Some(series) if said["data"]["resultType"] == "vector" => {
                Ok(series.iter().filter_map(|one| sample(&one["metric"], &one["value"])).collect())
            }
            _ => Ok(sample(&Value::Null, result).into_iter().collect()),
        }
    }

    /// The one figure that a query finds; nothing where it finds none, several or an error.
    pub fn figure(&self, query: &str) -> Option<f64> {
        match self.ask(query).as_deref() {
            Ok([(_, value)]) => Some(*value),
            _ => None,
        }
    }

    /// The same of a count.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // counts are whole and small
    pub fn count(&self, query: &str) -> Option<u64> {
        self.figure(query).map(|figure| figure.round() as u64)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// The file of alerts that the chart renders.
pub fn alerts_file() -> PathBuf {
    repository().join("config/monitoring/alerts.yaml")
}

/// The checkout that these tests are part of.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(1).unwrap_or(Path::new(".")).to_owned()
}

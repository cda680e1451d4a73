//! A Prometheus outside of the cluster, and promtool.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kubectl::{NAMESPACE, get, names};
use crate::process;
use crate::queue::Queue;
use crate::release;
use crate::tools::curl;
use crate::wait::{ensure, until};

/// How long pods may take to be there.
const STARTING: Duration = Duration::from_mins(1);
/// How long Prometheus may take to have scraped everything.
const SCRAPED_WITHIN: Duration = Duration::from_mins(1);
/// How long promtool may take.
const TOOL: Duration = Duration::from_secs(30);
/// How long a forwarded port may take to be open.
const FORWARDING: Duration = Duration::from_secs(20);
/// Tasks whose figures must arrive.
const TASKS: usize = 7;

/// A program that ends with the scenario.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub(crate) fn run() {
    release::needed();
    let spec = json!({ "scaling": { "mode": "Manual" }, "worker": { "workersLimit": 3 } });
    let queue = Queue::ready("measured", &spec);
    queue.has_pods(1, STARTING);
    queue.send(TASKS, 10);
    queue.settled(STARTING);

    let pods = |label: &str| names(&["pods", &format!("--selector={label}")]).unwrap();
    let targets: Vec<(&str, String, u16)> = [
        ("operator", pods("app.kubernetes.io/component=operator"), 8080),
        ("api", pods("app.kubernetes.io/component=api"), 9090),
        ("worker", pods("tidemill.dev/queue-owner=measured"), 8080),
    ]
    .into_iter()
    .flat_map(|(job, pods, port)| pods.into_iter().map(move |pod| (job, pod, port)))
    .collect();
    assert_eq!(targets.len(), 5, "two operators, two APIs, a worker: {targets:?}");
    for (job, pod, port) in &targets {
        is_well_formed(job, pod, *port);
    }
    is_scraped(&targets);
    queue.delete();
    queue.gone(STARTING);
}

/// What a pod shows satisfies `promtool check metrics`, which also says what good names are.
fn is_well_formed(job: &str, pod: &str, port: u16) {
    let address = get(&["pod", pod]).unwrap()["status"]["podIP"].take();
    let url = format!("http://{}:{port}/metrics", address.as_str().unwrap());
    // As Prometheus asks for it, but for the formats that promtool does not read.
    let text = curl(&["-H", "Accept: text/plain;version=0.0.4", &url]).is(200);
    let said = process::run(&program("PROMTOOL"), &["check", "metrics"], &text, TOOL);
    assert!(
        said.ok && said.out.trim().is_empty() && said.err.trim().is_empty(),
        "{job} {pod}: {}{}",
        said.out,
        said.err
    );
    println!("promtool is content with {} lines of {job} {pod}", text.lines().count());
}

fn is_scraped(targets: &[(&str, String, u16)]) {
    let forwarded: Vec<(Running, Value)> = targets
        .iter()
        .map(|(job, pod, port)| {
            let (forward, at) = forward(pod, *port);
            (forward, json!({ "targets": [at], "labels": { "job": job, "pod": pod } }))
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let configuration = folder.path().join("prometheus.json");
    let groups: Vec<&Value> = forwarded.iter().map(|(_, group)| group).collect();
    let scrape = json!([{ "job_name": "tidemill", "static_configs": groups }]);
    let text = json!({ "global": { "scrape_interval": "1s", "scrape_timeout": "1s" }, "scrape_configs": scrape });
    // JSON is YAML.
    fs::write(&configuration, text.to_string()).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let prometheus = Command::new(program("PROMETHEUS"))
        .arg(format!("--config.file={}", configuration.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _prometheus = Running(prometheus);
    let server = format!("http://{address}");
    let finds = |query: &str, wanted: &str| {
        until(SCRAPED_WITHIN, query, || {
            let said = process::run(&program("PROMTOOL"), &["query", "instant", &server, query], "", TOOL).result()?;
            // A line is `{labels} => value @[time]`.
            let value = said.split("=> ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("nothing");
            ensure(value == wanted, || format!("{value} instead of {wanted}"))
        });
        println!("{query} is {wanted}");
    };
    finds("sum(up)", "5");
    finds("count by (job) (up{job=\"operator\"})", "2");
    finds("sum(tidemill_operator_leader)", "1");
    finds("sum(tidemill_taskqueue_ready_replicas{name=\"measured\"})", "1");
    // Queue-wide figures come from the leader alone, so that replicas do not double them.
    finds("sum(tidemill_queue_transitions_total{queue=\"measured\",transition=\"succeeded\"})", &TASKS.to_string());
    finds("sum(tidemill_worker_slots{job=\"worker\"})", "3");
    finds("min(tidemill_broker_up{job=~\"api|worker\"})", "1");
}

/// A port of this machine that leads to one of a pod, and its address.
fn forward(pod: &str, port: u16) -> (Running, String) {
    let mut child = Command::new("kubectl")
        .args([
            "--namespace",
            NAMESPACE,
            "port-forward",
            &format!("pod/{pod}"),
            &format!(":{port}"),
            "--address=127.0.0.1",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let running = Running(child);
    let (send, lines) = channel();
    // It says something of each connection, and must not be stopped from it.
    thread::spawn(move || out.lines().map_while(Result::ok).for_each(|line| drop(send.send(line))));
    let line = lines.recv_timeout(FORWARDING).expect("kubectl says which port it forwards");
    let address = line.split(' ').find(|word| word.starts_with("127.0.0.1:")).expect("the line names an address");
    (running, address.to_owned())
}

/// The path of a program that scripts/test has put in a variable, or its name in PATH.
fn program(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| variable.to_lowercase())
}

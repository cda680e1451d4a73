//! `make soak DURATION=30m`: does the memory of API and worker stay flat under steady load?
//!
//! One API and one worker on a Redis, tasks enqueued over HTTP at a steady rate, the figures read as a page reads them, and
//! WebSocket clients that come and go, half of them without a word. Prints what each process holds resident, and ends with
//! exit code 1 where that grew between the second quarter of the time and the last by more than [`GROWTH_MAX`] and
//! [`SLACK_KIB`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tidemill_tests::{Program, RedisServer};
use tokio_tungstenite::tungstenite::stream::MaybeTlsStream;

/// Tasks of one request, and how often one is sent: 500 tasks a second.
const BATCH: usize = 25;
const BATCH_EVERY: Duration = Duration::from_millis(50);
/// How long each task takes.
const TASK_MS: u32 = 20;
/// WebSocket clients at a time, and how long each stays.
const CLIENTS: u64 = 20;
const STAY: Duration = Duration::from_millis(1_500);
/// How often what the page shows is read.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many lines the table has, whatever the duration.
const LINES: u32 = 40;
/// Memory that an allocator keeps back, on a good day, is more than this share of all, or this much.
const GROWTH_MAX: f64 = 0.05;
const SLACK_KIB: f64 = 2_048.0;

/// What the threads share.
#[derive(Default)]
struct Shared {
    over: AtomicBool,
    enqueued: AtomicU64,
    connected: AtomicU64,
    heard: AtomicU64,
    failed: AtomicU64,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn note(&self, outcome: &anyhow::Result<()>) {
        if let Err(error) = outcome {
            self.failed.fetch_add(1, Ordering::Relaxed);
            eprintln!("soak: {error:#}");
        }
    }
}

/// One line of the table.
struct Sample {
    api_kib: u64,
    worker_kib: u64,
}

fn main() -> anyhow::Result<()> {
    let text = std::env::args().nth(1).unwrap_or_else(|| "1m".to_owned());
    let duration = parse(&text).with_context(|| format!("{text:?} is no duration; one looks like 90s, 30m or 2h"))?;
    let redis = RedisServer::start();
    let url = redis.url();
    let api = Arc::new(Program::start("api", &["--broker-url", &url, "--form", "html_ws"])?);
    let worker = Program::start("worker", &["--broker-url", &url, "--slots", "50"])?;

    let shared = Arc::new(Shared::default());
    let mut threads = vec![
        every(&shared, BATCH_EVERY, Arc::clone(&api), enqueue),
        every(&shared, LOOK_EVERY, Arc::clone(&api), look),
    ];
    for number in 0..CLIENTS {
        let (shared, address) = (Arc::clone(&shared), api.address());
        threads.push(std::thread::spawn(move || {
            while !shared.is_over() {
                shared.note(&listen(&shared, &address, number));
            }
        }));
    }
    let samples = sample(&shared, duration, &api, &worker)?;
    shared.over.store(true, Ordering::Relaxed);
    for thread in threads {
        anyhow::ensure!(thread.join().is_ok(), "a thread of the load panicked");
    }
    judge(&shared, &samples)
}

fn parse(text: &str) -> anyhow::Result<Duration> {
    let (digits, unit) = text.split_at(text.len().saturating_sub(1));
    let number: u64 = digits.parse()?;
    match unit {
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_mins(number)),
        "h" => Ok(Duration::from_hours(number)),
        _ => anyhow::bail!("the unit is s, m or h"),
    }
}

/// Repeats `step` at a steady pace until all is over.
fn every(
    shared: &Arc<Shared>,
    pace: Duration,
    api: Arc<Program>,
    step: fn(&Shared, &Program) -> anyhow::Result<()>,
) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let mut next = Instant::now();
        while !shared.is_over() {
            shared.note(&step(&shared, &api));
            next = (next + pace).max(Instant::now());
            std::thread::sleep(next - Instant::now()); // the pace is what is wanted
        }
    })
}

fn enqueue(shared: &Shared, api: &Program) -> anyhow::Result<()> {
    let first = shared.enqueued.fetch_add(BATCH as u64, Ordering::Relaxed);
    let tasks: Vec<_> = (first..first + BATCH as u64).map(|number| format!("\"soak-{number}\":{TASK_MS}")).collect();
    let answer = api.post("/schedule", &format!("{{{}}}", tasks.join(",")))?;
    anyhow::ensure!(answer.status == 202, "an enqueue was answered {}: {}", answer.status, answer.text);
    Ok(())
}

fn look(_: &Shared, api: &Program) -> anyhow::Result<()> {
    for path in ["/tasks", "/metrics", "/api/v1/queues", "/api/v1/queues/default/tasks?state=succeeded", "/readyz"] {
        let answer = api.get(path)?;
        anyhow::ensure!(answer.status == 200, "{path} was answered {}: {}", answer.status, answer.text);
    }
    Ok(())
}

/// Listens for a while, and leaves: every other one without a word.
fn listen(shared: &Shared, address: &str, number: u64) -> anyhow::Result<()> {
    let (mut socket, _) = tokio_tungstenite::tungstenite::connect(format!("ws://{address}/ws"))?;
    let connected = shared.connected.fetch_add(1, Ordering::Relaxed);
    if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
        stream.set_read_timeout(Some(STAY))?;
    }
    let until = Instant::now() + STAY + Duration::from_millis(37 * number);
    while Instant::now() < until && !shared.is_over() {
        // A read that took too long, and a close of a client that fell behind, both end this visit.
        if socket.read().is_err() {
            return Ok(());
        }
        shared.heard.fetch_add(1, Ordering::Relaxed);
    }
    if connected % 2 == 0 {
        socket.close(None)?;
    }
    Ok(())
}

fn sample(shared: &Shared, duration: Duration, api: &Program, worker: &Program) -> anyhow::Result<Vec<Sample>> {
    let began = Instant::now();
    let mut samples = Vec::new();
    println!(
        "{:>8} {:>12} {:>12} {:>10} {:>10} {:>12} {:>12} {:>7}",
        "time", "API, KiB", "worker, KiB", "enqueued", "succeeded", "connections", "messages", "errors"
    );
    for line in 1..=LINES {
        std::thread::sleep((began + duration * line / LINES).saturating_duration_since(Instant::now()));
        let one = Sample { api_kib: resident_kib(api.pid())?, worker_kib: resident_kib(worker.pid())? };
        let figure = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        println!(
            "{:>6.0} s {:>12} {:>12} {:>10} {:>10} {:>12} {:>12} {:>7}",
            began.elapsed().as_secs_f64(),
            one.api_kib,
            one.worker_kib,
            figure(&shared.enqueued),
            api.figure("default", "/counters/succeeded"),
            figure(&shared.connected),
            figure(&shared.heard),
            figure(&shared.failed),
        );
        samples.push(one);
    }
    Ok(samples)
}

/// What a process holds in memory.
fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The median of one quarter of the samples.
#[allow(clippy::cast_precision_loss)] // memory in KiB is far below 2^52
fn quarter(samples: &[Sample], number: usize, figure: fn(&Sample) -> u64) -> f64 {
    let length = samples.len() / 4;
    let mut values: Vec<_> = samples[number * length..(number + 1) * length].iter().map(figure).collect();
    values.sort_unstable();
    values[values.len() / 2] as f64
}

fn judge(shared: &Shared, samples: &[Sample]) -> anyhow::Result<()> {
    let mut grown = Vec::new();
    for (name, figure) in [("API", (|one| one.api_kib) as fn(&Sample) -> u64), ("worker", |one| one.worker_kib)] {
        let (second, last) = (quarter(samples, 1, figure), quarter(samples, 3, figure));
        println!(
            "{name}: {second:.0} KiB in the second quarter, {last:.0} KiB in the last: {:+.1} %",
            (last / second - 1.0) * 100.0
        );
        if last > second * (1.0 + GROWTH_MAX) + SLACK_KIB {
            grown.push(name);
        }
    }
    let failed = shared.failed.load(Ordering::Relaxed);
    anyhow::ensure!(failed == 0, "{failed} requests or connections failed");
    anyhow::ensure!(grown.is_empty(), "the memory of {} grows", grown.join(" and "));
    println!("soak: flat");
    Ok(())
}

//! One round of measurements on one store.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_broker::Broker;
use tidemill_core::{Keep, NewTask, QueueName, QueueSettings, RequestId, Retention, TaskId, TaskType};
use tidemill_executor::{Context, Executor, ExecutorOptions, Output, Registry};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::stores::Store;

/// Tasks per batch of a bulk enqueue.
const BATCH: usize = 1_000;
/// Calls of which each takes a round trip.
const SINGLE_CALLS: usize = 2_000;
/// Tasks sent to an idle worker, one after another.
const IDLE_SAMPLES: usize = 200;
/// How long a drain may take before the measurement is called off.
const DRAIN_DEADLINE: Duration = Duration::from_mins(5);

/// What one round found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    least_us: f64,
    enqueue_bulk: f64,
    enqueue_single: f64,
    drain_10: f64,
    drain_100: f64,
    drain_100_kept: f64,
    idle_p50_ms: f64,
    idle_p99_ms: f64,
}

/// Measures everything once.
pub(crate) async fn round(store: &Store, tasks: usize) -> anyhow::Result<Figures> {
    let (enqueue_bulk, drain_10) = enqueue_and_drain(store, tasks, 10, false).await?;
    let (_, drain_100) = enqueue_and_drain(store, tasks, 100, false).await?;
    let (_, drain_100_kept) = enqueue_and_drain(store, tasks, 100, true).await?;
    let (idle_p50_ms, idle_p99_ms) = idle_latency(store).await?;
    Ok(Figures {
        least_us: least(store).await?,
        enqueue_bulk,
        enqueue_single: enqueue_one_by_one(store).await?,
        drain_10,
        drain_100,
        drain_100_kept,
        idle_p50_ms,
        idle_p99_ms,
    })
}

/// A queue of its own for each measurement, with or without a history of what succeeded.
async fn fresh_queue(broker: &Arc<dyn Broker>, kept: bool) -> anyhow::Result<QueueName> {
    let queue = QueueName::new(format!("bench-{}", uuid::Uuid::new_v4().simple()))?;
    let retention = Retention::default();
    let succeeded = if kept { retention.succeeded } else { Keep { count: 0, age_s: 0 } };
    let settings = QueueSettings { retention: Retention { succeeded, ..retention }, ..QueueSettings::default() };
    broker.ensure_queue(&queue, &settings).await?;
    Ok(queue)
}

fn task(number: usize) -> anyhow::Result<NewTask> {
    Ok(NewTask::new(TaskId::new(format!("task-{number:015}"))?, TaskType::new("nothing")?, vec![b'x'; 100]))
}

fn request() -> RequestId {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    RequestId(high.to_be_bytes())
}

/// Tasks per second taken in, in batches, and drained by a worker of so many slots.
async fn enqueue_and_drain(store: &Store, tasks: usize, slots: usize, kept: bool) -> anyhow::Result<(f64, f64)> {
    let broker = store.producer();
    let queue = fresh_queue(&broker, kept).await?;
    let all = (0..tasks).map(task).collect::<anyhow::Result<Vec<_>>>()?;
    let began = Instant::now();
    for batch in all.chunks(BATCH) {
        broker.enqueue(&queue, batch, request()).await?;
    }
    let enqueued = per_second(tasks, began);

    let (heard, mut starts) = mpsc::unbounded_channel();
    let began = Instant::now();
    let worker = Worker::start(store, &queue, slots, heard)?;
    let drained = async {
        for _ in 0..tasks {
            starts.recv().await;
        }
        while broker.stats(&queue).await?.counters.succeeded < tasks as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(DRAIN_DEADLINE, drained).await??;
    let drained = per_second(tasks, began);
    worker.stop().await?;
    Ok((enqueued, drained))
}

/// Calls per second of one caller that awaits each.
async fn enqueue_one_by_one(store: &Store) -> anyhow::Result<f64> {
    let broker = store.producer();
    let queue = fresh_queue(&broker, false).await?;
    let began = Instant::now();
    for number in 0..SINGLE_CALLS {
        broker.enqueue(&queue, &[task(number)?], request()).await?;
    }
    Ok(per_second(SINGLE_CALLS, began))
}

/// Microseconds of the least that a call can cost.
async fn least(store: &Store) -> anyhow::Result<f64> {
    let began = Instant::now();
    for number in 0..SINGLE_CALLS {
        store.least(number % 2 == 1).await?;
    }
    Ok(1e6 / per_second(SINGLE_CALLS, began))
}

/// Milliseconds from an enqueue to the start of the handler of an idle worker: median and 99th percentile.
async fn idle_latency(store: &Store) -> anyhow::Result<(f64, f64)> {
    let broker = store.producer();
    let queue = fresh_queue(&broker, false).await?;
    let (heard, mut starts) = mpsc::unbounded_channel();
    let worker = Worker::start(store, &queue, 10, heard)?;
    let mut samples = Vec::with_capacity(IDLE_SAMPLES);
    for number in 0..=IDLE_SAMPLES {
        // Idle again: nothing under way, and the worker had time to go to sleep.
        while broker.stats(&queue).await?.counters.succeeded < number as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        let sent = Instant::now();
        broker.enqueue(&queue, &[task(number)?], request()).await?;
        let Some(started) = starts.recv().await else { anyhow::bail!("the worker ended") };
        if number > 0 {
            samples.push(started.duration_since(sent).as_secs_f64() * 1e3);
        }
    }
    worker.stop().await?;
    samples.sort_by(f64::total_cmp);
    Ok((samples[samples.len() / 2], samples[samples.len() * 99 / 100]))
}

struct Worker {
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Worker {
    /// A worker whose handler tells when it starts and does nothing.
    fn start(
        store: &Store,
        queue: &QueueName,
        slots: usize,
        heard: mpsc::UnboundedSender<Instant>,
    ) -> anyhow::Result<Self> {
        let mut registry = Registry::new();
        registry.add("nothing", move |_: Context| {
            let told = heard.send(Instant::now());
            async move {
                told?;
                Ok(Output::NONE)
            }
        })?;
        let options = ExecutorOptions { slots, ..ExecutorOptions::new(queue.clone()) };
        let executor = Executor::new(store.worker(), Arc::new(registry), options);
        let stop = CancellationToken::new();
        let until = stop.clone();
        let running = tokio::spawn(async move {
            executor.run(until, CancellationToken::new()).await;
        });
        Ok(Self { stop, running })
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        Ok(self.running.await?)
    }
}

#[allow(clippy::cast_precision_loss)] // counts far below 2^52
fn per_second(count: usize, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

impl Figures {
    /// The median of each figure.
    pub(crate) fn median(rounds: &[Figures]) -> Self {
        let of = |figure: fn(&Figures) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(figure).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Self {
            least_us: of(|f| f.least_us),
            enqueue_bulk: of(|f| f.enqueue_bulk),
            enqueue_single: of(|f| f.enqueue_single),
            drain_10: of(|f| f.drain_10),
            drain_100: of(|f| f.drain_100),
            drain_100_kept: of(|f| f.drain_100_kept),
            idle_p50_ms: of(|f| f.idle_p50_ms),
            idle_p99_ms: of(|f| f.idle_p99_ms),
        }
    }

    /// The figures in a line.
    pub(crate) fn line(&self) -> String {
        format!(
            "enqueue {:.1} k/s, drain {:.1} k/s (10 slots) {:.1} k/s (100 slots), idle latency p50 {:.2} ms p99 {:.2} ms",
            self.enqueue_bulk / 1e3,
            self.drain_10 / 1e3,
            self.drain_100 / 1e3,
            self.idle_p50_ms,
            self.idle_p99_ms
        )
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let single = self.enqueue_single * self.least_us / 1e4;
        writeln!(f, "  least cost of a call            {:>9.0} µs", self.least_us)?;
        writeln!(f, "  enqueue, batches of {BATCH}       {:>9.1} k/s", self.enqueue_bulk / 1e3)?;
        writeln!(
            f,
            "  enqueue, one by one             {:>9.1} k/s  ({single:.0} % of calls of least cost)",
            self.enqueue_single / 1e3
        )?;
        writeln!(f, "  drain, 10 slots                 {:>9.1} k/s", self.drain_10 / 1e3)?;
        writeln!(f, "  drain, 100 slots                {:>9.1} k/s", self.drain_100 / 1e3)?;
        writeln!(f, "  drain, 100 slots, history kept  {:>9.1} k/s", self.drain_100_kept / 1e3)?;
        writeln!(f, "  idle latency, median            {:>9.2} ms", self.idle_p50_ms)?;
        write!(f, "  idle latency, 99th percentile   {:>9.2} ms", self.idle_p99_ms)
    }
}

//! A worker as its users write one, with task types that do to it what handlers ought not to do.
//!
//! ```text
//! wayward_worker URL QUEUE DIARY SLOTS LEASE_LOSS_GRACE_MS
//! ```
//!
//! The payload is `{"ms": n}`. `nap` sleeps as it should, `block` keeps its thread meanwhile, `deadly` brings its process
//! down when the time is over. Each line of the diary says which process did what with which task, at which loss of it:
//! `4711 start a 0`, `4711 end a 0`, `4711 dropped b 1`. A process that is killed writes nothing more.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidemill::broker::connect;
use tidemill::{CancellationToken, Context, Executor, ExecutorOptions, HandlerResult, Output, Registry};
use tidemill_telemetry::{LogFormat, LogOptions, Logs};
use tokio::time::sleep;

#[derive(serde::Deserialize)]
struct Payload {
    ms: u64,
}

/// What one attempt writes into the diary.
struct Entry {
    diary: Arc<File>,
    task: String,
    ended: bool,
}

impl Entry {
    fn begin(diary: &Arc<File>, cx: &Context) -> io::Result<Self> {
        let entry = Self { diary: Arc::clone(diary), task: format!("{} {}", cx.task(), cx.losses()), ended: false };
        entry.write("start")?;
        Ok(entry)
    }

    /// A line is one write, so that those of several processes stay apart.
    fn write(&self, what: &str) -> io::Result<()> {
        (&*self.diary).write_all(format!("{} {what} {}\n", std::process::id(), self.task).as_bytes())
    }

    fn end(mut self) -> io::Result<()> {
        self.ended = true;
        self.write("end")
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.ended
            && let Err(error) = self.write("dropped")
        {
            eprintln!("the diary cannot be written: {error}");
        }
    }
}

async fn nap(for_ms: u64) {
    sleep(Duration::from_millis(for_ms)).await;
}

#[allow(clippy::unused_async)] // a handler is async, and this one is of the sort that ought not to be
async fn block(for_ms: u64) {
    std::thread::sleep(Duration::from_millis(for_ms));
}

async fn die(after_ms: u64) {
    nap(after_ms).await;
    std::process::abort();
}

fn registry(diary: &Arc<File>) -> anyhow::Result<Registry> {
    let mut registry = Registry::new();
    add(&mut registry, "nap", diary, nap)?;
    add(&mut registry, "block", diary, block)?;
    add(&mut registry, "deadly", diary, die)?;
    Ok(registry)
}

fn add<F>(registry: &mut Registry, name: &str, diary: &Arc<File>, work: fn(u64) -> F) -> anyhow::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let diary = Arc::clone(diary);
    let handler = move |cx: Context| {
        let diary = Arc::clone(&diary);
        async move {
            let entry = Entry::begin(&diary, &cx)?;
            let Payload { ms } = cx.payload()?;
            work(ms).await;
            entry.end()?;
            HandlerResult::Ok(Output::NONE)
        }
    };
    registry.add(name, handler)?;
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, queue, diary, slots, grace_ms] = args.as_slice() else {
        anyhow::bail!("usage: wayward_worker URL QUEUE DIARY SLOTS LEASE_LOSS_GRACE_MS");
    };
    let level = "info".to_owned();
    let file: Option<PathBuf> = None;
    let options = LogOptions { level, format: LogFormat::Text, color: false, file, file_max_bytes: 0, files: 0 };
    let _logs = Logs::start(&options, None)?;
    let diary = Arc::new(OpenOptions::new().append(true).create(true).open(diary)?);
    let options = ExecutorOptions {
        slots: slots.parse()?,
        lease_loss_grace: Duration::from_millis(grace_ms.parse()?),
        ..ExecutorOptions::new(queue.parse()?)
    };
    let executor = Executor::new(connect(url)?, Arc::new(registry(&diary)?), options);
    executor.run(CancellationToken::new(), CancellationToken::new()).await;
    Ok(())
}

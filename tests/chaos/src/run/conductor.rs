//! Conducts a run from its first process to the verdict.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tidemill::broker::{Broker, BrokerError, connect};
use tidemill::core::Keep;
use tidemill::core::policy::Retention;
use tidemill::{Backoff, QueueName, QueueSettings};
use tidemill_tests::RedisServer;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::cast::{self, Member, Stage};
use super::faults::Scene;
use super::plan::{API, Kind, PRODUCERS, Step, WORKERS, plan};
use super::report::Report;
use super::{clocks, observer};
use crate::history::{self, Record, Writer};
use crate::load::{SHARED, TOLD};
use crate::recorder::Recorder;
use crate::{checker, ending};

/// The lease of a run, in milliseconds: short, so that many faults outlast it.
const LEASE_MS: u32 = 3_000;
/// The name under which the conductor writes.
const CONDUCTOR: &str = "conductor";
/// How long the first tasks may take from the start of everything.
const FIRST_TASKS: Duration = Duration::from_secs(30);
/// How long the queues may take to drain once everything is healed: a backlog, and tasks that wait for their retry.
const DRAIN: Duration = Duration::from_mins(2);
/// How often it is looked at whether a process ended by itself.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often the progress is told.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// How long the store may take to answer the last questions.
const LAST_QUESTIONS: Duration = Duration::from_secs(20);

/// What is asked of a run.
#[derive(Debug, Clone)]
pub struct Orders {
    /// What the faults are drawn from.
    pub seed: u64,
    /// How long faults go on.
    pub duration: Duration,
    /// Where histories go; a temporary folder, kept only where something is broken, by default.
    pub folder: Option<PathBuf>,
}

fn settings() -> QueueSettings {
    // Everything is kept, so that each acknowledged task can be asked for at the end.
    let all = Keep { count: u32::MAX, age_s: u32::MAX };
    QueueSettings {
        lease_ms: LEASE_MS,
        backoff: Backoff { initial_ms: 200, max_ms: 1_500 },
        retention: Retention { succeeded: all, dead: all, cancelled: all },
        ..QueueSettings::default()
    }
}

/// Runs, prints the report, and says whether everything held.
pub async fn run(orders: Orders) -> anyhow::Result<bool> {
    let own_folder = tempfile::Builder::new().prefix("tidemill-chaos-").tempdir()?;
    let folder = orders.folder.clone().unwrap_or_else(|| own_folder.path().to_owned());
    std::fs::create_dir_all(&folder)?;
    anyhow::ensure!(is_empty(&folder)?, "{} holds the histories of another run already", folder.display());
    let steps = plan(orders.seed, orders.duration);
    println!("seed {}, {} s, {} faults planned:", orders.seed, orders.duration.as_secs(), steps.len());
    for step in &steps {
        println!("{step}");
    }
    let clean = tokio::select! {
        clean = conduct(&orders, &folder, &steps) => clean?,
        signal = ended_by_hand() => anyhow::bail!("ended by {}", signal?),
    };
    if !clean && orders.folder.is_none() {
        println!("the histories are kept in {}", own_folder.keep().display());
    }
    Ok(clean)
}

async fn ended_by_hand() -> std::io::Result<&'static str> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

fn is_empty(folder: &Path) -> std::io::Result<bool> {
    Ok(std::fs::read_dir(folder)?.next().is_none())
}

async fn conduct(orders: &Orders, folder: &Path, steps: &[Step]) -> anyhow::Result<bool> {
    let history = Writer::open(folder, CONDUCTOR, 0)?;
    let scene = Arc::new(set_up(orders, folder, &history).await?);
    let (ending, ends) = watch::channel(false);
    let observing = observer::run(Arc::clone(&scene.broker), scene.queues.clone(), history.clone(), ends);
    let observing = AbortOnDropHandle::new(tokio::spawn(observing));
    let listening: Vec<_> = scene
        .queues
        .iter()
        .map(|queue| observer::listen(Arc::clone(&scene.broker), queue.clone(), history.clone()))
        .map(|listening| AbortOnDropHandle::new(tokio::spawn(listening)))
        .collect();
    first_tasks(&scene).await?;

    let mut trouble = Vec::new();
    let (faults, left_out) = perform(&scene, steps, orders.duration, &mut trouble).await?;
    scene.heal().await.context("healing")?;
    for name in PRODUCERS {
        let mut member = lock(&scene, name)?.lock().await;
        if !member.terminate().await? {
            trouble.push(format!("{} did not end in time", member.process()));
        }
    }
    ending.send_replace(true);
    let deadline = Instant::now() + DRAIN;
    for queue in &scene.queues {
        if !ending::drained(scene.broker.as_ref(), queue, deadline).await? {
            eprintln!("queue {queue} has not drained within {} s", DRAIN.as_secs());
        }
    }
    for name in WORKERS.into_iter().chain([API]) {
        lock(&scene, name)?.lock().await.terminate().await?;
    }
    drop(ending);
    observing.await?;
    let deadline = Instant::now() + LAST_QUESTIONS;
    for queue in &scene.queues {
        // What was written down by a first attempt that failed would count twice.
        while let Err(error) = scene.broker.stats(queue).await {
            anyhow::ensure!(Instant::now() < deadline, error);
            sleep(LOOK_EVERY).await;
        }
        ending::write_down(scene.broker.as_ref(), queue, &history).await?;
    }
    scene.broker.close().await;
    drop(listening);

    let entries = history::read(folder)?;
    let verdict = checker::check(&entries);
    let report = Report {
        entries: &entries,
        verdict: &verdict,
        faults: &faults,
        left_out: &left_out,
        trouble: &trouble,
        duration: orders.duration,
    };
    print!("{}", report.show());
    Ok(report.is_clean())
}

fn lock<'s>(scene: &'s Scene, name: &str) -> anyhow::Result<&'s Mutex<Member>> {
    scene.members.get(name).with_context(|| format!("there is no {name}"))
}

/// Starts the store, the queues and all processes.
async fn set_up(orders: &Orders, folder: &Path, history: &Writer) -> anyhow::Result<Scene> {
    let start = || RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let redis = Arc::new(tokio::task::spawn_blocking(start).await?);
    let broker: Arc<dyn Broker> = Recorder::new(connect(&redis.url())?, history.clone());
    let queues = vec![QueueName::new(SHARED)?, QueueName::new(TOLD)?];
    let settings = settings();
    for queue in &queues {
        broker.ensure_queue(queue, &settings).await?;
    }
    history.note(&Record::Rules {
        lease_ms: settings.lease_ms.into(),
        loss_limit: settings.loss_limit,
        told_in_full: vec![TOLD.to_owned()],
    });
    let stage = Stage {
        folder: folder.to_owned(),
        seed: orders.seed,
        api_port: cast::api_port()?,
        lease_ms: LEASE_MS,
        faketime: tokio::task::spawn_blocking(clocks::library).await?,
        history: history.clone(),
    };
    let mut members = HashMap::new();
    for mut member in Member::all(&stage, redis.port()).await? {
        member.start(0)?;
        members.insert(member.name, Mutex::new(member));
    }
    let clocks = stage.faketime.is_some();
    Ok(Scene { members, redis, broker, queues, history: history.clone(), clocks })
}

/// Waits until tasks have succeeded on each queue: all is connected and works.
async fn first_tasks(scene: &Scene) -> anyhow::Result<()> {
    let deadline = Instant::now() + FIRST_TASKS;
    for queue in &scene.queues {
        while scene.broker.stats(queue).await?.counters.succeeded == 0 {
            for member in scene.members.values() {
                if let Some(fell) = member.lock().await.fell()? {
                    anyhow::bail!(fell);
                }
            }
            anyhow::ensure!(Instant::now() < deadline, "no task of queue {queue} has succeeded within {FIRST_TASKS:?}");
            sleep(LOOK_EVERY).await;
        }
    }
    Ok(())
}

/// Makes the faults happen at their times. Which did, and which could not.
async fn perform(
    scene: &Arc<Scene>,
    steps: &[Step],
    duration: Duration,
    trouble: &mut Vec<String>,
) -> anyhow::Result<(Vec<Kind>, Vec<String>)> {
    let began = Instant::now();
    let (end, mut tell_at) = (began + duration, began + TELL_EVERY);
    let mut befalling: JoinSet<anyhow::Result<(usize, bool)>> = JoinSet::new();
    let mut steps_left = steps.iter().enumerate().peekable();
    let (mut faults, mut left_out) = (Vec::new(), Vec::new());
    let mut done = |joined: anyhow::Result<(usize, bool)>, trouble: &mut Vec<String>| match joined {
        Ok((number, true)) => faults.push(steps[number].kind),
        Ok((number, false)) => left_out.push(steps[number].to_string()),
        Err(error) => trouble.push(format!("a fault could not be done or healed: {error:#}")),
    };
    loop {
        let next = steps_left.peek().map_or(end, |(_, step)| began + Duration::from_millis(step.at_ms));
        tokio::select! {
            () = sleep_until(next.min(Instant::now() + LOOK_EVERY)) => {}
            Some(joined) = befalling.join_next() => done(joined?, trouble),
        }
        for member in scene.members.values() {
            // One that a fault holds is looked at later.
            if let Ok(mut member) = member.try_lock()
                && let Some(fell) = member.fell()?
            {
                trouble.push(fell);
                member.start(0)?;
            }
        }
        let now = Instant::now();
        if now >= tell_at {
            tell_at = now + TELL_EVERY;
            tell(scene, now - began).await;
        }
        while let Some((number, step)) =
            steps_left.next_if(|(_, step)| now >= began + Duration::from_millis(step.at_ms))
        {
            let (scene, step) = (Arc::clone(scene), step.clone());
            befalling.spawn(async move { Ok((number, scene.befall(number, &step).await?)) });
        }
        if now >= end && steps_left.peek().is_none() {
            break;
        }
    }
    while let Some(joined) = befalling.join_next().await {
        done(joined?, trouble);
    }
    Ok((faults, left_out))
}

async fn tell(scene: &Scene, after: Duration) {
    for queue in &scene.queues {
        let figures: Result<_, BrokerError> = scene.broker.stats(queue).await;
        match figures {
            Ok(stats) => eprintln!(
                "{:>5} s  {queue:<7} {} waiting, {} active, {} ended",
                after.as_secs(),
                stats.pending + stats.delayed + stats.retrying,
                stats.active,
                stats.counters.succeeded + stats.counters.dead + stats.counters.cancelled
            ),
            Err(error) => eprintln!("{:>5} s  {queue:<7} {error}", after.as_secs()),
        }
    }
}

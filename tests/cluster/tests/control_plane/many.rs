//! Two hundred TaskQueues: how soon all of them are looked after, and what that costs from then on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use futures::{StreamExt, stream};
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;
use tidemill_cluster_tests::cluster::root;
use tidemill_cluster_tests::{Account, Launch, Operator, RedisServer, Space, holds, until};
use tidemill_operator::crd::TaskQueue;
use tidemill_tests::program::binary;

const TASK_QUEUES: u32 = 200;
/// How many of them are made at a time.
const MADE_AT_ONCE: usize = 16;
/// How soon all of them are ready after the operator started.
const FIRST_RECONCILE: Duration = Duration::from_mins(1);
/// The same of a debug build, which takes twice as long.
const FIRST_RECONCILE_DEBUG: Duration = Duration::from_mins(2);
/// How long it takes until the last Events and statuses of the start are written.
const SETTLE: Duration = Duration::from_secs(10);
/// For how long the steady state is measured.
const STEADY: Duration = Duration::from_mins(1);
/// A hot loop would be many times that, for each TaskQueue: everything is looked at once a minute, with some spread.
const PER_MINUTE_MAX: f64 = 6.0;
const MEMORY_MAX_KIB: u64 = 100 * 1024;
/// Well above the one per cent that it should be: a debug build on a busy machine.
const CPU_MAX_PERCENT: f64 = 5.0;
/// What the kernel counts the time of processes in.
const TICKS_PER_SECOND: f64 = 100.0;

/// The release build, where there is one that is no older than the sources, and whether it is that.
fn program() -> (PathBuf, bool) {
    let release = root().join("dist/tidemill");
    match changed(&release) {
        Some(built) if built >= newest(&root().join("crates")) => (release, true),
        _ => (binary(), false),
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// When the youngest file below `folder` was changed.
fn newest(folder: &Path) -> SystemTime {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let times = entries.map(|path| if path.is_dir() { newest(&path) } else { changed(&path).unwrap() });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn cpu_seconds(operator: &Operator) -> f64 {
    const USER_AND_SYSTEM: [usize; 2] = [11, 12];
    let stat = fs::read_to_string(format!("/proc/{}/stat", operator.pid())).unwrap();
    let after_name: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    USER_AND_SYSTEM.iter().map(|field| after_name[*field].parse::<f64>().unwrap()).sum::<f64>() / TICKS_PER_SECOND
}

/// What it holds in memory, and how much of that is no page of its program's file.
fn memory_kib(operator: &Operator) -> [u64; 2] {
    let status = fs::read_to_string(format!("/proc/{}/status", operator.pid())).unwrap();
    ["VmRSS:", "RssAnon:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    })
}

async fn reconciles(operator: &Operator) -> f64 {
    let metrics = operator.metrics().await;
    let line = metrics.lines().find(|line| line.starts_with("tidemill_operator_reconciles_total"));
    line.unwrap_or_else(|| panic!("{metrics}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn two_hundred_task_queues_are_ready_within_a_minute_and_cost_little_from_then_on() {
    let space = Space::alone("many").await;
    let redis = RedisServer::start();
    let account =
        Account::of_chart(&space, &[&format!("operator.watchNamespace={}", space.name()), "operator.cluster=here"])
            .await;
    let spec = json!({ "broker": { "url": redis.url() } });
    let names = (0..TASK_QUEUES).map(|number| format!("q{number}"));
    stream::iter(names)
        .for_each_concurrent(MADE_AT_ONCE, async |name| _ = space.task_queue(&name, spec.clone()).await)
        .await;

    let (program, is_release) = program();
    let deadline = if is_release { FIRST_RECONCILE } else { FIRST_RECONCILE_DEBUG };
    let began = Instant::now();
    let operator = account.launch(Launch::of(&space)).set("operator.cluster", "here").program(program.clone()).start();
    until("all of them are ready", deadline, async || {
        let all = space.api::<TaskQueue>().list(&ListParams::default()).await.map_err(|error| error.to_string())?.items;
        let ready = all.iter().filter(|task_queue| {
            let status = task_queue.status.as_ref();
            status.is_some_and(|status| {
                status.conditions.iter().any(|said| said.type_ == "Ready" && said.status == "True")
            })
        });
        let ready = ready.count();
        holds(ready == TASK_QUEUES as usize, || format!("{ready} are; {:?}", all.last().map(ResourceExt::name_any)))
    })
    .await;
    let first = began.elapsed();

    tokio::time::sleep(SETTLE).await;
    let (cpu, turns, requests) =
        (cpu_seconds(&operator), reconciles(&operator).await, account.requests().map(|all| all.len()));
    let began = Instant::now();
    tokio::time::sleep(STEADY).await;
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let percent = (cpu_seconds(&operator) - cpu) / began.elapsed().as_secs_f64() * 100.0;
    let [resident, anonymous] = memory_kib(&operator);
    // The program of a debug build is five times as large as the one that is shipped.
    let memory = if is_release { resident } else { anonymous };
    let each = |number: f64| number / minutes / f64::from(TASK_QUEUES);
    let turns = each(reconciles(&operator).await - turns);
    let requests = account.requests().zip(requests).map(|(all, before)| u32::try_from(all.len() - before).unwrap());
    println!(
        "{TASK_QUEUES} TaskQueues with {}: all ready {:.1} s after the start; then {percent:.2} % of a core, {} MiB \
         (of which {} MiB are no program), {turns:.1} reconciliations a minute for each",
        program.display(),
        first.as_secs_f64(),
        resident / 1024,
        anonymous / 1024,
    );
    match requests {
        Some(requests) => println!("requests to the API server: {:.0} a minute", f64::from(requests) / minutes),
        None => {
            println!("requests to the API server are not counted: there is no audit log (TIDEMILL_CLUSTER is not set)");
        }
    }
    assert!(turns < PER_MINUTE_MAX, "{turns:.1} reconciliations a minute for each");
    if let Some(requests) = requests {
        let requests = each(f64::from(requests));
        assert!(requests < PER_MINUTE_MAX, "{requests:.1} requests a minute for each");
    }
    assert!(memory < MEMORY_MAX_KIB, "{memory} KiB");
    assert!(percent < CPU_MAX_PERCENT, "{percent:.2} % of a core");
}

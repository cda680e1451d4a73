//! `make bench`: enqueue, drain and idle latency on each store, in one run.

mod measure;
mod stores;

use clap::Parser;

use measure::Figures;
use stores::Store;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Tidemill on each of its stores.
#[derive(Debug, Parser)]
struct Args {
    /// How many tasks are enqueued and drained in a round.
    #[arg(long, default_value_t = 100_000)]
    tasks: usize,
    /// How many rounds there are; the median is printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measure one store only: redis or sqlite.
    #[arg(long)]
    store: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&args))
}

async fn run(args: &Args) -> anyhow::Result<()> {
    anyhow::ensure!(args.tasks > 0 && args.rounds > 0, "there is nothing to measure: tasks and rounds are at least 1");
    let wanted = |name: &str| args.store.as_deref().is_none_or(|store| store == name);
    let mut lines = Vec::new();
    for store in [Store::redis, Store::sqlite] {
        let store = store()?;
        if !wanted(store.name) {
            continue;
        }
        eprintln!("{}: {} rounds of {} tasks", store.name, args.rounds, args.tasks);
        let mut rounds = Vec::new();
        for _ in 0..args.rounds {
            rounds.push(measure::round(&store, args.tasks).await?);
        }
        let figures = Figures::median(&rounds);
        println!("{}\n{figures}", store.describe());
        lines.push(format!("{} {}", store.name, figures.line()));
    }
    anyhow::ensure!(!lines.is_empty(), "there is no such store: choose redis or sqlite");
    println!("bench: {}", lines.join("; "));
    Ok(())
}

//! The commands.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::load::tasks::now_ms;
use crate::load::{direct, http, worker};
use crate::run::conductor::{self, Orders};
use crate::run::plan::plan;
use crate::{checker, history, scenario};

/// Something is broken.
const EXIT_BROKEN: u8 = 1;
/// The run could not be done.
const EXIT_FAILED: u8 = 2;

/// Faults under load, and a checker that accounts for every task.
#[derive(Debug, Parser)]
#[command(name = "tidemill-chaos", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything under faults and check what happened.
    Run {
        /// How long faults go on: 90s, 10m, 1h.
        #[arg(long, default_value = "60s", value_parser = duration)]
        duration: Duration,
        /// What the faults are drawn from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where histories go, and stay; by default they stay only where something is broken.
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
    /// Print the faults of a seed.
    Plan {
        /// How long faults go on.
        #[arg(long, default_value = "60s", value_parser = duration)]
        duration: Duration,
        /// What the faults are drawn from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Check the histories of a run again.
    Check {
        /// Where they are.
        dir: PathBuf,
    },
    /// Run a scenario of its own.
    Scenario {
        /// Which.
        #[arg(value_enum)]
        name: scenario::Name,
    },
    /// A worker process of a run.
    #[command(hide = true)]
    Work(Part),
    /// A producer process of a run, on the store itself.
    #[command(hide = true)]
    ProduceDirect(Part),
    /// A producer process of a run, by HTTP.
    #[command(hide = true)]
    ProduceHttp(Part),
    /// Print the time by this process's clock.
    #[command(hide = true)]
    Clock,
}

/// A process of a run.
#[derive(Debug, Args)]
struct Part {
    /// What it speaks to: a URL or a port.
    place: String,
    /// Where its history goes.
    #[arg(long)]
    dir: PathBuf,
    /// Its name and life.
    #[arg(long)]
    name: String,
    /// By how much its clock is off, in milliseconds.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    skew_ms: i64,
    /// What its tasks are drawn from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Runs the command of this process.
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_BROKEN),
        Err(error) => {
            eprintln!("tidemill-chaos: {error:#}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        match cli.command {
            Command::Run { duration, seed, dir } => conductor::run(Orders { seed, duration, folder: dir }).await,
            Command::Plan { duration, seed } => {
                for step in plan(seed, duration) {
                    println!("{step}");
                }
                Ok(true)
            }
            Command::Check { dir } => check(&dir),
            Command::Scenario { name } => scenario::run(name).await,
            Command::Work(Part { place, dir, name, skew_ms, .. }) => {
                log();
                worker::run(&place, &dir, &name, skew_ms).await.map(|()| true)
            }
            Command::ProduceDirect(Part { place, dir, name, skew_ms, seed }) => {
                log();
                direct::run(&place, &dir, &name, skew_ms, seed).await.map(|()| true)
            }
            Command::ProduceHttp(Part { place, dir, name, skew_ms, seed }) => {
                log();
                let port = place.parse().with_context(|| format!("{place} is no port"))?;
                http::run(port, &dir, &name, skew_ms, seed).await.map(|()| true)
            }
            Command::Clock => {
                println!("{}", now_ms());
                Ok(true)
            }
        }
    })
}

/// What a process of a run has to say is for people; its history is written apart.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,tidemill::task=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
}

fn check(dir: &std::path::Path) -> anyhow::Result<bool> {
    let entries = history::read(dir)?;
    let verdict = checker::check(&entries);
    for violation in &verdict.violations {
        println!("{}", violation.show(&entries));
    }
    let (broken, tally, recovery) = (verdict.violations.len(), verdict.tally, verdict.slowest_recovery);
    println!(
        "{} records, {broken} invariants broken, {tally:?}, workers gone back after {recovery:.1?} at most",
        entries.len()
    );
    Ok(verdict.violations.is_empty())
}

/// `90s`, `10m`, `1h`, or a number of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit_s) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        _ => (text, 1),
    };
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is no duration; 90s, 10m and 1h are"))?;
    Ok(Duration::from_secs(number.saturating_mul(unit_s)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert!(duration("soon").is_err());
    }
}

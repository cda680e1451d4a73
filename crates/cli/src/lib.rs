//! The `tidemill` program: argument parsing and wiring, nothing else.
//!
//! ```text
//!   arguments ──► args ──┬─► config ──► roles:  standalone, api, worker, operator   (run until a signal)
//!                        └─► client ─HTTP─► a server: enqueue, schedule, tasks, queues, healthcheck
//! ```
//!
//! [`config`] lays the layers of settings over each other, [`roles`] builds the parts of a process from them and ends them
//! in order, [`client`] speaks to a running server, [`output`] prints for people and for programs, [`exit`] says how
//! it ended. [`reference`] makes pages of the documentation. What tasks are and how they run is the business of the other crates.

pub mod args;
pub mod client;
pub mod config;
pub mod output;
pub mod reference;
pub mod roles;

pub use tidemill_process::exit;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Command};

/// Runs the program with the arguments of the process.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    exit::code(match cli.command {
        Command::RenderPdf { memory_bytes, processor_seconds } => {
            return tidemill_handlers::render_pdf(memory_bytes, processor_seconds);
        }
        Command::Standalone(args) => roles::standalone::run(&args),
        Command::Api(args) => roles::api::run(&args),
        Command::Worker(args) => roles::worker::run(&args),
        Command::Operator(args) => roles::operator::run(&args),
        Command::Config(args) => roles::config::run(&args),
        Command::Enqueue(args) => client::enqueue::run(&args),
        Command::Schedule(args) => client::schedule::run(&args),
        Command::Tasks(args) => client::tasks::run(&args),
        Command::Queues(args) => client::queues::run(&args),
        Command::Healthcheck(args) => client::healthcheck::run(&args),
        Command::Openapi => openapi(),
        Command::Completions { shell } => completions(shell),
    })
}

fn openapi() -> anyhow::Result<()> {
    let document = tidemill_api::openapi_json();
    output::print(|out| writeln!(out, "{}", document.trim_end()))
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tidemill", &mut script);
    output::print(|out| out.write_all(&script))
}

//! `tidemill queues`: lists queues, pauses, resumes and purges one, lists its workers.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Connection;
use super::http::{Server, escaped};
use super::task_view::text;
use crate::output::{Format, Table, print, span, structured};

const EXAMPLES: &str = "\
EXAMPLES:
  tidemill queues                       all queues with their figures
  tidemill queues get emails -o yaml    one, with its settings and counters
  tidemill queues pause emails          hold tasks back; what runs goes on
  tidemill queues workers emails        who runs its tasks
  tidemill queues purge emails --state dead

Without a name, the server's default queue is meant.";

/// Arguments of `queues`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct QueuesArgs {
    /// What to do; list without.
    #[command(subcommand)]
    pub command: Option<QueuesCommand>,
    /// How to print.
    #[arg(long, short = 'o', value_enum, default_value_t = Format::Table, value_name = "FORMAT", global = true)]
    pub output: Format,
    /// Which server.
    #[command(flatten)]
    pub connection: Connection,
}

/// What to do with queues.
#[derive(Debug, Subcommand)]
pub enum QueuesCommand {
    /// List queues.
    List,
    /// Show everything about a queue.
    Get {
        /// Its name.
        name: Option<String>,
    },
    /// Hold its tasks back; what runs goes on.
    Pause {
        /// Its name.
        name: Option<String>,
    },
    /// Let its tasks run again.
    Resume {
        /// Its name.
        name: Option<String>,
    },
    /// List its workers.
    Workers {
        /// Its name.
        name: Option<String>,
    },
    /// Delete all of its tasks of a state.
    Purge {
        /// Its name.
        name: Option<String>,
        /// Which state.
        #[arg(long, value_name = "STATE", value_parser = ["pending", "delayed", "retrying", "succeeded", "dead", "cancelled"])]
        state: String,
    },
}

/// Does what the arguments say.
pub fn run(args: &QueuesArgs) -> anyhow::Result<()> {
    let server = Server::new(&args.connection)?;
    let named = |name: &Option<String>| server.queue(name.as_deref());
    let path = |name: &str| format!("/api/v1/queues/{}", escaped(name));
    let format = args.output;
    match &args.command {
        None | Some(QueuesCommand::List) => {
            let answer = server.get("/api/v1/queues")?;
            show(&answer, format, |out| list(&answer, format, out))
        }
        Some(QueuesCommand::Get { name }) => {
            let queue = server.get(&path(&named(name)?))?;
            show(&queue, format, |out| match format {
                Format::Name => writeln!(out, "{}", text(&queue, "name")),
                _ => describe(&queue, "", out),
            })
        }
        Some(QueuesCommand::Pause { name }) => {
            let name = named(name)?;
            let answer = server.post(&format!("{}/pause", path(&name)), None)?;
            show(&answer, format, |out| writeln!(out, "queue {name} is paused; what runs goes on"))
        }
        Some(QueuesCommand::Resume { name }) => {
            let name = named(name)?;
            let answer = server.post(&format!("{}/resume", path(&name)), None)?;
            show(&answer, format, |out| writeln!(out, "queue {name} runs"))
        }
        Some(QueuesCommand::Workers { name }) => {
            let answer = server.get(&format!("{}/workers", path(&named(name)?)))?;
            show(&answer, format, |out| workers(&answer, format, out))
        }
        Some(QueuesCommand::Purge { name, state }) => {
            let name = named(name)?;
            let answer = server.post(&format!("{}/purge?state={state}", path(&name)), None)?;
            show(&answer, format, |out| writeln!(out, "{} {state} tasks of queue {name} deleted", answer["purged"]))
        }
    }
}

fn show(answer: &Value, format: Format, people: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    print(|out| if format.is_structured() { structured(answer, format, out) } else { people(out) })
}

fn list(answer: &Value, format: Format, out: &mut dyn Write) -> io::Result<()> {
    let queues = answer["queues"].as_array().map(Vec::as_slice).unwrap_or_default();
    if format == Format::Name {
        return queues.iter().try_for_each(|queue| writeln!(out, "{}", text(queue, "name")));
    }
    let oldest = |queue: &Value| queue["oldest_pending_ms"].as_u64().map_or_else(|| "-".to_owned(), span);
    let status = |queue: &Value| if queue["paused"] == true { "paused" } else { "running" }.to_owned();
    if format == Format::Wide {
        let mut table = Table::new([
            "NAME",
            "STATUS",
            "PENDING",
            "DELAYED",
            "ACTIVE",
            "RETRYING",
            "SUCCEEDED",
            "DEAD",
            "CANCELLED",
            "WORKERS",
            "OLDEST",
        ]);
        for queue in queues {
            let figure = |name| text(queue, name);
            table.row([
                figure("name"),
                status(queue),
                figure("pending"),
                figure("delayed"),
                figure("active"),
                figure("retrying"),
                figure("succeeded"),
                figure("dead"),
                figure("cancelled"),
                figure("workers"),
                oldest(queue),
            ]);
        }
        return table.print(out);
    }
    let mut table = Table::new(["NAME", "STATUS", "PENDING", "ACTIVE", "RETRYING", "DEAD", "WORKERS", "OLDEST"]);
    for queue in queues {
        let figure = |name| text(queue, name);
        table.row([
            figure("name"),
            status(queue),
            figure("pending"),
            figure("active"),
            figure("retrying"),
            figure("dead"),
            figure("workers"),
            oldest(queue),
        ]);
    }
    table.print(out)
}

fn workers(answer: &Value, format: Format, out: &mut dyn Write) -> io::Result<()> {
    let workers = answer["workers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if format == Format::Name {
        return workers.iter().try_for_each(|worker| writeln!(out, "{}", text(worker, "name")));
    }
    let mut table = Table::new(["NAME", "SLOTS", "ACTIVE", "LEASE", "VERSION", "TYPES", "ID"]);
    for worker in workers {
        let types = worker["types"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
        let lease = worker["lease_left_ms"].as_i64().map_or_else(String::new, |left| match u64::try_from(left) {
            Ok(left) => span(left),
            Err(_) => "lost".to_owned(),
        });
        let figure = |name| text(worker, name);
        let (name, slots, active) = (figure("name"), figure("slots"), figure("active"));
        table.row([name, slots, active, lease, figure("version"), types.join(","), figure("id")]);
    }
    table.print(out)
}

/// Prints an object, a member a line, objects within it indented.
fn describe(value: &Value, indent: &str, out: &mut dyn Write) -> io::Result<()> {
    for (name, member) in value.as_object().into_iter().flatten() {
        if member.is_object() {
            writeln!(out, "{indent}{name}:")?;
            describe(member, &format!("{indent}  "), out)?;
        } else {
            writeln!(out, "{indent}{:<20} {}", format!("{name}:"), text(value, name))?;
        }
    }
    Ok(())
}

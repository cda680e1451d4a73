//! `tidemill tasks`: lists tasks, looks at one, cancels, retries and deletes some.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Connection;
use super::http::{Server, escaped};
use super::task_view::{self, Pages};
use crate::exit::{failed, usage};
use crate::output::{Format, print, structured};

const EXAMPLES: &str = "\
EXAMPLES:
  tidemill tasks                 all tasks, by state
  tidemill tasks --state dead --type send_email -o wide
  tidemill tasks --state dead --all -o name | xargs tidemill tasks retry
  tidemill tasks get task123     one, with the errors of its attempts
  tidemill tasks cancel task123 task456";

/// How many tasks are listed unless more are asked for.
const LISTED: u64 = 100;
/// Most tasks of one request.
const PAGE: u64 = 1_000;
/// The states of a task, in the order in which they are listed.
const STATES: [&str; 7] = ["pending", "delayed", "active", "retrying", "succeeded", "dead", "cancelled"];

/// Arguments of `tasks`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TasksArgs {
    /// What to do; list without.
    #[command(subcommand)]
    pub command: Option<TasksCommand>,
    /// What to list.
    #[command(flatten)]
    pub list: ListArgs,
    /// The queue; the server's default otherwise.
    #[arg(long, short = 'q', value_name = "NAME", global = true)]
    pub queue: Option<String>,
    /// How to print.
    #[arg(long, short = 'o', value_enum, default_value_t = Format::Table, value_name = "FORMAT", global = true)]
    pub output: Format,
    /// Which server.
    #[command(flatten)]
    pub connection: Connection,
}

/// What to list.
#[derive(Debug, Default, PartialEq, Eq, Args)]
pub struct ListArgs {
    /// Only tasks of this state.
    #[arg(long, value_name = "STATE", value_parser = STATES)]
    pub state: Option<String>,
    /// Only tasks of this type.
    #[arg(long = "type", value_name = "TYPE")]
    pub task_type: Option<String>,
    /// At most so many [default: 100].
    #[arg(long, value_name = "COUNT", conflicts_with = "all")]
    pub limit: Option<u64>,
    /// All there are.
    #[arg(long)]
    pub all: bool,
}

/// What to do with tasks.
#[derive(Debug, Subcommand)]
pub enum TasksCommand {
    /// List tasks.
    List(ListArgs),
    /// Show everything about a task.
    Get {
        /// Its id.
        id: String,
    },
    /// Cancel tasks: waiting ones at once, running ones as soon as they notice.
    Cancel {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Run dead or cancelled tasks again, or delayed ones now.
    Retry {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Forget tasks that wait or have ended.
    Delete {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

/// Does what the arguments say.
pub fn run(args: &TasksArgs) -> anyhow::Result<()> {
    let server = Server::new(&args.connection)?;
    if args.command.is_some() && args.list != ListArgs::default() {
        return Err(usage("--state, --type, --limit and --all belong to the list: `tidemill tasks list --state dead`"));
    }
    let queue = server.queue(args.queue.as_deref())?;
    let tasks = Tasks { server, path: format!("/api/v1/queues/{}/tasks", escaped(&queue)), format: args.output };
    match &args.command {
        None => tasks.list(&args.list),
        Some(TasksCommand::List(list)) => tasks.list(list),
        Some(TasksCommand::Get { id }) => tasks.show(id),
        Some(TasksCommand::Cancel { ids }) => tasks.each(ids, |tasks, id| {
            let answer = tasks.server.post(&format!("{}/{}/cancel", tasks.path, escaped(id)), None)?;
            Ok(match answer["state"].as_str() {
                Some("active") => "asked to stop".to_owned(),
                _ => "cancelled".to_owned(),
            })
        }),
        Some(TasksCommand::Retry { ids }) => tasks.each(ids, |tasks, id| {
            tasks.server.post(&format!("{}/{}/retry", tasks.path, escaped(id)), None)?;
            Ok("runs again".to_owned())
        }),
        Some(TasksCommand::Delete { ids }) => tasks.each(ids, |tasks, id| {
            tasks.server.delete(&format!("{}/{}", tasks.path, escaped(id)))?;
            Ok("deleted".to_owned())
        }),
    }
}

struct Tasks {
    server: Server,
    path: String,
    format: Format,
}

impl Tasks {
    fn list(&self, args: &ListArgs) -> anyhow::Result<()> {
        let mut left = if args.all { u64::MAX } else { args.limit.unwrap_or(LISTED) };
        let mut cursor: Option<String> = None;
        let mut pages = Pages::new(self.format);
        loop {
            let members = [("state", &args.state), ("type", &args.task_type), ("cursor", &cursor)];
            let query: String = members
                .into_iter()
                .filter_map(|(name, value)| Some(format!("&{name}={}", escaped(value.as_deref()?))))
                .collect();
            let mut page = self.server.get(&format!("{}?limit={}{query}", self.path, left.min(PAGE)))?;
            let Value::Array(tasks) = page["tasks"].take() else { bail!("the server's answer holds no tasks") };
            left = left.saturating_sub(tasks.len() as u64);
            pages.add(tasks)?;
            cursor = page["cursor"].as_str().map(str::to_owned);
            if cursor.is_none() || left == 0 {
                break;
            }
        }
        pages.end(cursor.is_some())
    }

    fn show(&self, id: &str) -> anyhow::Result<()> {
        let task = self.server.get(&format!("{}/{}", self.path, escaped(id)))?;
        print(|out| match self.format {
            Format::Json | Format::Yaml => structured(&task, self.format, out),
            Format::Name => writeln!(out, "{}", task_view::text(&task, "id")),
            _ => task_view::describe(&task, out),
        })
    }

    /// Does it to each task; what fails with one does not keep the others from it.
    fn each(&self, ids: &[String], act: impl Fn(&Self, &str) -> anyhow::Result<String>) -> anyhow::Result<()> {
        let (mut done, mut faults) = (Vec::new(), Vec::new());
        for id in ids {
            match act(self, id) {
                Ok(what) => done.push((id, what)),
                Err(error)
                    if error.downcast_ref::<crate::exit::Exit>().is_some_and(|e| e.code != crate::exit::FAILED) =>
                {
                    return Err(error);
                }
                Err(error) => {
                    let said = error.to_string();
                    faults.push(if said.contains(id.as_str()) { said } else { format!("task {id}: {said}") });
                }
            }
        }
        print(|out| {
            if self.format.is_structured() {
                let done: Vec<Value> = done.iter().map(|(id, what)| json!({ "id": id, "done": what })).collect();
                return structured(&done.into(), self.format, out);
            }
            done.iter().try_for_each(|(id, what)| match self.format {
                Format::Name => writeln!(out, "{id}"),
                _ => writeln!(out, "task {id} {what}"),
            })
        })?;
        if faults.is_empty() { Ok(()) } else { Err(failed(faults.join("\n"))) }
    }
}

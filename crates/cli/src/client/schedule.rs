//! `tidemill schedule`: tasks that take so many milliseconds, in the order written.

use clap::Args;
use serde_json::Value;

use super::http::{Server, escaped};
use super::{Connection, text_of};
use crate::exit::usage;
use crate::output::{Format, print, printable, structured};

const EXAMPLES: &str = "\
EXAMPLES:
  tidemill schedule task123=1000 task456=2500
  echo '{\"task123\": 1000, \"task456\": 2500}' | tidemill schedule -
  tidemill schedule @tasks.json --queue slow";

/// Arguments of `schedule`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ScheduleArgs {
    /// Ids and durations; or one JSON object as @FILE, or - for stdin.
    #[arg(value_name = "ID=MS", required = true)]
    pub tasks: Vec<String>,
    /// The queue; the server's default otherwise.
    #[arg(long, short = 'q', value_name = "NAME")]
    pub queue: Option<String>,
    /// How to print what was taken in.
    #[arg(long, short = 'o', value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub output: Format,
    /// Which server.
    #[command(flatten)]
    pub connection: Connection,
}

/// Schedules the tasks and prints what was taken in.
pub fn run(args: &ScheduleArgs) -> anyhow::Result<()> {
    let server = Server::new(&args.connection)?;
    let query = args.queue.as_deref().map(|queue| format!("?queue={}", escaped(queue))).unwrap_or_default();
    let answer = server.post(&format!("/schedule{query}"), Some(body(&args.tasks)?))?;
    print(|out| {
        if args.output.is_structured() {
            return structured(&answer, args.output, out);
        }
        let tasks = answer["scheduled"].as_array().into_iter().flatten().filter_map(Value::as_object).flatten();
        for (id, duration) in tasks {
            match args.output {
                Format::Name => writeln!(out, "{}", printable(id))?,
                _ => writeln!(out, "task {} scheduled: {duration} ms", printable(id))?,
            }
        }
        Ok(())
    })
}

/// The JSON text of the request. An id that is given twice stands in it twice, so that the server can refuse it.
fn body(tasks: &[String]) -> anyhow::Result<String> {
    if let [only] = tasks
        && (only == "-" || only.starts_with('@'))
    {
        return text_of(only);
    }
    let members: Vec<String> = tasks
        .iter()
        .map(|task| match task.rsplit_once('=') {
            Some((id, ms)) if ms.parse::<u64>().is_ok() => Ok(format!("{}:{ms}", Value::from(id))),
            _ => Err(usage(format!("{task}: write ID=MILLISECONDS, such as task123=1000"))),
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(format!("{{{}}}", members.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tasks: &[&str]) -> anyhow::Result<String> {
        body(&tasks.iter().map(|&task| task.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn pairs_become_one_object_in_the_order_written() {
        assert_eq!(of(&["b=1", "a=2", "x=y=3", "b=4"]).unwrap(), r#"{"b":1,"a":2,"x=y":3,"b":4}"#);
        assert!(of(&["a"]).is_err());
        assert!(of(&["a=soon"]).is_err());
    }
}

//! `tidemill enqueue`: puts a task, or a batch of them, into a queue.

use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::{Args, value_parser};
use serde_json::{Map, Value, json};

use super::http::{Server, escaped};
use super::{Connection, json_of, text_of};
use crate::exit::{failed, usage};
use crate::output::{Format, print, printable, structured};

const EXAMPLES: &str = "\
EXAMPLES:
  tidemill enqueue send_email --payload '{\"to\": \"a@b.org\", \"subject\": \"hi\"}'
  tidemill enqueue send_email --payload @mail.json --delay 10m --retries 3
  tidemill enqueue send_email --payload @mail.json --at 2027-01-01T08:00:00Z
  jq -c . mail.json | tidemill enqueue send_email --payload - -o name
  tidemill enqueue sleep --payload '{\"duration_ms\": 100}' --wait 30s   fails unless it succeeded by then
  tidemill enqueue --batch @tasks.json    a JSON array, taken whole or not at all";

/// Most retries that a task may have.
const RETRIES: i64 = tidemill_core::policy::RETRIES_MAX as i64;

/// How often it is looked whether tasks that are waited for have ended.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Arguments of `enqueue`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct EnqueueArgs {
    /// The type of the task, which picks its handler.
    #[arg(value_name = "TYPE", required_unless_present = "batch")]
    pub task_type: Option<String>,
    /// What the handler gets: a JSON object, @FILE, or - for stdin.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub payload: String,
    /// A JSON array of tasks instead: @FILE, or - for stdin.
    #[arg(long, value_name = "JSON", conflicts_with_all = ["task_type", "id", "retries", "delay", "at", "priority", "timeout"])]
    pub batch: Option<String>,
    /// An id of your own; one that is alive already is refused.
    #[arg(long)]
    pub id: Option<String>,
    /// The queue; the server's default otherwise.
    #[arg(long, short = 'q', value_name = "NAME")]
    pub queue: Option<String>,
    /// How often it is tried again after a failure.
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, value_parser = value_parser!(u16).range(0..=RETRIES))]
    pub retries: Option<u16>,
    /// Start it so much later: 500ms, 30s, 10m, 2h, 1d.
    #[arg(long, value_name = "TIME", value_parser = milliseconds, conflicts_with = "at")]
    pub delay: Option<u64>,
    /// Start it at this time: 2027-01-01T08:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub at: Option<jiff::Timestamp>,
    /// Who goes first: -100 to 100, usually 0.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub priority: Option<i64>,
    /// How long an attempt may take: 500ms, 30s, 10m, 2h.
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    pub timeout: Option<u64>,
    /// Wait until all of them have ended: 500ms, 30s, 10m, 2h. It is a failure if one did not succeed by then.
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    pub wait: Option<u64>,
    /// How to print what was taken in.
    #[arg(long, short = 'o', value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub output: Format,
    /// Which server.
    #[command(flatten)]
    pub connection: Connection,
}

/// Puts the task into the queue and prints what became of it.
pub fn run(args: &EnqueueArgs) -> anyhow::Result<()> {
    let server = Server::new(&args.connection)?;
    let body = match &args.batch {
        Some(batch) => {
            let batch = json_of("the batch", &text_of(batch)?)?;
            if !batch.is_array() {
                return Err(usage("the batch is not a JSON array; for one task leave --batch out"));
            }
            batch
        }
        None => task(args)?,
    };
    let query = args.queue.as_deref().map(|queue| format!("?queue={}", escaped(queue))).unwrap_or_default();
    let answer = server.post(&format!("/enqueue{query}"), Some(body.to_string()))?;
    print(|out| {
        if args.output.is_structured() {
            return structured(&answer, args.output, out);
        }
        for task in tasks_of(&answer) {
            let text = |name: &str| printable(task[name].as_str().unwrap_or_default());
            match args.output {
                Format::Name => writeln!(out, "{}", text("id"))?,
                _ => writeln!(out, "task {} enqueued in {}: {}", text("id"), text("queue"), text("state"))?,
            }
        }
        Ok(())
    })?;
    match args.wait {
        Some(ms) => wait(&server, tasks_of(&answer), Duration::from_millis(ms)),
        None => Ok(()),
    }
}

/// Waits until all tasks have ended. The error says which did not succeed.
fn wait(server: &Server, tasks: &[Value], patience: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut faults = Vec::new();
    for task in tasks {
        let text = |name: &str| task[name].as_str().unwrap_or_default();
        let id = text("id");
        let path = format!("/api/v1/queues/{}/tasks/{}", escaped(text("queue")), escaped(id));
        loop {
            let late = began.elapsed() >= patience;
            let now = match server.get(&path) {
                Ok(now) => now,
                // The server may be replaced just now; what it knows is on the broker.
                Err(_) if !late => {
                    sleep(LOOK_EVERY);
                    continue;
                }
                Err(error) => return Err(error),
            };
            match now["state"].as_str().unwrap_or_default() {
                "succeeded" => break,
                ended @ ("dead" | "cancelled") => {
                    let error = now["attempts"].as_array().and_then(|attempts| attempts.last()?["message"].as_str());
                    faults.push(format!("task {id} is {ended}: {}", error.unwrap_or("it has no error")));
                    break;
                }
                state if late => {
                    faults.push(format!("task {id} is still {state} after {} s", patience.as_secs_f64()));
                    break;
                }
                _ => sleep(LOOK_EVERY),
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(failed(faults.join("\n"))) }
}

/// The tasks of an answer: of one task, of an array, or of an object that holds one.
fn tasks_of(answer: &Value) -> &[Value] {
    match answer {
        Value::Array(tasks) => tasks,
        Value::Object(members) => match members.values().find_map(Value::as_array) {
            Some(tasks) => tasks,
            None => std::slice::from_ref(answer),
        },
        _ => &[],
    }
}

fn task(args: &EnqueueArgs) -> anyhow::Result<Value> {
    let payload = json_of("the payload", &text_of(&args.payload)?)?;
    if !payload.is_object() {
        return Err(usage("the payload is not a JSON object, such as {\"to\": \"a@example.org\"}"));
    }
    let mut task = Map::new();
    let members = [
        ("type", args.task_type.as_deref().map(Value::from)),
        ("id", args.id.as_deref().map(Value::from)),
        ("retries", args.retries.map(Value::from)),
        ("delay_ms", args.delay.map(Value::from)),
        ("run_at", args.at.map(|at| json!(format!("{at:.3}")))),
        ("priority", args.priority.map(Value::from)),
        ("timeout_ms", args.timeout.map(Value::from)),
        ("payload", Some(payload)),
    ];
    task.extend(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Ok(task.into())
}

/// `500ms`, `30s`, `10m`, `2h`, `1d`, or plain milliseconds.
fn milliseconds(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" => Some(1),
        _ => UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor),
    };
    let number = number.parse::<u64>().ok();
    number
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .ok_or_else(|| "a time is a whole number and a unit: 500ms, 30s, 10m, 2h or 1d".to_owned())
}

/// A time with its zone.
fn moment(text: &str) -> Result<jiff::Timestamp, String> {
    text.parse().map_err(|_| "a time has a date, a time of day and a zone, such as 2027-01-01T08:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        let times = ["500ms", "30s", "10m", "2h", "1d", "250"].map(|text| milliseconds(text).unwrap());
        assert_eq!(times, [500, 30_000, 600_000, 7_200_000, 86_400_000, 250]);
        for wrong in ["", "s", "1.5h", "-1s", "3w", "99999999999999999999d"] {
            assert!(milliseconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_moment_has_a_zone() {
        assert!(moment("2027-01-01T08:00:00Z").is_ok() && moment("2027-01-01T08:00:00+02:00").is_ok());
        for wrong in ["tomorrow", "2027-01-01", "2027-01-01T08:00:00"] {
            assert!(moment(wrong).unwrap_err().ends_with("such as 2027-01-01T08:00:00Z"), "{wrong}");
        }
    }
}

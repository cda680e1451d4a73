//! How tasks look in a terminal.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::output::{Format, Table, print, printable, span, structured};

/// Pages of a list, printed as they come; as JSON and YAML, when all are there.
pub struct Pages {
    format: Format,
    kept: Vec<Value>,
    printed: u64,
}

impl Pages {
    /// No pages yet.
    pub fn new(format: Format) -> Self {
        Self { format, kept: Vec::new(), printed: 0 }
    }

    /// Prints or keeps a page.
    pub fn add(&mut self, tasks: Vec<Value>) -> anyhow::Result<()> {
        let first = self.printed == 0;
        self.printed += tasks.len() as u64;
        match self.format {
            Format::Json | Format::Yaml => {
                self.kept.extend(tasks);
                Ok(())
            }
            Format::Name => print(|out| tasks.iter().try_for_each(|task| writeln!(out, "{}", text(task, "id")))),
            _ if tasks.is_empty() => Ok(()),
            Format::Wide => {
                let mut table = Table::new(["ID", "TYPE", "STATE", "ATTEMPTS", "PRIORITY", "AGE", "DUE", "WORKER"]);
                for task in &tasks {
                    let due = age(task, "due_at", |now, due| due - now);
                    let [id, kind, state, attempts, age] = usual(task);
                    let priority = task["priority"].to_string();
                    table.row([id, kind, state, attempts, priority, age, due, dash(text(task, "worker"))]);
                }
                print(|out| table.print_rows(first, out))
            }
            Format::Table => {
                let mut table = Table::new(["ID", "TYPE", "STATE", "ATTEMPTS", "AGE"]);
                for task in &tasks {
                    table.row(usual(task));
                }
                print(|out| table.print_rows(first, out))
            }
        }
    }

    /// Prints what was kept, and says where nothing was found or more is to be had.
    pub fn end(self, more: bool) -> anyhow::Result<()> {
        if self.format.is_structured() {
            let all = json!({ "tasks": self.kept });
            return print(|out| structured(&all, self.format, out));
        }
        let mut stderr = io::stderr();
        if self.printed == 0 && self.format != Format::Name {
            writeln!(stderr, "no tasks; put one in with `tidemill schedule task123=1000`")?;
        } else if more {
            writeln!(stderr, "the first {}; there are more: --limit COUNT or --all", self.printed)?;
        }
        Ok(())
    }
}

fn usual(task: &Value) -> [String; 5] {
    [
        text(task, "id"),
        text(task, "type"),
        text(task, "state"),
        attempts(task),
        age(task, "enqueued_at", |now, then| now - then),
    ]
}

/// Attempts made, the present one and the one that succeeded included, and how many there may be, such as `2/4`.
fn attempts(task: &Value) -> String {
    let unfailed = matches!(task["state"].as_str(), Some("active" | "succeeded"));
    let made = task["failures"].as_u64().unwrap_or(0) + u64::from(unfailed);
    match task["retries"].as_u64() {
        Some(retries) => format!("{made}/{}", retries + 1),
        None => made.to_string(),
    }
}

fn age(task: &Value, name: &str, difference: impl Fn(i64, i64) -> i64) -> String {
    let Some(then) = task[name].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok()) else {
        return "-".to_owned();
    };
    let now = jiff::Timestamp::now().as_millisecond();
    span(u64::try_from(difference(now, then.as_millisecond())).unwrap_or(0))
}

fn dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// A member as text without control characters; empty where there is none.
pub fn text(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::String(text) => printable(text),
        Value::Null => String::new(),
        other => printable(&other.to_string()),
    }
}

/// Prints everything about one task.
pub fn describe(task: &Value, out: &mut dyn Write) -> io::Result<()> {
    const MEMBERS: [(&str, &str); 17] = [
        ("ID", "id"),
        ("Queue", "queue"),
        ("Type", "type"),
        ("State", "state"),
        ("Priority", "priority"),
        ("Retries", "retries"),
        ("Timeout", "timeout_ms"),
        ("Failures", "failures"),
        ("Losses", "losses"),
        ("Enqueued", "enqueued_at"),
        ("Due", "due_at"),
        ("Started", "started_at"),
        ("Ended", "ended_at"),
        ("Worker", "worker"),
        ("Progress", "progress"),
        ("Payload", "payload"),
        ("Result", "result"),
    ];
    for (label, name) in MEMBERS {
        let shown = match name {
            "timeout_ms" => task[name].as_u64().map(span).unwrap_or_default(),
            _ => text(task, name),
        };
        if !shown.is_empty() {
            writeln!(out, "{:<10} {shown}", format!("{label}:"))?;
        }
    }
    let attempts = task["attempts"].as_array().filter(|attempts| !attempts.is_empty());
    for (index, attempt) in attempts.into_iter().flatten().enumerate() {
        if index == 0 {
            writeln!(out, "Attempts:")?;
        }
        let ran = attempt["ran_ms"].as_u64().map(span).unwrap_or_default();
        let [number, kind, message, ended] = ["attempt", "kind", "message", "ended_at"].map(|name| text(attempt, name));
        writeln!(out, "  {number}  {ended}  after {ran}  {kind}: {message}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_described_with_the_errors_of_its_attempts_and_without_what_it_lacks() {
        let task = json!({
            "id": "a", "state": "dead", "failures": 1, "retries": 0, "payload": { "to": "x" },
            "attempts": [{ "attempt": 1, "kind": "unsupported", "message": "unsupported task", "ran_ms": 0,
                           "ended_at": "2026-11-22T02:00:00.000Z" }],
        });
        let mut out = Vec::new();
        describe(&task, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("Payload:   {\"to\":\"x\"}\n"), "{text}");
        assert!(text.ends_with("  1  2026-11-22T02:00:00.000Z  after 0ms  unsupported: unsupported task\n"), "{text}");
        assert!(!text.contains("Worker"), "{text}");
    }

    #[test]
    fn attempts_are_those_made_whether_they_failed_or_not() {
        let of = |state: &str| attempts(&json!({ "state": state, "failures": 1, "retries": 3 }));
        assert_eq!(["dead", "retrying", "active", "succeeded"].map(of), ["1/4", "1/4", "2/4", "2/4"]);
    }
}

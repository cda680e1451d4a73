//! What lines of the log are about: while an attempt runs, each line of its handler, and of what the handler calls, names
//! the task.
//!
//! That is no span of `tracing`: those cost an allocation and the formatting of their fields for each task, whether or not
//! it logs anything. A subject is set aside while its future rests and is looked at only when a line is written.

use std::fmt::{self, Write};
use std::sync::Arc;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

tokio::task_local! {
    static SUBJECT: Arc<dyn Subject>;
}

/// What a line is about, in the words of [`task_log`](crate::task_log).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The queue.
    pub queue: &'a str,
    /// The task.
    pub task: &'a str,
    /// Its type.
    pub task_type: &'a str,
    /// Which attempt.
    pub attempt: u32,
    /// The trace that it belongs to.
    pub trace_id: Option<&'a str>,
}

/// Whoever knows what lines are about.
pub trait Subject: Send + Sync + 'static {
    /// The fields of each line.
    fn fields(&self) -> Fields<'_>;
}

/// Runs `work` with all of its lines about `subject`. Tasks that it spawns are on their own.
pub async fn about<F: Future>(subject: Arc<dyn Subject>, work: F) -> F::Output {
    SUBJECT.scope(subject, work).await
}

/// The same for work that blocks.
pub fn about_blocking<T>(subject: Arc<dyn Subject>, work: impl FnOnce() -> T) -> T {
    SUBJECT.sync_scope(subject, work)
}

/// Adds the fields of the subject in force to each line.
#[derive(Debug)]
pub(crate) struct WithSubject<F> {
    pub(crate) format: F,
    pub(crate) json: bool,
}

impl<S, N, F> FormatEvent<S, N> for WithSubject<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, cx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Ok(subject) = SUBJECT.try_with(Arc::clone) else {
            return self.format.format_event(cx, writer, event);
        };
        let mut line = String::with_capacity(256);
        self.format.format_event(cx, Writer::new(&mut line), event)?;
        writer.write_str(&added(line, subject.fields(), self.json)?)
    }
}

/// The line with these fields at its end, those left out that it has already.
fn added(mut line: String, fields: Fields<'_>, json: bool) -> Result<String, fmt::Error> {
    let Fields { queue, task, task_type, attempt, trace_id } = fields;
    line.truncate(line.trim_end().len());
    if json {
        line.truncate(line.strip_suffix('}').ok_or(fmt::Error)?.len());
    }
    let attempt = attempt.to_string();
    let texts = [("queue", Some(queue)), ("task", Some(task)), ("type", Some(task_type)), ("trace_id", trace_id)];
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text?, true)));
    for (name, value, quoted) in texts.chain([("attempt", attempt.as_str(), false)]) {
        let known = if json { line.contains(&format!("\"{name}\":")) } else { line.contains(&format!(" {name}=")) };
        if known {
            continue;
        }
        match (json, quoted) {
            (true, true) => write!(line, ",\"{name}\":{}", serde_json::Value::from(value))?,
            (true, false) => write!(line, ",\"{name}\":{value}")?,
            (false, true) => write!(line, " {name}={value:?}")?,
            (false, false) => write!(line, " {name}={value}")?,
        }
    }
    line.push_str(if json { "}\n" } else { "\n" });
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: Fields<'_> =
        Fields { queue: "default", task: "a \"b\"", task_type: "sleep", attempt: 2, trace_id: Some("0af7") };

    #[test]
    fn a_line_of_an_attempt_names_it_in_either_format() {
        let json = added("{\"level\":\"INFO\",\"message\":\"x\"}\n".to_owned(), FIELDS, true).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["message"], "x");
        assert_eq!(
            (&json["task"], &json["attempt"], &json["trace_id"]),
            (&"a \"b\"".into(), &2.into(), &"0af7".into())
        );
        let text = added("INFO sleep: x\n".to_owned(), Fields { trace_id: None, ..FIELDS }, false).unwrap();
        assert_eq!(text, "INFO sleep: x queue=\"default\" task=\"a \\\"b\\\"\" type=\"sleep\" attempt=2\n");
    }

    #[test]
    fn what_a_line_says_by_itself_is_not_said_twice() {
        let json = added("{\"queue\":\"other\",\"type\":\"x\"}\n".to_owned(), FIELDS, true).unwrap();
        assert_eq!(json.matches("\"queue\":").count(), 1, "{json}");
        assert_eq!(json.matches("\"type\":").count(), 1, "{json}");
    }
}

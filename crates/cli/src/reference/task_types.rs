//! The page of task types, from what each says of itself.

use std::fmt::Write as _;

use tidemill_handlers::TYPES;

use super::markdown::table;
use super::schema::{HEADS, rows};

const HEAD: &str = "\
# Task types

What the program serves by itself. A result of at most 256 KiB is kept with the task. A *permanent* error ends a task as dead at
once; any other is tried again while it has retries left. In the tables, * marks what a payload must have.

More types: [handlers in other languages](../how-to/other-languages.md), [a worker of your own](../how-to/own-worker.md).
";

pub(super) fn text() -> String {
    let mut text = HEAD.to_owned();
    for built_in in TYPES {
        let schema = (built_in.payload)().to_value();
        let members = match rows(&schema, &schema) {
            rows if rows.is_empty() => "The payload is any JSON object.\n".to_owned(),
            rows => table(HEADS, rows),
        };
        let example =
            format!("```json\n{{\"type\": \"{}\", \"payload\": {}}}\n```", built_in.name, built_in.example.trim());
        // Writing to a String cannot fail.
        write!(text, "\n## {}\n\n{}\n\n{}\n\n{members}\n{example}\n", built_in.name, built_in.summary, built_in.doc)
            .ok();
    }
    text
}

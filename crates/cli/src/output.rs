//! What is printed: tables for people, JSON and YAML for programs. Colour for terminals alone, and not with `NO_COLOR`.

use std::io::{self, IsTerminal, Write};

use saphyr::{Mapping, Scalar, Yaml, YamlEmitter};
use serde_json::Value;
use tidemill_process::sight::wants_colour;

/// How a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// A table.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    /// The names alone, one a line.
    Name,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Format {
    /// Whether it is for programs.
    pub fn is_structured(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }
}

/// Prints to stdout, buffered, and says when that fails.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    write(&mut out)?;
    out.flush()?;
    Ok(())
}

/// Prints `value` as JSON, or as YAML where `format` says so.
pub fn structured(value: &Value, format: Format, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    if format == Format::Yaml {
        let mut text = String::new();
        YamlEmitter::new(&mut text).dump(&yaml(value)).map_err(io::Error::other)?;
        return writeln!(out, "{}", text.trim_start_matches("---\n"));
    }
    writeln!(out, "{value:#}")
}

fn yaml(value: &Value) -> Yaml<'_> {
    match value {
        Value::Null => Yaml::Value(Scalar::Null),
        Value::Bool(truth) => Yaml::Value(Scalar::Boolean(*truth)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Yaml::Value(Scalar::Integer(whole)),
            (None, Some(float)) => Yaml::Value(Scalar::FloatingPoint(float.into())),
            (None, None) => Yaml::Value(Scalar::String(number.to_string().into())),
        },
        Value::String(text) => Yaml::Value(Scalar::String(text.as_str().into())),
        Value::Array(items) => Yaml::Sequence(items.iter().map(yaml).collect()),
        Value::Object(members) => {
            let mut mapping = Mapping::new();
            for (name, member) in members {
                mapping.insert(Yaml::Value(Scalar::String(name.as_str().into())), yaml(member));
            }
            Yaml::Mapping(mapping)
        }
    }
}

/// Whether stdout takes colours.
pub fn colour() -> bool {
    io::stdout().is_terminal() && wants_colour()
}

/// Columns under capital heads, three spaces apart, as kubectl prints them.
pub struct Table<const N: usize> {
    heads: [&'static str; N],
    rows: Vec<[String; N]>,
    colour: bool,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub fn new(heads: [&'static str; N]) -> Self {
        Self { heads, rows: Vec::new(), colour: colour() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| printable(&cell)));
    }

    /// Prints heads and rows.
    pub fn print(&self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        self.print_rows(true, out)
    }

    /// Prints the rows, and the heads where `heads` holds (later pages have none).
    pub fn print_rows(&self, heads: bool, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let widths: Vec<usize> = (0..N)
            .map(|column| {
                let cells = self.rows.iter().map(|row| row[column].chars().count());
                cells.chain([self.heads[column].len()]).max().unwrap_or(0)
            })
            .collect();
        if heads {
            self.line(&self.heads.map(str::to_owned), &widths, out)?;
        }
        self.rows.iter().try_for_each(|row| self.line(row, &widths, out))
    }

    fn line(&self, cells: &[String; N], widths: &[usize], out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let mut line = String::new();
        for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let padding = if index + 1 == N { 0 } else { width - cell.chars().count() + GAP };
            match tint(cell).filter(|_| self.colour) {
                Some(tint) => line.extend(["\x1b[", tint, "m", cell, "\x1b[0m"]),
                None => line.push_str(cell),
            }
            line.extend(std::iter::repeat_n(' ', padding));
        }
        writeln!(out, "{}", line.trim_end())
    }
}

const GAP: usize = 3;

/// The colour of a state, the same as on the page; other words have none.
fn tint(cell: &str) -> Option<&'static str> {
    Some(match cell {
        "pending" => "34",
        "delayed" => "36",
        "active" => "33",
        "retrying" => "35",
        "succeeded" => "32",
        "dead" => "31",
        "cancelled" => "2",
        _ => return None,
    })
}

/// A text of someone else's without control characters, which could drive a terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A span of time, rounded for reading: `340ms`, `12s`, `5m`, `3h`, `9d`.
pub fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..120_000 => format!("{}s", ms / 1_000),
        120_000..7_200_000 => format!("{}m", ms / 60_000),
        7_200_000..172_800_000 => format!("{}h", ms / 3_600_000),
        _ => format!("{}d", ms / 86_400_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_its_columns_three_spaces_apart_and_no_trailing_space() {
        let mut table = Table::new(["ID", "STATE"]);
        table.row(["task123".to_owned(), "pending".to_owned()]);
        table.row(["a\x1b[2Jb".to_owned(), String::new()]);
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "ID        STATE\ntask123   pending\na [2Jb\n");
    }

    #[test]
    fn spans_are_rounded_for_reading() {
        let spans = [340, 12_999, 119_999, 300_000, 10_800_000, 800_000_000].map(span);
        assert_eq!(spans, ["340ms", "12s", "119s", "5m", "3h", "9d"]);
    }

    #[test]
    fn yaml_says_the_same_as_json() {
        let value = serde_json::json!({ "tasks": [{ "id": "a", "retries": 3, "is": "no" }] });
        let mut out = Vec::new();
        structured(&value, Format::Yaml, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "tasks:\n  - id: a\n    retries: 3\n    is: \"no\"\n");
    }
}

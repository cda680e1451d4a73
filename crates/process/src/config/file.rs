//! The YAML file: each setting with the line it stands on, each fault with line, column and the nearest right key.

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, ScanError, YamlData};
use tidemill_core::suggest::nearest;

use super::handlers;
use super::table::{Kind, SETTINGS, Setting, find};
use super::value::Value;

/// A setting found in a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Which setting: its place in the table.
    pub setting: usize,
    /// Its value.
    pub value: Value,
    /// Its line, from 1.
    pub line: usize,
}

/// Reads the text of `file`. The errors are whole sentences that begin with file, line and column; all faults are told
/// at once.
pub fn read(file: &str, text: &str) -> Result<Vec<Found>, Vec<String>> {
    let documents = MarkedYaml::load_from_str(text).map_err(|error| vec![not_yaml(file, &error)])?;
    let mut reader = Reader { file, found: Vec::new(), faults: Vec::new() };
    match documents.as_slice() {
        [] => {}
        [document] => reader.section("", document),
        [_, second, ..] => reader.fault(second, "a configuration is one YAML document; this is a second one"),
    }
    if reader.faults.is_empty() { Ok(reader.found) } else { Err(reader.faults) }
}

fn not_yaml(file: &str, error: &ScanError) -> String {
    let (line, column) = (error.marker().line(), error.marker().col() + 1);
    format!("{file}:{line}:{column}: this is not YAML: {}", error.info())
}

struct Reader<'a> {
    file: &'a str,
    found: Vec<Found>,
    faults: Vec<String>,
}

impl Reader<'_> {
    fn fault(&mut self, at: &MarkedYaml<'_>, text: impl AsRef<str>) {
        let (line, column) = (at.span.start.line(), at.span.start.col() + 1);
        self.faults.push(format!("{}:{line}:{column}: {}", self.file, text.as_ref()));
    }

    fn section(&mut self, path: &str, node: &MarkedYaml<'_>) {
        let mapping = match &node.data {
            YamlData::Mapping(mapping) => mapping,
            YamlData::Value(Scalar::Null) => return,
            _ if path.is_empty() => {
                return self.fault(node, "a configuration is a mapping of sections: app, queue, log, …");
            }
            _ => return self.fault(node, format!("{path} is a section: write its keys indented below it")),
        };
        for (key, value) in mapping {
            let Some(name) = scalar_text(key) else {
                self.fault(key, "a key is a word");
                continue;
            };
            let full = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if let Some(index) = find(&full).filter(|&index| SETTINGS[index].kind == Kind::Handlers) {
                let line = key.span.start.line();
                match handlers::read(value) {
                    Ok(read) => self.found.push(Found { setting: index, value: Value::Handlers(read), line }),
                    Err(faults) => faults.into_iter().for_each(|(node, sentence)| self.fault(node, sentence)),
                }
            } else if let Some(index) = find(&full) {
                match parse(&SETTINGS[index], value) {
                    Ok(parsed) => {
                        self.found.push(Found { setting: index, value: parsed, line: key.span.start.line() });
                    }
                    Err((node, reason)) => self.fault(node, format!("{full} {reason}")),
                }
            } else if SETTINGS.iter().any(|setting| below(&full, setting.key).is_some()) {
                self.section(&full, value);
            } else {
                self.fault(key, unknown(&full));
            }
        }
    }
}

/// The part of `key` below the section `path`.
fn below<'a>(path: &str, key: &'a str) -> Option<&'a str> {
    if path.is_empty() { Some(key) } else { key.strip_prefix(path)?.strip_prefix('.') }
}

/// The sentence about a key that does not exist, with the nearest one beside it, else the nearest anywhere.
pub fn unknown(full: &str) -> String {
    let (path, name) = full.rsplit_once('.').unwrap_or(("", full));
    match nearest_key(full, path, name) {
        Some(near) => format!("there is no setting {full}; did you mean {near}?"),
        None => format!("there is no setting {full}; `tidemill config --keys` lists all"),
    }
}

fn nearest_key(full: &str, path: &str, name: &str) -> Option<String> {
    let keys = || SETTINGS.iter().map(|setting| setting.key);
    let leaf = |key: &'static str| key.rsplit('.').next().unwrap_or(key);
    let mut beside: Vec<&str> =
        keys().filter_map(|key| below(path, key)).filter_map(|rest| rest.split('.').next()).collect();
    beside.dedup();
    if let Some(near) = nearest(name, beside, 1).first() {
        return Some(if path.is_empty() { (*near).to_owned() } else { format!("{path}.{near}") });
    }
    let near_leaf = nearest(name, keys().map(leaf), 1).first().copied();
    let near = near_leaf.and_then(|near| keys().find(|key| leaf(key) == near));
    near.or_else(|| nearest(full, keys(), 1).first().copied()).map(str::to_owned)
}

/// A scalar as the text that it was written as.
pub(super) fn scalar_text(node: &MarkedYaml<'_>) -> Option<String> {
    match &node.data {
        YamlData::Value(Scalar::String(text)) => Some(text.to_string()),
        YamlData::Value(Scalar::Integer(number)) => Some(number.to_string()),
        YamlData::Value(Scalar::FloatingPoint(number)) => Some(number.to_string()),
        YamlData::Value(Scalar::Boolean(truth)) => Some(truth.to_string()),
        _ => None,
    }
}

/// A value, or the node that is wrong and the rest of a sentence about it.
fn parse<'n, 'i>(setting: &Setting, node: &'n MarkedYaml<'i>) -> Result<Value, (&'n MarkedYaml<'i>, String)> {
    if let (Kind::List | Kind::Arguments, YamlData::Sequence(items)) = (setting.kind, &node.data) {
        return items
            .iter()
            .map(|item| scalar_text(item).ok_or_else(|| (item, "is a list of texts".to_owned())))
            .collect::<Result<_, _>>()
            .map(Value::List);
    }
    let text = match &node.data {
        YamlData::Value(Scalar::Null) => Err("has no value; leave it out for the default".to_owned()),
        _ => scalar_text(node).ok_or_else(|| "takes a single value".to_owned()),
    };
    text.and_then(|text| setting.parse(&text)).map_err(|reason| (node, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        read("c.yaml", text).unwrap_err()
    }

    #[test]
    fn a_fault_is_told_with_file_line_column_and_the_nearest_right_key() {
        let table = [
            ("app:\n  prot: 1\n", "c.yaml:2:3: there is no setting app.prot; did you mean app.port?"),
            ("ap:\n  port: 1\n", "c.yaml:1:1: there is no setting ap; did you mean app?"),
            (
                "executor_service:\n  worker_limit: 3\n",
                "c.yaml:2:3: there is no setting executor_service.worker_limit; did you mean executor_service.workers_limit?",
            ),
            (
                "workers_limit: 3\n",
                "c.yaml:1:1: there is no setting workers_limit; did you mean executor_service.workers_limit?",
            ),
            ("zebra: 3\n", "c.yaml:1:1: there is no setting zebra; `tidemill config --keys` lists all"),
            (
                "app:\n  host: a\n  port: eighty\n",
                "c.yaml:3:9: app.port must be a whole number from 0 to 65535, not \"eighty\"",
            ),
            ("app:\n  port: -1\n", "c.yaml:2:9: app.port must be a whole number from 0 to 65535, not \"-1\""),
            ("app:\n  port: [1]\n", "c.yaml:2:9: app.port takes a single value"),
            ("app:\n  port:\n", "c.yaml:2:7: app.port has no value; leave it out for the default"),
            ("app: 3\n", "c.yaml:1:6: app is a section: write its keys indented below it"),
            (
                "handlers:\n  a:\n    comand: [x]\n    url: http://x\n",
                "c.yaml:3:5: there is no setting handlers.a.comand; did you mean handlers.a.command?",
            ),
            (
                "handlers: {sleep: {command: [x]}}\n",
                "c.yaml:1:12: handlers.sleep: sleep is a built-in type; choose another name",
            ),
            (
                "exec:\n  command: convert\n",
                "c.yaml:2:12: exec.command must be a list: [\"python3\", \"/app/handler.py\"], not \"convert\"",
            ),
            ("handler:\n  a: 1\n", "c.yaml:1:1: there is no setting handler; did you mean handlers?"),
            ("- a\n", "c.yaml:1:1: a configuration is a mapping of sections: app, queue, log, …"),
        ];
        for (text, expected) in table {
            assert_eq!(faults(text), [expected], "{text}");
        }
    }

    #[test]
    fn what_is_not_yaml_is_told_with_its_place() {
        let told = faults("app:\n  port: [1\n");
        assert!(told[0].starts_with("c.yaml:") && told[0].contains(": this is not YAML: "), "{told:?}");
        assert!(faults("app:\n  port: 1\n  port: 2\n")[0].contains("duplicate"), "a key twice");
    }

    #[test]
    fn all_faults_are_told_at_once() {
        assert_eq!(faults("app:\n  prot: 1\nlog:\n  format: xml\n").len(), 2);
    }

    #[test]
    fn an_empty_file_and_empty_sections_set_nothing() {
        assert_eq!(read("c.yaml", "").unwrap(), []);
        assert_eq!(read("c.yaml", "# nothing\napp:\n").unwrap(), []);
    }

    #[test]
    fn values_come_with_their_lines() {
        let found = read("c.yaml", "app:\n  port: 8081\nauth:\n  tokens: [a, b]\n").unwrap();
        let shown: Vec<_> = found.iter().map(|f| (SETTINGS[f.setting].key, f.value.clone(), f.line)).collect();
        assert_eq!(
            shown,
            [
                ("app.port", Value::Number(8081), 2),
                ("auth.tokens", Value::List(vec!["a".to_owned(), "b".to_owned()]), 4)
            ]
        );
    }
}

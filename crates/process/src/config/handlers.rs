//! The section `handlers`: types of one's own, each served by a command or by a URL.
//!
//! ```yaml
//! handlers:
//!   resize: {command: [python3, /app/resize.py], pass_env: [BUCKET_KEY], timeout_ms: 60000}
//!   notify: {url: "http://127.0.0.1:9000/notify"}
//! ```
//!
//! In the environment and in flags it is the same as JSON. Whoever sets it sets all of it: layers are not mixed.

use std::collections::BTreeMap;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde::{Deserialize, Serialize};
use tidemill_core::TaskType;
use tidemill_core::policy::TIMEOUT_MS_MAX;
use tidemill_core::suggest::nearest;

use super::file::scalar_text;
use super::value::{MASK, mask_url};

/// Most types of one's own: beyond that it is a program of its own that is wanted.
const HANDLERS_MAX: usize = 64;
/// Most words of a command, and most variables of one.
const WORDS_MAX: usize = 64;

/// Types of one's own by their names.
pub type Handlers = BTreeMap<String, Handler>;

/// What serves a type: a command, or a URL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Handler {
    /// The program and its arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Where payloads are posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Variables of the command.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Variables of the worker that the command gets too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pass_env: Vec<String>,
    /// The folder of the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// How long it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// The members of a handler.
const MEMBERS: [&str; 6] = ["command", "url", "env", "pass_env", "directory", "timeout_ms"];
/// Those that mean nothing to a URL.
const OF_COMMANDS: [&str; 3] = ["env", "pass_env", "directory"];

/// What is wrong, as a sentence, and the node that is.
type Fault<'n, 'i> = (&'n MarkedYaml<'i>, String);

/// Reads the section from a text of JSON or YAML. The error is the rest of a sentence that begins with the setting's name.
pub fn parse(text: &str) -> Result<Handlers, String> {
    let documents = MarkedYaml::load_from_str(text).map_err(|error| format!("is not JSON: {}", error.info()))?;
    match documents.as_slice() {
        [] => Ok(Handlers::new()),
        [node] => read(node).map_err(|faults| {
            let sentences: Vec<String> = faults.into_iter().map(|(_, sentence)| sentence).collect();
            format!("cannot be used: {}", sentences.join("; "))
        }),
        _ => Err("is more than one document".to_owned()),
    }
}

/// Reads the section. All faults are told at once.
pub fn read<'n, 'i>(node: &'n MarkedYaml<'i>) -> Result<Handlers, Vec<Fault<'n, 'i>>> {
    let mut reader = Reader { faults: Vec::new() };
    let handlers = reader.handlers(node);
    if reader.faults.is_empty() { Ok(handlers) } else { Err(reader.faults) }
}

/// The section as it may be shown: the values of variables and passwords masked.
pub fn shown(handlers: &Handlers) -> serde_json::Value {
    let mut shown = handlers.clone();
    for handler in shown.values_mut() {
        handler.env.values_mut().for_each(|value| MASK.clone_into(value));
        handler.url = handler.url.as_deref().map(mask_url);
    }
    serde_json::json!(shown)
}

struct Reader<'n, 'i> {
    faults: Vec<Fault<'n, 'i>>,
}

impl<'n, 'i> Reader<'n, 'i> {
    fn fault(&mut self, node: &'n MarkedYaml<'i>, sentence: impl Into<String>) {
        self.faults.push((node, sentence.into()));
    }

    fn handlers(&mut self, node: &'n MarkedYaml<'i>) -> Handlers {
        let mut handlers = Handlers::new();
        let mapping = match &node.data {
            YamlData::Mapping(mapping) => mapping,
            YamlData::Value(Scalar::Null) => return handlers,
            _ => {
                self.fault(node, "handlers is a mapping: the name of a type, and below it command or url");
                return handlers;
            }
        };
        if mapping.len() > HANDLERS_MAX {
            self.fault(node, format!("handlers has {} types; at most {HANDLERS_MAX} are taken", mapping.len()));
        }
        for (key, value) in mapping {
            let name = scalar_text(key).unwrap_or_default();
            if let Err(error) = TaskType::new(name.as_str()) {
                self.fault(key, format!("handlers: {name:?} is not a name of a type: {error}"));
            } else if TaskType::BUILT_IN.contains(&name.as_str()) {
                self.fault(key, format!("handlers.{name}: {name} is a built-in type; choose another name"));
            } else {
                let handler = self.handler(&format!("handlers.{name}"), value);
                handlers.insert(name, handler);
            }
        }
        handlers
    }

    fn handler(&mut self, path: &str, node: &'n MarkedYaml<'i>) -> Handler {
        let mut handler = Handler::default();
        let YamlData::Mapping(mapping) = &node.data else {
            self.fault(node, format!("{path} is a section: write command or url indented below it"));
            return handler;
        };
        let mut set = Vec::new();
        for (key, value) in mapping {
            let member = scalar_text(key).unwrap_or_default();
            let at = format!("{path}.{member}");
            match member.as_str() {
                "command" => handler.command = self.texts(&at, value),
                "pass_env" => handler.pass_env = self.texts(&at, value),
                "env" => handler.env = self.variables(&at, value),
                "url" => handler.url = self.url(&at, value),
                "directory" => handler.directory = self.text(&at, value),
                "timeout_ms" => handler.timeout_ms = self.milliseconds(&at, value),
                _ => {
                    let near = nearest(&member, MEMBERS, 1);
                    let hint = match near.first() {
                        Some(near) => format!("did you mean {path}.{near}?"),
                        None => format!("there are {}", MEMBERS.join(", ")),
                    };
                    self.fault(key, format!("there is no setting {at}; {hint}"));
                    continue;
                }
            }
            set.push((member, key));
        }
        let has = |member: &str| set.iter().any(|(name, _)| name == member);
        if has("command") == has("url") {
            self.fault(node, format!("{path} needs either command or url, and not both"));
        } else if has("url") {
            let stray = set.iter().find(|(member, _)| OF_COMMANDS.contains(&member.as_str()));
            if let Some((member, key)) = stray {
                self.fault(key, format!("{path}.{member} belongs to a command, and there is a url"));
            }
        }
        handler
    }

    fn text(&mut self, at: &str, node: &'n MarkedYaml<'i>) -> Option<String> {
        let text = scalar_text(node).filter(|text| !text.is_empty());
        if text.is_none() {
            self.fault(node, format!("{at} must be a text that is not empty"));
        }
        text
    }

    fn texts(&mut self, at: &str, node: &'n MarkedYaml<'i>) -> Vec<String> {
        let texts = match &node.data {
            YamlData::Sequence(items) if (1..=WORDS_MAX).contains(&items.len()) => {
                items.iter().map(scalar_text).collect::<Option<Vec<_>>>()
            }
            _ => None,
        };
        if texts.is_none() {
            self.fault(node, format!("{at} must be a list of 1 to {WORDS_MAX} texts: [python3, /app/handler.py]"));
        }
        texts.unwrap_or_default()
    }

    fn variables(&mut self, at: &str, node: &'n MarkedYaml<'i>) -> BTreeMap<String, String> {
        let variables = match &node.data {
            YamlData::Mapping(mapping) if mapping.len() <= WORDS_MAX => mapping
                .iter()
                .map(|(name, value)| Some((scalar_text(name)?, scalar_text(value)?)))
                .collect::<Option<BTreeMap<_, _>>>(),
            _ => None,
        };
        if variables.is_none() {
            self.fault(node, format!("{at} must be a mapping of at most {WORDS_MAX} names to texts"));
        }
        variables.unwrap_or_default()
    }

    fn url(&mut self, at: &str, node: &'n MarkedYaml<'i>) -> Option<String> {
        let url = scalar_text(node).filter(|url| url.starts_with("http://") || url.starts_with("https://"));
        if url.is_none() {
            self.fault(node, format!("{at} must begin with http:// or https://"));
        }
        url
    }

    fn milliseconds(&mut self, at: &str, node: &'n MarkedYaml<'i>) -> Option<u64> {
        let number = scalar_text(node).and_then(|text| text.parse().ok());
        let number = number.filter(|number| (1..=TIMEOUT_MS_MAX).contains(number));
        if number.is_none() {
            self.fault(node, format!("{at} must be a whole number from 1 to {TIMEOUT_MS_MAX}"));
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(text).unwrap_err()
    }

    #[test]
    fn a_type_is_served_by_a_command_or_by_a_url() {
        let text = "resize: {command: [python3, -u, 7], env: {A: 1}, pass_env: [KEY], directory: /app, timeout_ms: 500}\n\
                    notify:\n  url: http://127.0.0.1:9000/x\n";
        let handlers = parse(text).unwrap();
        let resize = Handler {
            command: ["python3", "-u", "7"].map(str::to_owned).to_vec(),
            env: [("A".to_owned(), "1".to_owned())].into(),
            pass_env: vec!["KEY".to_owned()],
            directory: Some("/app".to_owned()),
            timeout_ms: Some(500),
            ..Handler::default()
        };
        let notify = Handler { url: Some("http://127.0.0.1:9000/x".to_owned()), ..Handler::default() };
        assert_eq!(handlers, [("notify".to_owned(), notify), ("resize".to_owned(), resize)].into());
        assert_eq!(parse(&serde_json::json!(handlers).to_string()).unwrap(), handlers, "as JSON");
        assert_eq!(parse("").unwrap(), Handlers::new());
        assert_eq!(parse("{}").unwrap(), Handlers::new());
    }

    #[test]
    fn a_mistake_is_refused_in_words() {
        let table = [
            ("[]", "handlers is a mapping: the name of a type, and below it command or url"),
            ("a: {}", "handlers.a needs either command or url, and not both"),
            ("a: {command: [x], url: 'http://x'}", "handlers.a needs either command or url, and not both"),
            ("a: x", "handlers.a is a section: write command or url indented below it"),
            (
                "a: {comand: [x], url: 'http://x'}",
                "there is no setting handlers.a.comand; did you mean handlers.a.command?",
            ),
            ("a: {command: x}", "handlers.a.command must be a list of 1 to 64 texts: [python3, /app/handler.py]"),
            ("a: {command: []}", "handlers.a.command must be a list of 1 to 64 texts: [python3, /app/handler.py]"),
            ("a: {command: [[x]]}", "handlers.a.command must be a list of 1 to 64 texts: [python3, /app/handler.py]"),
            ("a: {url: 'ftp://x'}", "handlers.a.url must begin with http:// or https://"),
            ("a: {url: 'http://x', env: {A: b}}", "handlers.a.env belongs to a command, and there is a url"),
            ("a: {command: [x], env: [A]}", "handlers.a.env must be a mapping of at most 64 names to texts"),
            ("a: {command: [x], directory: ''}", "handlers.a.directory must be a text that is not empty"),
            ("a: {command: [x], timeout_ms: 0}", "handlers.a.timeout_ms must be a whole number from 1 to"),
            ("sleep: {command: [x]}", "handlers.sleep: sleep is a built-in type; choose another name"),
            ("exec: {command: [x]}", "handlers.exec: exec is a built-in type; choose another name"),
            ("'a b': {command: [x]}", "handlers: \"a b\" is not a name of a type: task type \"a b\""),
        ];
        for (text, sentence) in table {
            let said = refusal(text);
            assert!(said.starts_with(&format!("cannot be used: {sentence}")), "{text}: {said}");
        }
        assert!(refusal("{").starts_with("is not JSON: "));
        assert_eq!(refusal("{a: 1, b: 2}").matches("is a section").count(), 2, "all faults at once");
    }

    #[test]
    fn values_of_variables_and_passwords_are_not_shown() {
        let handlers = parse("a: {command: [x], env: {KEY: hunter2}}\nb: {url: 'http://u:hunter2@h/'}").unwrap();
        let shown = shown(&handlers).to_string();
        assert_eq!(shown, r#"{"a":{"command":["x"],"env":{"KEY":"***"}},"b":{"url":"http://u:***@h/"}}"#);
    }
}

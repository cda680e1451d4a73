//! The words of a mail from a template: `NAME.subject`, `NAME.txt` and `NAME.html` of the worker's folder, filled with data.
//! Data is escaped in HTML; a name that the data lacks is an error, not an empty place in a mail.

use std::path::{Path, PathBuf};

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use serde_json::{Map, Value};
use tidemill_executor::HandlerError;

use crate::templates::{TemplateError, find, missing};

/// Largest text that a template may become, in bytes: larger is no mail for people.
const WORDS_MAX: usize = 4 << 20;
/// How deep templates may include one another.
const DEPTH_MAX: usize = 32;

/// What a template became.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) subject: Option<String>,
    pub(super) text: Option<String>,
    pub(super) html: Option<String>,
}

/// Fills the template `name` of `folder`.
pub(super) fn fill(folder: &Path, name: &str, data: &Map<String, Value>) -> Result<Words, HandlerError> {
    let environment = environment(folder.to_owned());
    let part = |extension: &str| -> Result<Option<String>, HandlerError> {
        if find(folder, name, extension).map_err(TemplateError::about_payload)?.is_none() {
            return Ok(None);
        }
        let filled = environment
            .get_template(&format!("{name}.{extension}"))
            .and_then(|template| template.render(minijinja::Value::from(Serde(data))));
        let filled = filled.map_err(|error| fault(&error))?;
        if filled.len() > WORDS_MAX {
            let why = format!("payload.template: {name}.{extension} became more than {WORDS_MAX} bytes");
            return Err(HandlerError::permanent(why));
        }
        Ok(Some(filled))
    };
    let words = Words {
        subject: part("subject")?.map(|subject| subject.trim().to_owned()),
        text: part("txt")?,
        html: part("html")?,
    };
    if words.text.is_none() && words.html.is_none() {
        return Err(missing(folder, name, "txt").about_payload());
    }
    Ok(words)
}

fn environment(folder: PathBuf) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_recursion_limit(DEPTH_MAX);
    environment.set_auto_escape_callback(|name| {
        if name.rsplit_once('.').is_some_and(|(_, extension)| extension == "html") {
            AutoEscape::Html
        } else {
            AutoEscape::None
        }
    });
    environment.set_loader(move |name: &str| -> Result<Option<String>, minijinja::Error> {
        let Some((name, extension)) = name.rsplit_once('.') else { return Ok(None) };
        if !matches!(extension, "subject" | "txt" | "html") {
            return Ok(None);
        }
        find(&folder, name, extension)
            .map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string()))
    });
    environment
}

fn fault(error: &minijinja::Error) -> HandlerError {
    let place = match (error.name(), error.line()) {
        (Some(name), Some(line)) => format!("{name}, line {line}: "),
        (Some(name), None) => format!("{name}: "),
        _ => String::new(),
    };
    let what = error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    HandlerError::permanent(format!("payload.template: {place}{what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("welcome.subject", "Welcome, {{ name }}\n"),
            ("welcome.txt", "Dear {{ name }},\nyou ordered {{ items | length }} things."),
            ("welcome.html", "{% extends \"frame.html\" %}{% block inner %}<p>{{ name }}</p>{% endblock %}"),
            ("frame.html", "<html>{% block inner %}{% endblock %}</html>"),
            ("escape.txt", "{% include \"../secret.txt\" %}"),
        ] {
            std::fs::write(home.path().join(name), text).unwrap();
        }
        home
    }

    fn data(json: &Value) -> Map<String, Value> {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn data_fills_all_parts_and_is_escaped_in_html_alone() {
        let data = data(&serde_json::json!({"name": "<b>Ada</b>", "items": [1, 2]}));
        let words = fill(folder().path(), "welcome", &data).unwrap();
        assert_eq!(words.subject.unwrap(), "Welcome, <b>Ada</b>");
        assert_eq!(words.text.unwrap(), "Dear <b>Ada</b>,\nyou ordered 2 things.");
        assert_eq!(words.html.unwrap(), "<html><p>&lt;b&gt;Ada&lt;&#x2f;b&gt;</p></html>");
    }

    #[test]
    fn what_the_data_lacks_and_what_is_no_template_are_said_with_their_place() {
        let home = folder();
        for (name, words) in [
            ("welcome", "payload.template: welcome.subject, line 1: undefined value"),
            ("letter", "payload.template: there is no template \"letter\""),
            ("../welcome", "payload.template: \"../welcome\" is not a plain name"),
            ("escape", "is not a plain name"),
        ] {
            let error = fill(home.path(), name, &Map::new()).unwrap_err();
            assert!(error.is_permanent() && error.message().contains(words), "{error}");
        }
    }
}

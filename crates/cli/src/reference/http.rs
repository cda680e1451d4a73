//! The page of the HTTP API, from its OpenAPI document.

use std::fmt::Write as _;

use serde_json::Value;

use super::markdown::{code, prose, table};
use super::schema::{HEADS, is_empty, rows};

const HEAD: &str = "\
# HTTP API

The OpenAPI document is served at `/api/v1/openapi.json` and printed by `tidemill openapi`. Errors are
`application/problem+json` (RFC 9457): `detail` says what was wrong and what would be right, `errors` where. With tokens
configured, everything but `/livez` and `/readyz` wants `Authorization: Bearer TOKEN`. In the tables, * marks what must be there.
";

pub(super) fn text() -> anyhow::Result<String> {
    let document: Value = serde_json::from_str(&tidemill_api::openapi_json())?;
    let mut text = HEAD.to_owned();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            one(&mut text, &document, &format!("{} {path}", method.to_uppercase()), operation);
        }
    }
    text.push_str("\n# Bodies\n");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let members = rows(schema, &document);
        if members.is_empty() {
            continue;
        }
        let words = prose(schema["description"].as_str().unwrap_or_default());
        // Writing to a String cannot fail.
        write!(text, "\n## {name}\n\n{words}\n\n{}", table(HEADS, members)).ok();
    }
    Ok(text)
}

fn one(text: &mut String, document: &Value, head: &str, operation: &Value) {
    let words = |value: &Value| prose(value.as_str().unwrap_or_default());
    let (summary, description) = (words(&operation["summary"]), words(&operation["description"]));
    // Writing to a String cannot fail.
    write!(text, "\n## {head}\n\n{summary}\n").ok();
    if !description.is_empty() && description != summary {
        write!(text, "\n{description}\n").ok();
    }
    let parameters = operation["parameters"].as_array().into_iter().flatten().map(|parameter| {
        let name = parameter["name"].as_str().unwrap_or_default();
        let place = parameter["in"].as_str().unwrap_or_default();
        [code(name), place.to_owned(), words(&parameter["description"])]
    });
    let parameters: Vec<_> = parameters.collect();
    if !parameters.is_empty() {
        write!(text, "\n{}", table(["parameter", "in", "meaning"], parameters)).ok();
    }
    for (media, body) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
        let said = [named(body, document).unwrap_or_default(), words(&operation["requestBody"]["description"])];
        write!(text, "\nBody, `{media}`: {}\n", said.join(" ").trim()).ok();
        if !is_empty(&body["example"]) {
            write!(text, "\n```json\n{:#}\n```\n", body["example"]).ok();
        }
    }
    let answers = operation["responses"].as_object().into_iter().flatten().map(|(status, answer)| {
        let bodies = answer["content"].as_object().into_iter().flatten();
        let names: Vec<String> = bodies.filter_map(|(_, body)| named(body, document)).collect();
        [status.clone(), words(&answer["description"]), names.join(", ")]
    });
    write!(text, "\n{}", table(["status", "meaning", "body"], answers)).ok();
}

/// The name of the body's schema, linked to its table where it has one.
fn named(body: &Value, document: &Value) -> Option<String> {
    let name = body["schema"]["$ref"].as_str()?.rsplit('/').next()?;
    let has_members = !rows(&document["components"]["schemas"][name], document).is_empty();
    Some(if has_members { format!("[{name}](#{})", name.to_lowercase()) } else { name.to_owned() })
}

//! A JSON Schema as rows: one for each member, nested ones by their path.

use serde_json::{Map, Value};

use super::markdown::{code, prose};

/// How deep members are followed: deeper than any schema of ours, and an end to one that holds itself.
const DEPTH_MAX: usize = 8;
/// What stands in a table: the member, its values, its default, its meaning.
pub(super) type Row = [String; 4];
/// The heads of these.
pub(super) const HEADS: [&str; 4] = ["member", "values", "default", "meaning"];

/// The members of `schema`, whose definitions are found in `root`.
pub(super) fn rows(schema: &Value, root: &Value) -> Vec<Row> {
    let mut found = Vec::new();
    members(schema, root, "", DEPTH_MAX, &mut found);
    found
}

fn members(schema: &Value, root: &Value, path: &str, depth: usize, found: &mut Vec<Row>) {
    let schema = resolved(schema, root);
    if depth == 0 {
        return;
    }
    for part in parts(schema) {
        members(part, root, path, depth - 1, found);
    }
    let required = |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|own| own == name));
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let full = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let inner = resolved(member, root);
        let values = values(inner, root);
        // What several variants have is one row, with the values of all.
        let known = found.iter_mut().find(|[known, ..]| known.trim_end_matches(" *") == code(&full));
        if let Some([_, others, ..]) = known {
            if !others.contains(&values) {
                *others = format!("{others}, {values}");
            }
            continue;
        }
        let mark = if required(name) { " *" } else { "" };
        let default = member.get("default").or_else(|| inner.get("default"));
        let meaning = member["description"].as_str().or_else(|| inner["description"].as_str()).unwrap_or_default();
        found.push([
            format!("`{full}`{mark}"),
            values,
            default.filter(|value| !value.is_null()).map(|value| code(&value.to_string())).unwrap_or_default(),
            prose(meaning),
        ]);
        members(inner, root, &full, depth - 1, found);
        if let Some(items) = inner.get("items") {
            members(items, root, &format!("{full}[]"), depth - 1, found);
        }
    }
}

/// The schemas of which `schema` is made up: all of them, or one of them.
fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
    ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|word| schema[word].as_array()).flatten()
}

fn resolved<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..DEPTH_MAX {
        let Some(pointer) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) else { break };
        let Some(target) = root.pointer(pointer) else { break };
        schema = target;
    }
    schema
}

/// What values a member takes.
fn values(schema: &Value, root: &Value) -> String {
    let schema = resolved(schema, root);
    if let Some(words) = schema["enum"].as_array() {
        return words
            .iter()
            .filter(|word| !word.is_null())
            .map(|word| code(&bare(word)))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let Some(word) = schema.get("const") {
        return code(&bare(word));
    }
    let kind = match &schema["type"] {
        Value::String(kind) => kind.as_str(),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("any"),
        _ => {
            let mut kinds: Vec<String> = parts(schema).map(|part| values(part, root)).collect();
            kinds.retain(|kind| kind != "null" && kind != "any");
            kinds.dedup();
            return if kinds.is_empty() { "any".to_owned() } else { kinds.join(" or ") };
        }
    };
    match kind {
        "integer" | "number" => number(kind, schema),
        "array" => {
            format!("list of {}", schema.get("items").map_or_else(|| "any".to_owned(), |items| values(items, root)))
        }
        "object" if schema["additionalProperties"].is_object() => {
            format!("map to {}", values(&schema["additionalProperties"], root))
        }
        "string" => match schema["format"].as_str() {
            Some(format) => format!("string ({format})"),
            None => "string".to_owned(),
        },
        other => other.to_owned(),
    }
}

fn number(kind: &str, schema: &Value) -> String {
    let kind = if kind == "integer" { "whole number" } else { kind };
    // 5.0 is 5.
    let bound = |name: &str| schema[name].as_f64().map(|bound| bound.to_string());
    match (bound("minimum"), bound("maximum")) {
        (Some(min), Some(max)) => format!("{kind}, {min} to {max}"),
        (Some(min), None) => format!("{kind}, {min} at least"),
        (None, Some(max)) => format!("{kind}, {max} at most"),
        (None, None) => kind.to_owned(),
    }
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether there is anything to show of `schema`.
pub(super) fn is_empty(schema: &Value) -> bool {
    schema.as_object().is_none_or(Map::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_variants_share_is_one_row_with_the_values_of_all() {
        let variant = |kind: &str| json!({ "required": ["kind"], "properties": { "kind": { "const": kind } } });
        let schema = json!({ "oneOf": [variant("hmac"), variant("webhooks")] });
        assert_eq!(rows(&schema, &schema), [["`kind` *", "`hmac`, `webhooks`", "", ""]]);
    }

    #[test]
    fn members_are_named_by_their_path_with_values_default_and_meaning() {
        let schema = json!({
            "$defs": { "Fit": { "enum": ["cover", "contain"], "description": "How it fits" } },
            "required": ["new_x"],
            "properties": {
                "new_x": { "type": "integer", "minimum": 1, "maximum": 9, "description": "Width" },
                "fit": { "$ref": "#/$defs/Fit", "default": "cover" },
                "to": { "type": ["array", "null"], "items": { "type": "object", "properties": { "name": { "type": "string" } } } },
            },
        });
        let shown: Vec<String> = rows(&schema, &schema).iter().map(|row| row.join(" / ")).collect();
        let expected = [
            "`new_x` * / whole number, 1 to 9 /  / Width",
            "`fit` / `cover`, `contain` / `\"cover\"` / How it fits",
            "`to` / list of object /  / ",
            "`to[].name` / string /  / ",
        ];
        assert_eq!(shown, expected);
    }
}

//! Whether a pod template says only what a pod template can say.
//!
//! The types ignore members that they do not know, so that a misspelt one would be lost without a word. Their schema
//! knows every member, and tells the nearest right one. What the schema requires is required here too: the merge would
//! take a missing number for 0 and a missing text for an empty one.

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use schemars::SchemaGenerator;
use serde_json::{Map, Value};
use tidemill_core::suggest;

use crate::validate::Invalid;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<PodTemplateSpec>().to_value();
    // A whole pod needs containers; what is laid over one that has them does not.
    if let Some(pod) = schema.pointer_mut("/$defs/io.k8s.api.core.v1.PodSpec").and_then(Value::as_object_mut) {
        pod.remove("required");
    }
    schema
});

/// The deepest that a template may go. The types themselves end long before.
const DEPTH_MAX: usize = 64;

/// Refuses the first member that has no place or no right type. `path` is where the value stands.
pub(super) fn check(value: &Value, path: &str) -> Result<(), Invalid> {
    walk(value, &SCHEMA, path, 0)
}

fn walk(value: &Value, schema: &Value, path: &str, depth: usize) -> Result<(), Invalid> {
    let schema = resolved(schema);
    if depth > DEPTH_MAX {
        return Err(Invalid::new(path, "nested too deeply"));
    }
    if schema.get("x-kubernetes-int-or-string").is_some() {
        let fits = value.is_number() || value.is_string();
        return if fits { Ok(()) } else { Err(wrong_type(path, "a number or text", value)) };
    }
    match (schema.get("type").and_then(Value::as_str), value) {
        (Some("object"), Value::Object(members)) => object(members, schema, path, depth),
        (Some("array"), Value::Array(items)) => {
            let item_schema = schema.get("items").unwrap_or(&Value::Null);
            let mut items = items.iter().enumerate();
            items.try_for_each(|(index, item)| walk(item, item_schema, &format!("{path}[{index}]"), depth + 1))
        }
        (Some("object"), _) => Err(wrong_type(path, "an object", value)),
        (Some("array"), _) => Err(wrong_type(path, "a list", value)),
        (Some("string"), _) if !value.is_string() => Err(wrong_type(path, "text", value)),
        (Some("boolean"), _) if !value.is_boolean() => Err(wrong_type(path, "true or false", value)),
        (Some("integer"), _) => integer(value, schema, path),
        (Some("number"), _) if !value.is_number() => Err(wrong_type(path, "a number", value)),
        _ => Ok(()),
    }
}

fn object(members: &Map<String, Value>, schema: &Value, path: &str, depth: usize) -> Result<(), Invalid> {
    let known = schema.get("properties").and_then(Value::as_object);
    let other = schema.get("additionalProperties").filter(|schema| schema.is_object());
    for (name, value) in members {
        let place = known.and_then(|known| known.get(name)).or(other);
        match (place, known) {
            // It takes a member away, whatever its type.
            (Some(_), _) if value.is_null() => {}
            (Some(schema), _) => walk(value, schema, &member(path, name), depth + 1)?,
            (None, Some(known)) => return Err(unknown(path, name, known)),
            (None, None) => {}
        }
    }
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    match required.into_iter().find(|name| members.get(*name).is_none_or(Value::is_null)) {
        Some(name) => Err(Invalid::new(member(path, name), "missing")),
        None => Ok(()),
    }
}

fn integer(value: &Value, schema: &Value, path: &str) -> Result<(), Invalid> {
    let number = value.as_i64().ok_or_else(|| wrong_type(path, "a whole number", value))?;
    if schema.get("format").is_some_and(|format| format == "int32") && i32::try_from(number).is_err() {
        return Err(Invalid::new(path, format!("{number} is beyond 32 bits")));
    }
    Ok(())
}

/// The schema that a reference leads to.
fn resolved(schema: &Value) -> &Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
    target.and_then(|pointer| SCHEMA.pointer(pointer)).unwrap_or(schema)
}

fn unknown(path: &str, name: &str, known: &Map<String, Value>) -> Invalid {
    let hint = match suggest::nearest(name, known.keys().map(String::as_str), 1).first() {
        Some(nearest) => format!("unknown field; did you mean {nearest}?"),
        None => "unknown field".to_owned(),
    };
    Invalid::new(member(path, name), hint)
}

fn wrong_type(path: &str, wanted: &str, found: &Value) -> Invalid {
    let found = match found {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => found.to_string(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    Invalid::new(path, format!("expected {wanted}, found {found}"))
}

fn member(path: &str, name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'$'));
    if plain { format!("{path}.{name}") } else { format!("{path}[{name:?}]") }
}

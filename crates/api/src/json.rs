//! Bodies read member by member, so that an order is kept, a name given twice is seen and a fault has a place.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tidemill_core::Problem;

use crate::error::Refusal;

/// Members (or items) of one object (or array) that are kept; the others are counted. One more than any rule allows, so
/// that a body of eight megabytes of nothing costs little.
const KEPT: usize = tidemill_broker::contract::BATCH_MAX + 1;
/// Characters of a wrong value that an error repeats.
const SHOWN: usize = 40;
/// Deepest nesting of a payload: handlers read it with parsers that stop at 128.
const DEPTH_MAX: usize = 100;

/// An object as it was written: in order, names given twice included.
#[derive(Debug)]
pub(crate) struct Members<'a> {
    /// The members.
    pub(crate) list: Vec<(String, &'a RawValue)>,
    /// How many there are, those not kept included.
    pub(crate) total: usize,
}

/// An array as it was written.
#[derive(Debug)]
pub(crate) struct Items<'a> {
    /// The items.
    pub(crate) list: Vec<&'a RawValue>,
    /// How many there are, those not kept included.
    pub(crate) total: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members { list: Vec::new(), total: 0 };
                while let Some(name) = map.next_key::<String>()? {
                    members.total += 1;
                    if members.list.len() < KEPT {
                        members.list.push((name, map.next_value()?));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Items<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Items { list: Vec::new(), total: 0 };
                loop {
                    if items.list.len() < KEPT {
                        let Some(item) = seq.next_element()? else { break };
                        items.list.push(item);
                    } else if seq.next_element::<IgnoredAny>()?.is_none() {
                        break;
                    }
                    items.total += 1;
                }
                Ok(items)
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

/// What a JSON text begins as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Nothing but white space.
    Empty,
    /// `{`
    Object,
    /// `[`
    Array,
    /// Anything else.
    Other,
}

/// The shape of `text`, by its first character.
pub(crate) fn shape(text: &[u8]) -> Shape {
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Shape::Empty,
        Some(b'{') => Shape::Object,
        Some(b'[') => Shape::Array,
        Some(_) => Shape::Other,
    }
}

/// Reads the whole of `body`; what is no JSON is refused with line and column.
pub(crate) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| malformed(&error))
}

/// 400 for a body that is not JSON, or not the JSON that belongs there; `error` names line and column.
pub(crate) fn malformed(error: &serde_json::Error) -> Refusal {
    if error.is_data() {
        return Refusal::invalid("", format!("the body is not what belongs here: {error}"));
    }
    Problem::new(400, "malformed-json", "The body is not JSON", format!("the body is not valid JSON: {error}")).into()
}

/// The JSON Pointer to member `name` of what is at `at`: of `/0`, the member `a/b` is `/0/a~1b`.
pub(crate) fn pointer(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A whole number from `min` to `max`, written as one; else what is wrong with it.
pub(crate) fn whole(raw: &RawValue, min: i64, max: i64) -> Result<i64, String> {
    let wrong = || format!("must be a whole number from {min} to {max}, not {}", shown(raw));
    raw.get().parse::<i64>().ok().filter(|number| (min..=max).contains(number)).ok_or_else(wrong)
}

/// A string; else what is wrong with it.
pub(crate) fn text(raw: &RawValue) -> Result<String, String> {
    serde_json::from_str(raw.get()).map_err(|_| format!("must be a string, not {}", shown(raw)))
}

/// `raw` for an error: cut to what a person reads.
pub(crate) fn shown(raw: &RawValue) -> String {
    let text = raw.get();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether `json` (valid) nests deeper than handlers can read.
pub(crate) fn too_deep(json: &str) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_repetitions() {
        let members: Members<'_> = read(br#"{"b": 1, "a": 2, "b": 1.5}"#).unwrap();
        let seen: Vec<(&str, &str)> = members.list.iter().map(|(name, raw)| (name.as_str(), raw.get())).collect();
        assert_eq!(seen, [("b", "1"), ("a", "2"), ("b", "1.5")]);
        assert_eq!(members.total, 3);
    }

    #[test]
    fn only_what_is_written_as_a_whole_number_is_one() {
        let check = |text: &str| {
            let raw = RawValue::from_string(text.to_owned()).unwrap();
            whole(&raw, 0, 1_000).is_ok()
        };
        for good in ["0", "7", "1000"] {
            assert!(check(good), "{good}");
        }
        for bad in ["1001", "-1", "1.0", "1e2", "\"7\"", "null", "true", "[]", "99999999999999999999"] {
            assert!(!check(bad), "{bad}");
        }
    }

    #[test]
    fn brackets_in_strings_are_no_nesting() {
        assert!(!too_deep(&format!("{{\"a\\\"\":\"{}\"}}", "[".repeat(500))));
        assert!(too_deep(&format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100))));
    }

    #[test]
    fn a_pointer_escapes_what_it_must() {
        assert_eq!(pointer("/0", "a/b~c"), "/0/a~1b~0c");
    }
}

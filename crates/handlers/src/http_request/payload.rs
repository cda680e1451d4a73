//! What a payload says.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;

/// How long an answer may take where the payload says nothing of it, in milliseconds.
const TIMEOUT_MS: u32 = 30_000;
/// Most that a payload may ask for, in milliseconds: an hour. The task's own timeout is a bound as well.
const TIMEOUT_MS_MAX: u32 = 3_600_000;

/// What a task of this type says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Payload {
    /// The method.
    #[serde(default)]
    pub(super) method: Verb,
    /// Where it goes: http:// or https://, without user and password.
    pub(super) url: String,
    /// Headers. A value is a text, or names a secret: `{"secret": "NAME"}`.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, HeaderText>,
    /// The body, as JSON.
    #[schemars(with = "Option<serde_json::Value>")]
    pub(super) body: Option<Box<RawValue>>,
    /// The body, as text, instead of `body`.
    pub(super) body_text: Option<String>,
    /// How the body is signed.
    pub(super) signature: Option<Signature>,
    /// Which statuses are a success: numbers and ranges such as "200-299", which is the default.
    #[serde(default)]
    pub(super) success: Success,
    /// How long it may take in all, in milliseconds. Default: 30,000.
    #[schemars(range(min = 1, max = TIMEOUT_MS_MAX))]
    timeout_ms: Option<u32>,
}

impl Payload {
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.unwrap_or(TIMEOUT_MS).clamp(1, TIMEOUT_MS_MAX).into())
    }
}

/// A method that makes sense of a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Verb {
    Delete,
    Get,
    Head,
    Options,
    Patch,
    #[default]
    Post,
    Put,
}

/// A header's value, or whose value it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a text or {\"secret\": \"NAME\"}")]
pub(super) enum HeaderText {
    /// The value.
    Plain(String),
    /// The value of a secret.
    Secret(SecretName),
}

/// A secret by its name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretName {
    /// The file of the folder `http_request.secrets`.
    pub(super) secret: String,
}

/// How receivers know that the body is ours.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Signature {
    /// `sha256=` and the HMAC of the body in hexadecimal digits, in one header.
    HmacSha256 {
        /// The name of the secret.
        secret: String,
        /// The header. Default: X-Signature.
        header: Option<String>,
    },
    /// webhook-id, webhook-timestamp and webhook-signature, as Standard Webhooks 1.0.0 says.
    StandardWebhooks {
        /// The name of the secret, which is `whsec_` and base64.
        secret: String,
    },
}

/// Which statuses are a success.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct Success(Vec<Statuses>);

impl Default for Success {
    fn default() -> Self {
        Self(vec![Statuses { first: 200, last: 299 }])
    }
}

impl Success {
    pub(super) fn holds(&self, status: StatusCode) -> bool {
        self.0.iter().any(|statuses| (statuses.first..=statuses.last).contains(&status.as_u16()))
    }
}

/// A status or a range of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "StatusText")]
#[schemars(with = "StatusText")]
struct Statuses {
    first: u16,
    last: u16,
}

/// The same as it is written.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a status such as 404 or a range such as \"200-299\"")]
enum StatusText {
    /// One status.
    One(u16),
    /// A range.
    Range(String),
}

impl TryFrom<StatusText> for Statuses {
    type Error = String;

    fn try_from(text: StatusText) -> Result<Self, String> {
        let (first, last) = match &text {
            StatusText::One(status) => (Some(*status), Some(*status)),
            StatusText::Range(text) => {
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                (first.trim().parse().ok(), last.trim().parse().ok())
            }
        };
        match (first, last) {
            (Some(first), Some(last)) if 200 <= first && first <= last && last <= 599 => Ok(Self { first, last }),
            _ => Err("a status is a number from 200 to 599, a range is two of them: \"200-299\"".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_numbers_and_ranges() {
        let success: Success = serde_json::from_str(r#"[404, "200-204", "410"]"#).unwrap();
        let holds = |status: u16| success.holds(StatusCode::from_u16(status).unwrap());
        assert!([200, 204, 404, 410].into_iter().all(holds));
        assert!(![199, 205, 403, 411, 500].into_iter().any(holds));
        for wrong in ["[99]", "[\"299-200\"]", "[\"2xx\"]", "[600]", "[-1]", "[\"100-200\"]"] {
            assert!(serde_json::from_str::<Success>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_body_keeps_the_digits_that_it_came_with() {
        let payload: Payload = serde_json::from_str(r#"{"url": "u", "body": {"n": 12345678901234567890123.10}}"#).unwrap();
        assert_eq!(payload.body.unwrap().get(), r#"{"n": 12345678901234567890123.10}"#);
    }
}

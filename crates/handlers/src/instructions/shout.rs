//! `shout`: says a text louder.

use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use tidemill_executor::{Context, Handler, HandlerError, HandlerResult, Output, async_trait};

use crate::BuiltIn;

/// How it is described and added.
pub(crate) const TYPE: BuiltIn = BuiltIn {
    name: "shout",
    summary: "Says a text louder.",
    doc: "A text without a letter is a permanent error. The result is the text in capitals.",
    example: r#"{"text": "hello"}"#,
    payload: || schema_for!(Payload),
    add: |registry, _| Ok(registry.add("shout", Shout).map(drop)?),
};

struct Shout;

#[derive(Deserialize, JsonSchema)]
struct Payload {
    /// What to say.
    text: String,
}

#[async_trait]
impl Handler for Shout {
    async fn run(&self, cx: Context) -> HandlerResult {
        let Payload { text } = cx.payload()?;
        if !text.contains(char::is_alphabetic) {
            return Err(HandlerError::permanent(format!("payload.text: {text:?} has no letter")));
        }
        Output::json(&text.to_uppercase())
    }
}

//! Files that go along with a mail.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::message::header::ContentType;
use lettre::message::{Attachment as Part, SinglePart};
use schemars::JsonSchema;
use serde::Deserialize;
use tidemill_executor::{Context, HandlerError};

use super::letter::one_line;
use crate::objects::Objects;

/// Most attachments of a mail.
const ATTACHMENTS_MAX: usize = 32;
/// Longest name of an attachment, in bytes: what file systems take.
const NAME_MAX: usize = 255;
/// What an attachment is that says nothing of it.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// A file that goes along: from an object, or in the payload itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Attachment {
    /// What it is called, without a folder.
    name: String,
    /// Its media type: by the ending of its name where this is not said.
    content_type: Option<String>,
    /// The URL of the object, below a prefix of the worker's `objects.allow`.
    url: Option<String>,
    /// The bytes themselves, in base64, in place of `url`.
    base64: Option<String>,
}

/// The attachments as parts of a mail; together they have at most `max_bytes`.
pub(super) async fn fetch(
    wanted: Vec<Attachment>,
    objects: &Objects,
    max_bytes: u64,
    cx: &Context,
) -> Result<Vec<SinglePart>, HandlerError> {
    if wanted.len() > ATTACHMENTS_MAX {
        let why = format!("payload.attachments: are {}; at most {ATTACHMENTS_MAX} are allowed", wanted.len());
        return Err(HandlerError::permanent(why));
    }
    let (mut parts, mut total) = (Vec::with_capacity(wanted.len()), 0);
    for (index, attachment) in wanted.into_iter().enumerate() {
        let member = format!("attachments[{index}]");
        check_name(&member, &attachment.name)?;
        let media_type = media_type(&member, &attachment)?;
        let bytes: Vec<u8> = match (attachment.url, attachment.base64) {
            (Some(url), None) => objects.read(cx, &format!("{member}.url"), &url).await?.into(),
            (None, Some(text)) => STANDARD
                .decode(text.trim())
                .map_err(|error| HandlerError::permanent(format!("payload.{member}.base64: {error}")))?,
            _ => {
                let why = format!("payload.{member}: give either url or base64");
                return Err(HandlerError::permanent(why));
            }
        };
        total += bytes.len() as u64;
        if total > max_bytes {
            let why = format!("payload.attachments: have more than {max_bytes} bytes together (objects.max_bytes)");
            return Err(HandlerError::permanent(why));
        }
        parts.push(Part::new(attachment.name).body(bytes, media_type));
    }
    Ok(parts)
}

fn check_name(member: &str, name: &str) -> Result<(), HandlerError> {
    one_line(&format!("{member}.name"), name)?;
    if name.is_empty() || name.len() > NAME_MAX || name.contains(['/', '\\']) {
        let why = format!("payload.{member}.name: {name:?} is no name of a file, such as report.pdf");
        return Err(HandlerError::permanent(why));
    }
    Ok(())
}

fn media_type(member: &str, attachment: &Attachment) -> Result<ContentType, HandlerError> {
    let given = attachment.content_type.as_deref().unwrap_or_else(|| by_ending(&attachment.name));
    ContentType::parse(given).map_err(|_| {
        HandlerError::permanent(format!(
            "payload.{member}.content_type: {given:?} is not a media type such as application/pdf"
        ))
    })
}

fn by_ending(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "txt" | "log" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "html" | "htm" => "text/html; charset=utf-8",
        "ics" => "text/calendar; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "zip" => "application/zip",
        _ => UNKNOWN_TYPE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_media_type_of_ours_is_one() {
        for ending in ["pdf", "png", "jpg", "gif", "webp", "svg", "txt", "csv", "html", "ics", "json", "xml", "zip", "?"] {
            assert!(ContentType::parse(by_ending(&format!("a.{ending}"))).is_ok(), "{ending}");
        }
    }
}

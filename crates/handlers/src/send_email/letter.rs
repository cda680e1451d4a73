//! From a payload to a letter. Whatever is wrong with it is permanent, and says where.

use std::path::Path;

use lettre::Message;
use lettre::message::{Mailbox, Mailboxes, MessageBuilder, MultiPart, SinglePart};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use tidemill_executor::{Context, HandlerError, OrFail};

use super::attach::Attachment;
use super::words;
use crate::outbox::plain;

/// What a task of this type says.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Payload {
    /// Who gets it.
    to: Addresses,
    /// One line. Needed unless the template has one.
    subject: Option<String>,
    /// The plain text; also taken as `body`.
    #[serde(alias = "body")]
    text: Option<String>,
    /// The same in HTML.
    html: Option<String>,
    /// Who sends it, instead of `smtp.from`.
    from: Option<String>,
    /// Who gets a copy.
    #[serde(default)]
    cc: Addresses,
    /// Who gets a copy that the others do not see.
    #[serde(default)]
    bcc: Addresses,
    /// Where answers go.
    #[serde(default)]
    reply_to: Addresses,
    /// A template of the worker's folder `smtp.templates`: `welcome` is welcome.subject, welcome.txt and welcome.html, of
    /// which each may be missing. What the payload says itself comes before it.
    template: Option<String>,
    /// What the template is filled with.
    #[serde(default)]
    data: Map<String, Value>,
    /// Files that go along.
    #[serde(default)]
    attachments: Vec<Attachment>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected an address or a list of addresses")]
enum Addresses {
    One(String),
    Many(Vec<String>),
}

impl Default for Addresses {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Addresses {
    fn mailboxes(self, member: &str) -> Result<Vec<Mailbox>, HandlerError> {
        let texts = match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        };
        let mut mailboxes = Vec::with_capacity(texts.len());
        for text in texts {
            one_line(member, &text)?;
            let parsed = text.parse::<Mailboxes>().ok().filter(|parsed| parsed.iter().next().is_some());
            mailboxes.extend(parsed.ok_or_else(|| {
                HandlerError::permanent(format!("payload.{member}: {text:?} is not an address such as ada@example.com"))
            })?);
        }
        Ok(mailboxes)
    }
}

impl Payload {
    /// Fills the template that it names, if any, with its data.
    pub(super) async fn fill(&mut self, cx: &Context, folder: &Path) -> Result<(), HandlerError> {
        let Some(template) = self.template.take() else { return Ok(()) };
        let (folder, data) = (folder.to_owned(), std::mem::take(&mut self.data));
        let words = cx.blocking(move || words::fill(&folder, &template, &data)).await??;
        self.subject = self.subject.take().or(words.subject);
        self.text = self.text.take().or(words.text);
        self.html = self.html.take().or(words.html);
        Ok(())
    }

    pub(super) fn take_attachments(&mut self) -> Vec<Attachment> {
        std::mem::take(&mut self.attachments)
    }

    pub(super) fn into_message(
        self,
        sender: &Mailbox,
        attachments: Vec<SinglePart>,
        cx: &Context,
        keep_bcc: bool,
    ) -> Result<Message, HandlerError> {
        let subject = self.subject.ok_or_else(|| HandlerError::permanent("payload: missing field `subject`"))?;
        one_line("subject", &subject)?;
        let from = match self.from {
            Some(from) => only("from", Addresses::One(from).mailboxes("from")?)?,
            None => sender.clone(),
        };
        let to = self.to.mailboxes("to")?;
        if to.is_empty() {
            return Err(HandlerError::permanent("payload.to: names nobody"));
        }
        let id = message_id(cx, from.email.domain());
        let mut builder = Message::builder().from(from).subject(subject).message_id(Some(id));
        builder = add(builder, to, MessageBuilder::to);
        builder = add(builder, self.cc.mailboxes("cc")?, MessageBuilder::cc);
        builder = add(builder, self.bcc.mailboxes("bcc")?, MessageBuilder::bcc);
        builder = add(builder, self.reply_to.mailboxes("reply_to")?, MessageBuilder::reply_to);
        if keep_bcc {
            builder = builder.keep_bcc();
        }
        let built = match (body(self.text, self.html), attachments.is_empty()) {
            (Body::One(part), true) => builder.singlepart(part),
            (Body::Both(parts), true) => builder.multipart(parts),
            (body, false) => {
                let mixed = match body {
                    Body::One(part) => MultiPart::mixed().singlepart(part),
                    Body::Both(parts) => MultiPart::mixed().multipart(parts),
                };
                builder.multipart(attachments.into_iter().fold(mixed, MultiPart::singlepart))
            }
        };
        built.or_permanent()
    }
}

enum Body {
    One(SinglePart),
    Both(MultiPart),
}

fn body(text: Option<String>, html: Option<String>) -> Body {
    match (text, html) {
        (Some(text), Some(html)) => Body::Both(MultiPart::alternative_plain_html(text, html)),
        (None, Some(html)) => Body::One(SinglePart::html(html)),
        (text, None) => Body::One(SinglePart::plain(text.unwrap_or_default())),
    }
}

fn add(
    builder: MessageBuilder,
    mailboxes: Vec<Mailbox>,
    with: fn(MessageBuilder, Mailbox) -> MessageBuilder,
) -> MessageBuilder {
    mailboxes.into_iter().fold(builder, with)
}

fn only(member: &str, mut mailboxes: Vec<Mailbox>) -> Result<Mailbox, HandlerError> {
    match (mailboxes.pop(), mailboxes.is_empty()) {
        (Some(mailbox), true) => Ok(mailbox),
        _ => Err(HandlerError::permanent(format!("payload.{member}: one address is allowed"))),
    }
}

/// A line break in a header would begin another header.
pub(super) fn one_line(member: &str, text: &str) -> Result<(), HandlerError> {
    match text.chars().find(|c| c.is_control()) {
        Some(found) => {
            Err(HandlerError::permanent(format!("payload.{member}: has the control character {found:?}; use one line")))
        }
        None => Ok(()),
    }
}

/// The same for each attempt of a task, and another for another task, even one that uses the id again.
fn message_id(cx: &Context, domain: &str) -> String {
    let domain = if domain.is_ascii() && !domain.starts_with('[') { domain } else { "localhost" };
    format!("<{}.{}.{}@{domain}>", plain(cx.task().as_str()), cx.enqueued_at_ms(), plain(cx.queue().as_str()))
}

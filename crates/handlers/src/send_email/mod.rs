//! `send_email`: sends a mail by SMTP, or keeps it in an outbox folder where no server is set.
//!
//! Handlers may run more than once for a task, and so may a mail be sent. The Message-ID comes from the task (queue, id and
//! time of arrival), so that mail systems recognise a repetition; in the outbox it replaces the file.

mod attach;
mod letter;
mod smtp;
mod words;

use std::path::PathBuf;

use lettre::Message;
use lettre::message::Mailbox;
use schemars::schema_for;
use tidemill_executor::{Context, Handler, HandlerError, HandlerResult, OrFail, Output, async_trait};
use tidemill_tls::TlsError;

use crate::BuiltIn;
use crate::objects::{ObjectError, ObjectOptions, Objects};
use crate::outbox::{Outbox, letter_name};
use letter::Payload;
use smtp::Smtp;

/// How it is described and added.
pub(crate) const TYPE: BuiltIn = BuiltIn {
    name: "send_email",
    summary: "Sends a mail by SMTP, or keeps it as a file where no server is configured.",
    doc: "The words are in the payload, or in a `template` of the worker's folder `smtp.templates` that is filled with `data`. \
          `attachments` are given in base64 or by the URLs of objects. \
          An address that is none, a line break in a header, a template that cannot be filled, an attachment that cannot be \
          had and a refusal by the server (5xx) are permanent errors; a server that is away, defers (4xx, as greylisting \
          does) or refuses its account is tried again. The result is the server's last reply, or the name of the file.",
    example: r#"{"to": "ada@example.org", "subject": "Hello", "text": "It works."}"#,
    payload: || schema_for!(Payload),
    add: |registry, options| Ok(registry.add("send_email", SendEmail::new(&options.smtp, &options.objects)?).map(drop)?),
};

/// How mail is sent.
#[derive(Clone)]
pub struct SmtpOptions {
    /// The server: `smtps://user:password@host`, or `smtp://host:port?tls=required` for STARTTLS, or plain `smtp://…` in
    /// a trusted network. `None` keeps mails in the outbox.
    pub url: Option<String>,
    /// The sender of mails whose payload names none.
    pub from: String,
    /// The folder for mails where there is no server.
    pub outbox: PathBuf,
    /// The file of the authorities that TLS to the server trusts. `None` is the one of `SSL_CERT_FILE`, else the public ones.
    pub ca_file: Option<PathBuf>,
    /// The folder of templates.
    pub templates: PathBuf,
}

impl Default for SmtpOptions {
    fn default() -> Self {
        Self {
            url: None,
            from: "tidemill@localhost".to_owned(),
            outbox: PathBuf::from("./outbox"),
            ca_file: None,
            templates: PathBuf::from("./templates"),
        }
    }
}

impl std::fmt::Debug for SmtpOptions {
    /// Leaves out the URL, which holds credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = self.url.as_ref().map(|_| "…");
        f.debug_struct("SmtpOptions")
            .field("url", &url)
            .field("from", &self.from)
            .field("outbox", &self.outbox)
            .field("ca_file", &self.ca_file)
            .field("templates", &self.templates)
            .finish()
    }
}

/// Options with which no mail can be sent.
#[derive(Debug, thiserror::Error)]
pub enum SmtpError {
    /// The server's URL is not one. The URL itself is not shown: it may hold a password.
    #[error(
        "smtp.url cannot be used: {0}; it has the form smtps://user:password@host or smtp://user:password@host:587?tls=required"
    )]
    Url(String),
    /// The sender is no address.
    #[error("smtp.from {from:?} is not an address: {reason}")]
    From {
        /// What was given.
        from: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The authorities cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Attachments cannot come from these objects.
    #[error(transparent)]
    Objects(#[from] ObjectError),
}

/// Sends the mail that the payload describes: `to` (an address or a list), `subject`, and perhaps `text` (or `body`),
/// `html`, `from`, `cc`, `bcc`, `reply_to`, `attachments`, and `template` with `data`.
#[derive(Debug)]
pub struct SendEmail {
    from: Mailbox,
    way: Way,
    objects: Objects,
    max_bytes: u64,
    templates: PathBuf,
}

#[derive(Debug)]
enum Way {
    Smtp(Box<Smtp>),
    Outbox(Outbox),
}

impl SendEmail {
    /// Checks `options`; connects to nothing.
    pub fn new(options: &SmtpOptions, objects: &ObjectOptions) -> Result<Self, SmtpError> {
        let from = options.from.parse().map_err(|error: lettre::address::AddressError| SmtpError::From {
            from: options.from.clone(),
            reason: error.to_string(),
        })?;
        let way = match &options.url {
            Some(url) => {
                let authorities = tidemill_tls::authorities(options.ca_file.as_deref(), "smtp.ca_file")?;
                Way::Smtp(Box::new(Smtp::new(url, authorities.as_deref())?))
            }
            None => Way::Outbox(Outbox::new(&options.outbox)),
        };
        Ok(Self {
            from,
            way,
            objects: Objects::new(objects)?,
            max_bytes: objects.max_bytes,
            templates: options.templates.clone(),
        })
    }
}

#[async_trait]
impl Handler for SendEmail {
    async fn run(&self, cx: Context) -> HandlerResult {
        let mut payload: Payload = cx.payload()?;
        payload.fill(&cx, &self.templates).await?;
        let attachments = attach::fetch(payload.take_attachments(), &self.objects, self.max_bytes, &cx).await?;
        let keep_bcc = matches!(self.way, Way::Outbox(_));
        let message = payload.into_message(&self.from, attachments, &cx, keep_bcc)?;
        if cx.is_cancelled() {
            return Err(HandlerError::transient("told to end before the mail was sent"));
        }
        match &self.way {
            Way::Smtp(smtp) => smtp.send(&message, cx.time_left()).await,
            Way::Outbox(outbox) => keep(outbox.clone(), &message, &cx).await,
        }
    }
}

async fn keep(outbox: Outbox, message: &Message, cx: &Context) -> HandlerResult {
    let name = letter_name(cx.enqueued_at_ms(), cx.task().as_str());
    let letter = message.formatted();
    let path = cx.blocking(move || outbox.put(&name, &letter)).await?.or_transient()?;
    Output::json(&Kept { file: path.display().to_string() })
}

#[derive(serde::Serialize)]
struct Kept {
    file: String,
}

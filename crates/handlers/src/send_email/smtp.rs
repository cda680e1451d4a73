//! One SMTP conversation per mail.
//!
//! Connections are not kept for the next mail: an attempt can be cut off in the middle of a conversation, and a connection
//! in which replies are still under way must never carry another mail.

use std::time::Duration;

use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::{AsyncSmtpTransportBuilder, Error};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tidemill_executor::{HandlerError, HandlerResult, Output};
use tokio::time::timeout;

use super::SmtpError;

/// Time for the connection to come about.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Time for the whole conversation: servers may take a while to look at a mail before they accept it.
const SEND_DEADLINE: Duration = Duration::from_mins(1);
/// Replies that speak of the account and not of the mail: whoever runs the worker can mend that, and the mail is good.
const ACCOUNT_REPLIES: [u16; 4] = [530, 534, 535, 538];

/// A mail server.
#[derive(Debug)]
pub(super) struct Smtp {
    server: AsyncSmtpTransportBuilder,
}

impl Smtp {
    /// `authorities` are the ones to trust, in PEM; `None` is the public ones.
    pub(super) fn new(url: &str, authorities: Option<&[u8]>) -> Result<Self, SmtpError> {
        let mut server = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|error| unusable(&error))?;
        if let Some(tls) = authorities.map(|pem| trusting(url, pem)).transpose()?.flatten() {
            server = server.tls(tls);
        }
        Ok(Self { server: server.timeout(Some(CONNECT_DEADLINE)) })
    }

    pub(super) async fn send(&self, message: &Message, time_left: Duration) -> HandlerResult {
        let deadline = SEND_DEADLINE.min(time_left);
        let transport: AsyncSmtpTransport<Tokio1Executor> = self.server.clone().build();
        match timeout(deadline, transport.send_raw(message.envelope(), &message.formatted())).await {
            Ok(Ok(reply)) => {
                let reply = reply.message().collect::<Vec<_>>().join(" ");
                Output::json(&Sent { reply })
            }
            Ok(Err(error)) => Err(judge(&error)),
            Err(_) => {
                let why = format!("the mail server did not take the mail within {} ms", deadline.as_millis());
                Err(HandlerError::transient(why))
            }
        }
    }
}

fn unusable(error: &Error) -> SmtpError {
    SmtpError::Url(std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string))
}

/// TLS as the URL asks for it, with the given authorities; `None` where it asks for none.
fn trusting(url: &str, pem: &[u8]) -> Result<Option<Tls>, SmtpError> {
    let url = url::Url::parse(url).map_err(|error| SmtpError::Url(error.to_string()))?;
    let asked = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
    let tls = match (url.scheme(), asked.as_deref()) {
        ("smtps", _) => Tls::Wrapper,
        ("smtp", Some("required")) => Tls::Required,
        ("smtp", Some("opportunistic")) => Tls::Opportunistic,
        _ => return Ok(None),
    };
    let parameters = TlsParameters::builder(url.host_str().unwrap_or_default().to_owned())
        .certificate_store(CertificateStore::None)
        .add_root_certificate(Certificate::from_pem(pem).map_err(|error| unusable(&error))?);
    parameters.build().map(|parameters| Some(tls(parameters))).map_err(|error| unusable(&error))
}

#[derive(serde::Serialize)]
struct Sent {
    reply: String,
}

fn judge(error: &Error) -> HandlerError {
    let words = |what: &str| {
        let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
        match error.status() {
            Some(code) => format!("{what}: {code} {cause}"),
            None => format!("{what}: {cause}"),
        }
    };
    let account = error.status().is_some_and(|code| ACCOUNT_REPLIES.contains(&code.into()));
    if error.is_permanent() && !account {
        HandlerError::permanent(words("the mail server refuses the mail"))
    } else if error.status().is_some() {
        HandlerError::transient(words("the mail server does not take the mail now"))
    } else {
        HandlerError::transient(words("the mail server cannot be used"))
    }
}

//! One SMTP conversation per mail.
//!
//! Connections are not kept for the next mail: an attempt can be cut off in the middle of a conversation, and a connection
//! in which replies are still under way must never carry another mail.

use std::time::Duration;

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
    pub(super) fn new(url: &str) -> Result<Self, SmtpError> {
        let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|error| {
            SmtpError::Url(std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string))
        })?;
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

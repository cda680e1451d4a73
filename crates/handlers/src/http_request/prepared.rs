//! From a payload to a request. Whatever is wrong with it is permanent, and says where.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use tidemill_executor::{Context, HandlerError};
use url::Url;

use super::payload::{HeaderText, Payload, Signature, Success, Verb};
use super::secrets::Secrets;
use super::signature::{self, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP};
use crate::web::{Guard, Refused, repetition};

/// Most headers of a payload: more than any API asks for, and less than servers refuse.
const HEADERS_MAX: usize = 64;
/// Headers that say where a message begins and ends or which host is meant: they are the client's to set.
const OURS: [&str; 12] = [
    "connection", "content-length", "expect", "host", "keep-alive", "proxy-authenticate", "proxy-authorization",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
];
/// The header by which a receiver recognises a repetition.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The trace that the task belongs to.
const TRACEPARENT: &str = "traceparent";
/// Where a signature goes that names no header.
const X_SIGNATURE: &str = "x-signature";

/// A request that is ready to be sent, and what to do when it leads elsewhere.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) success: Success,
    /// Headers that hold secrets: they stay with the origin that they were meant for.
    private: Vec<HeaderName>,
    /// Headers that speak of the body: without it they mean nothing.
    of_body: Vec<HeaderName>,
}

impl Prepared {
    pub(super) async fn new(
        payload: Payload,
        cx: &Context,
        guard: &Guard,
        secrets: &Secrets,
    ) -> Result<Self, HandlerError> {
        let url = guard.admit(&payload.url).map_err(|refused: Refused| wrong("url", refused.to_string()))?;
        let mut prepared = Self {
            method: method(payload.method),
            url,
            headers: HeaderMap::new(),
            body: None,
            success: payload.success,
            private: vec![AUTHORIZATION, COOKIE],
            of_body: vec![CONTENT_TYPE],
        };
        prepared.set(IDEMPOTENCY_KEY, "", &repetition(cx))?;
        if let Some(traceparent) = cx.traceparent() {
            prepared.set(TRACEPARENT, "", traceparent)?;
        }
        let content_type = match (payload.body, payload.body_text) {
            (Some(_), Some(_)) => return Err(wrong("body_text", "there is a body as well; keep one")),
            (Some(body), None) => {
                prepared.body = Some(Box::<str>::from(body).into_string().into());
                Some("application/json")
            }
            (None, Some(text)) => {
                prepared.body = Some(text.into());
                Some("text/plain; charset=utf-8")
            }
            (None, None) => None,
        };
        if let Some(content_type) = content_type {
            prepared.set("content-type", "", content_type)?;
        }
        if payload.headers.len() > HEADERS_MAX {
            return Err(wrong("headers", format!("{} of them; at most {HEADERS_MAX} are sent", payload.headers.len())));
        }
        for (name, text) in payload.headers {
            prepared.header(&name, text, guard, secrets).await?;
        }
        if let Some(signature) = payload.signature {
            prepared.sign(signature, cx, secrets).await?;
        }
        Ok(prepared)
    }

    async fn header(
        &mut self,
        name: &str,
        text: HeaderText,
        guard: &Guard,
        secrets: &Secrets,
    ) -> Result<(), HandlerError> {
        let member = format!("headers.{name}");
        match text {
            HeaderText::Plain(text) => self.set(name, &member, &text).map(drop),
            HeaderText::Secret(_) if !guard.is_explicit() => Err(wrong(
                &member,
                "secrets are sent only where http_request.allow says to whom: else whoever can enqueue could have them sent to \
                 himself",
            )),
            HeaderText::Secret(named) => {
                let secret = secrets.get(&member, &named.secret).await?;
                let name = self.set(name, &member, &secret)?;
                self.private.push(name);
                Ok(())
            }
        }
    }

    async fn sign(&mut self, signature: Signature, cx: &Context, secrets: &Secrets) -> Result<(), HandlerError> {
        const MEMBER: &str = "signature";
        let body = self.body.clone().unwrap_or_default();
        let headers: Vec<(String, String)> = match signature {
            Signature::HmacSha256 { secret, header } => {
                let key = secrets.get(MEMBER, &secret).await?;
                let signed = signature::hex(&key, &body)
                    .ok_or_else(|| wrong(MEMBER, format!("the secret {secret} cannot be used as a key")))?;
                vec![(header.unwrap_or_else(|| X_SIGNATURE.to_owned()), signed)]
            }
            Signature::StandardWebhooks { secret } => {
                let key = secrets.get(MEMBER, &secret).await?;
                let (id, timestamp) = (repetition(cx), SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
                let signed = signature::standard(&key, &id, timestamp, &body).ok_or_else(|| {
                    wrong(MEMBER, format!("the secret {secret} is not one of Standard Webhooks: whsec_ and base64"))
                })?;
                [(WEBHOOK_ID, id), (WEBHOOK_TIMESTAMP, timestamp.to_string()), (WEBHOOK_SIGNATURE, signed)]
                    .map(|(name, value)| (name.to_owned(), value))
                    .into()
            }
        };
        for (name, value) in headers {
            let already = self.headers.contains_key(name.as_str());
            if already {
                return Err(wrong(MEMBER, format!("{name} is among the headers already")));
            }
            let name = self.set(&name, MEMBER, &value)?;
            self.private.push(name.clone());
            self.of_body.push(name);
        }
        Ok(())
    }

    /// Sets a header, in place of one of ours. Neither its name nor its value can begin another. Values that may be
    /// secrets are not shown.
    fn set(&mut self, name: &str, member: &str, value: &str) -> Result<HeaderName, HandlerError> {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| wrong(member, format!("{name:?} is not a name of a header")))?;
        if OURS.contains(&name.as_str()) {
            return Err(wrong(member, format!("{name} is not for a payload to set")));
        }
        if let Some(found) = value.chars().find(|&c| c != '\t' && !(' '..='~').contains(&c)) {
            return Err(wrong(member, format!("has the character {found:?}; a header's value is one line of ASCII")));
        }
        let mut value =
            HeaderValue::from_str(value).map_err(|error| wrong(member, format!("is no value of a header: {error}")))?;
        value.set_sensitive(true);
        self.headers.insert(name.clone(), value);
        Ok(name)
    }

    /// Follows a redirect of this status to `url`, which has been looked at. What was meant for one origin is not sent to
    /// another, and where the body is dropped, so is what speaks of it.
    pub(super) fn redirect(&mut self, status: StatusCode, url: Url) {
        let becomes_get = match status.as_u16() {
            303 => self.method != Method::HEAD,
            301 | 302 => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            (self.method, self.body) = (Method::GET, None);
            self.of_body.iter().for_each(|name| drop(self.headers.remove(name)));
        }
        if url.origin() != self.url.origin() {
            self.private.iter().for_each(|name| drop(self.headers.remove(name)));
        }
        self.url = url;
    }
}

fn method(verb: Verb) -> Method {
    match verb {
        Verb::Delete => Method::DELETE,
        Verb::Get => Method::GET,
        Verb::Head => Method::HEAD,
        Verb::Options => Method::OPTIONS,
        Verb::Patch => Method::PATCH,
        Verb::Post => Method::POST,
        Verb::Put => Method::PUT,
    }
}

fn wrong(member: &str, why: impl AsRef<str>) -> HandlerError {
    HandlerError::permanent(format!("payload.{member}: {}", why.as_ref()))
}

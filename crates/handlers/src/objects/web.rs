//! Objects on web servers: read by GET, written by PUT.
//!
//! Not by the `object_store` crate: its store for HTTP reads nothing whose length the server does not say beforehand, makes
//! folders by MKCOL where a PUT is answered with 404, and does not tell a wait that the server asks for.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, StatusCode};

use super::allow::Allow;
use super::url::ObjectUrl;
use super::{ObjectError, Trouble, check_size};

/// Time for a connection to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time without a byte after which a server is taken for gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Most redirects of one request, as browsers' manners have it, but fewer: objects are not web pages.
const REDIRECTS_MAX: usize = 5;
/// Longest wait that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// What our clients of HTTP have in common.
pub(super) fn client() -> Result<ClientBuilder, ObjectError> {
    let tls = tidemill_tls::client_config()?;
    Ok(Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("tidemill/", env!("CARGO_PKG_VERSION")))
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(SILENCE_MAX))
}

/// Web servers.
#[derive(Debug)]
pub(super) struct Web {
    reading: Client,
    writing: Client,
}

impl Web {
    pub(super) fn new(allow: &Allow) -> Result<Self, ObjectError> {
        let allow = allow.clone();
        let within = Policy::custom(move |attempt| {
            let allowed = ObjectUrl::parse(attempt.url().as_str()).is_ok_and(|url| allow.covers(&url));
            if !allowed || attempt.previous().len() > REDIRECTS_MAX { attempt.stop() } else { attempt.follow() }
        });
        Ok(Self { reading: client()?.redirect(within).build()?, writing: client()?.redirect(Policy::none()).build()? })
    }

    pub(super) async fn read(&self, url: &ObjectUrl, max: u64) -> Result<Bytes, Trouble> {
        let mut response = send(self.reading.get(address(url)?)).await?;
        let length = response.content_length().unwrap_or_default();
        check_size(length, max)?;
        let mut bytes = BytesMut::with_capacity(usize::try_from(length).unwrap_or_default());
        while let Some(piece) = response.chunk().await.map_err(|error| judge(&error))? {
            if (bytes.len() + piece.len()) as u64 > max {
                return Err(Trouble::for_good(format!(
                    "has more than the {max} bytes that are allowed (objects.max_bytes)"
                )));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }

    pub(super) async fn write(&self, url: &ObjectUrl, bytes: Bytes, content_type: &'static str) -> Result<(), Trouble> {
        send(self.writing.put(address(url)?).header(CONTENT_TYPE, content_type).body(bytes)).await.map(drop)
    }
}

fn address(url: &ObjectUrl) -> Result<url::Url, Trouble> {
    url.web().cloned().ok_or_else(|| Trouble::for_good("is not on a web server"))
}

async fn send(request: RequestBuilder) -> Result<Response, Trouble> {
    let response = request.send().await.map_err(|error| judge(&error))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    if status.is_redirection() {
        let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        let to = to.split('?').next().unwrap_or_default();
        return Err(Trouble::for_good(format!(
            "redirects ({status}) to {to}, which is not followed: it is not below objects.allow, or one redirect too many"
        )));
    }
    let again = status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS);
    if !again {
        return Err(Trouble::for_good(format!("is refused by its server: {status}")));
    }
    let wait = response.headers().get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.trim().parse::<u64>().ok());
    let retry_after = wait.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    Err(Trouble { retry_after, ..Trouble::for_now(format!("cannot be had now: {status}")) })
}

fn judge(error: &reqwest::Error) -> Trouble {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        words = deeper.to_string();
        cause = deeper.source();
    }
    if error.is_builder() || error.is_redirect() {
        Trouble::for_good(format!("cannot be asked for: {words}"))
    } else if error.is_timeout() {
        Trouble::for_now("does not answer in time")
    } else {
        Trouble::for_now(format!("cannot be reached: {words}"))
    }
}

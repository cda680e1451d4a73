//! Requests and answers, each within its bounds.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION};
use reqwest::{Method, Url, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidemill_core::Problem;
use tokio::time::sleep;

use super::{Client, ClientError};

/// How long a connection may take; a server that is there answers at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a whole request may take: a batch of 10,000 tasks is the longest.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer that is read, in bytes: the tickets of a full batch with the longest ids fit several times.
const ANSWER_MAX: usize = 16 << 20;
/// How often a request is sent that can be repeated, at most.
const SENDINGS: u32 = 4;
/// The pause before the second sending; each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// An address without what follows the path.
pub(super) fn base(url: &str) -> Result<Url, ClientError> {
    let base = Url::parse(url).map_err(|_| no_address(url))?;
    if !base.username().is_empty() || base.password().is_some() {
        return Err(ClientError::Credentials);
    }
    if !matches!(base.scheme(), "http" | "https") || base.host().is_none() || base.query().is_some() {
        return Err(no_address(url));
    }
    Ok(base)
}

pub(super) fn no_address(url: &str) -> ClientError {
    ClientError::Address(url.to_owned())
}

/// The connections.
pub(super) fn client() -> Result<reqwest::Client, ClientError> {
    let tls = tidemill_tls::client_config().map_err(|error| ClientError::Tls(error.to_string()))?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .redirect(redirect::Policy::none())
        .user_agent(concat!("tidemill-client/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| ClientError::Tls(error.to_string()))
}

/// The body of a good answer.
pub(super) struct Answer(Vec<u8>);

impl Answer {
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.0).map_err(|_| ClientError::NoTidemill)
    }
}

/// What became of a request that may have been sent several times.
pub(super) struct Sent {
    pub(super) outcome: Result<Answer, ClientError>,
    pub(super) times: u32,
}

/// Sends until an answer comes that is worth having, a few times at most.
pub(super) async fn repeated<F>(send: impl Fn() -> F) -> Sent
where
    F: Future<Output = Result<Answer, ClientError>>,
{
    let mut times = 0;
    loop {
        let outcome = send().await;
        times += 1;
        match outcome {
            Err(error) if error.is_transient() && times < SENDINGS => sleep(FIRST_PAUSE * (1 << (times - 1))).await,
            outcome => return Sent { outcome, times },
        }
    }
}

impl Client {
    pub(super) async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<&impl Serialize>,
    ) -> Result<Answer, ClientError> {
        self.send_as(None, method, url, body).await
    }

    /// The same, as the request of this key: the server does what it says once, however often it is sent.
    pub(super) async fn send_as(
        &self,
        key: Option<&str>,
        method: Method,
        url: Url,
        body: Option<&impl Serialize>,
    ) -> Result<Answer, ClientError> {
        let mut request = self.http.request(method, url).header(ACCEPT, "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut response = request.send().await.map_err(|error| self.away(&error))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.away(&error))? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(ClientError::NoTidemill);
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(Answer(body));
        }
        let problem = serde_json::from_slice::<Problem>(&body).unwrap_or_else(|_| {
            Problem::new(status.as_u16(), "unexpected", "Unexpected", format!("the server answered {status}"))
        });
        Err(ClientError::Refused(Box::new(problem)))
    }

    /// The server does not answer.
    pub(super) fn mute(&self) -> ClientError {
        ClientError::Unreachable { server: self.base.to_string(), reason: "no answer in time".to_owned() }
    }

    /// The whole chain of causes: the outermost says no more than that it failed.
    fn away(&self, error: &reqwest::Error) -> ClientError {
        let mut reason = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            reason = inner.to_string();
            cause = inner.source();
        }
        ClientError::Unreachable { server: self.base.to_string(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_and_has_a_host() {
        assert_eq!(base("http://127.0.0.1:8080").unwrap().as_str(), "http://127.0.0.1:8080/");
        assert!(base("https://example.org/mill").is_ok());
        for wrong in ["", "127.0.0.1:8080", "redis://host", "http://host/?a=b", "http://"] {
            assert!(matches!(base(wrong), Err(ClientError::Address(_))), "{wrong}");
        }
        assert!(matches!(base("https://ada:grist@host"), Err(ClientError::Credentials)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_a_few_times() {
        let away = || async { Err(ClientError::Unreachable { server: "x".to_owned(), reason: "y".to_owned() }) };
        let sent = repeated(away).await;
        assert_eq!((sent.times, sent.outcome.is_err()), (SENDINGS, true));
        let sent = repeated(|| async { Err(ClientError::NoTidemill) }).await;
        assert_eq!(sent.times, 1);
    }
}

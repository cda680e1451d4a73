//! The HTTP client: no proxy, no redirect and no address that was not looked at.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use tidemill_executor::{Context, HandlerError};

use super::{Guard, Refused, WebError};
use crate::outbox::plain;

/// How long a connection may take to be there. A host that is up answers in a few round trips; one that is not should
/// leave time for another attempt.
const CONNECTING: Duration = Duration::from_secs(10);
/// How long an idle connection is kept: less than what servers and balancers do, so that it is rarely they who end it.
const IDLE: Duration = Duration::from_secs(50);
/// Idle connections that are kept per host. More would only be kept after a burst.
const IDLE_MAX: usize = 16;
/// What we say we are.
const AGENT: &str = concat!("tidemill/", env!("CARGO_PKG_VERSION"));

/// A client that connects to whatever it is told to: for URLs that the operator of the worker has named.
pub(crate) fn client() -> Result<Client, WebError> {
    Ok(builder()?.build()?)
}

/// A client that connects only to addresses that `guard` admits: for URLs that come with a payload. An address that stands
/// in the URL itself is not looked up, and has to be judged before, by [`Guard::check`].
pub(crate) fn guarded_client(guard: Arc<Guard>) -> Result<Client, WebError> {
    Ok(builder()?.dns_resolver(Resolver(guard)).build()?)
}

fn builder() -> Result<ClientBuilder, WebError> {
    let mut tls = tidemill_tls::client_config()?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(AGENT)
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECTING)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_MAX))
}

/// Looks a name up, and hands on those addresses alone that may be connected to.
struct Resolver(Arc<Guard>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let admitted = guard.admitted(name.as_str(), found)?;
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

/// A request that got no answer: for good where the guard refused the host, and else perhaps not the next time. Without the
/// URL, whose query may hold secrets.
pub(crate) fn failed(error: reqwest::Error) -> HandlerError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(found) = cause {
        if let Some(refused) = found.downcast_ref::<Refused>() {
            return HandlerError::permanent(format!("payload.url: {refused}"));
        }
        cause = found.source();
    }
    if error.is_builder() {
        return HandlerError::permanent(HandlerError::from(error.without_url()).message());
    }
    error.without_url().into()
}

/// What tells this task from any other, and is the same in each attempt: receivers recognise a repetition by it.
pub(crate) fn repetition(cx: &Context) -> String {
    // `plain` leaves no `~`, so that different tasks have different texts.
    format!("{}~{}~{}", plain(cx.queue().as_str()), plain(cx.task().as_str()), cx.enqueued_at_ms())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_resolves_to_a_private_address_is_refused_for_good_when_the_connection_is_made() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
        let client = guarded_client(Arc::default()).unwrap();
        let error = failed(client.get(url).send().await.unwrap_err());
        assert!(error.is_permanent(), "{error}");
        let expected = "payload.url: localhost has the address ";
        assert!(
            error.message().starts_with(expected) && error.message().contains("is not a public address"),
            "{error}"
        );
    }
}

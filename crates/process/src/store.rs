//! The broker of a process: opened, waited for in the background, closed.

use std::sync::Arc;
use std::time::Duration;

use tidemill_api::BindError;
use tidemill_broker::{Access, Broker, BrokerError, Measured};
use tidemill_telemetry::metrics::Metrics;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::Role;
use crate::exit::usage;

/// How long an answer may take before the store counts as away; its own deadline is two seconds.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a store that was away at the start is asked again.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long closing may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Opens the store. One that can never serve ends the program; one that is away does not. Its operations are counted.
pub fn open(access: &Access, metrics: &Arc<Metrics>) -> anyhow::Result<Arc<dyn Broker>> {
    let broker = tidemill_broker::connect_with(access).map_err(|error| match error {
        BrokerError::Unfit(reason) => usage(reason),
        other => anyhow::Error::new(other).context(format!("the store at {} cannot be opened", access.shown_url())),
    })?;
    let metrics = metrics.clone();
    Ok(Measured::over(broker, move |call| metrics.broker_call(call.operation, call.took, call.error)))
}

/// Opens a store that `role` shares with other processes. A folder is held by one process alone, so that no worker would
/// ever see what an API took in.
pub fn open_shared(access: &Access, role: Role, metrics: &Arc<Metrics>) -> anyhow::Result<Arc<dyn Broker>> {
    if access.url.starts_with("sqlite:") {
        return Err(usage(format!(
            "tidemill {role} needs a store that it can share with other processes, and {url} is for one alone: name a \
             Redis, as in --broker-url redis://HOST:PORT, or run everything in one process with `tidemill standalone`",
            role = role.as_str(),
            url = access.url
        )));
    }
    open(access, metrics)
}

/// Waits for the first contact. The error says why the store can never serve; that it is away for now, the API and the
/// executor say themselves.
pub async fn first_contact(broker: Arc<dyn Broker>, stop: CancellationToken) -> anyhow::Result<()> {
    loop {
        match timeout(PING_TIMEOUT, broker.ping()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(BrokerError::Unfit(reason))) => return Err(usage(reason)),
            Ok(Err(error)) => tracing::debug!(%error, "no first contact with the broker yet"),
            Err(_) => tracing::debug!("no first contact with the broker yet: no answer in time"),
        }
        tokio::select! {
            () = sleep(ASK_EVERY) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Lets go of the store.
pub async fn close(broker: &Arc<dyn Broker>) {
    if timeout(CLOSE_TIMEOUT, broker.close()).await.is_err() {
        tracing::warn!("the broker did not close in time");
    }
}

/// The server that was bound. Where it was not, the store is let go before that is told.
pub async fn or_close<S>(server: Result<S, BindError>, broker: &Arc<dyn Broker>) -> anyhow::Result<S> {
    match server {
        Ok(server) => Ok(server),
        Err(error) => {
            close(broker).await;
            Err(usage(error.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemill_broker::Authorities;

    use super::*;

    fn access(url: &str, ca_file: &str) -> Access {
        Access {
            username: Some("mill".to_owned()),
            password: Some("grist".to_owned()),
            authorities: Some(ca_file).filter(|file| !file.is_empty()).map(|file| Authorities::File(file.into())),
            ..Access::new(url)
        }
    }

    fn metrics() -> Arc<Metrics> {
        Arc::new(Metrics::new("0"))
    }

    #[tokio::test]
    async fn a_store_that_can_never_serve_is_told_without_its_password() {
        for (url, ca_file, expected) in [
            ("redis://:chaff@host", "/ca.pem", "does not speak TLS"),
            ("rediss://:chaff@host", "/no/such/ca.pem", "/no/such/ca.pem cannot be read"),
            ("reddis://:chaff@host", "", "names no store"),
        ] {
            let Err(error) = open_shared(&access(url, ca_file), Role::Api, &metrics()) else {
                panic!("{url} should not open")
            };
            let said = format!("{error:#}");
            assert!(said.contains(expected), "{said}");
            assert!(!said.contains("grist") && !said.contains("chaff"), "{said}");
        }
    }

    #[test]
    fn a_folder_cannot_be_shared() {
        let Err(error) = open_shared(&access("sqlite:./x", ""), Role::Worker, &metrics()) else {
            panic!("it should not open")
        };
        assert!(error.to_string().contains("tidemill worker needs a store that it can share"), "{error}");
    }
}

//! The way to the collector: OTLP in protobuf over HTTP, with TLS that trusts the public authorities, or those of the file
//! that `SSL_CERT_FILE` names.

use std::time::Duration;

use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use tidemill_tls::TlsError;

/// How long the collector may take for a batch.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Where a collector takes traces, below its endpoint.
const PATH: &str = "/v1/traces";

/// Traces that cannot be set up. One sentence each.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The endpoint is none.
    #[error("traces.endpoint {0:?} is no collector's address; it is one such as http://collector:4318")]
    Endpoint(String),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP client cannot be made.
    #[error("the client of the collector cannot be made: {0}")]
    Client(#[from] reqwest::Error),
    /// The exporter cannot be made.
    #[error("the exporter of traces cannot be made: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// What sends spans to the collector at `endpoint`.
pub(super) fn exporter(endpoint: &str) -> Result<SpanExporter, TraceError> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tidemill_tls::client_config()?)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(SEND_TIMEOUT)
        .no_proxy()
        .build()?;
    Ok(SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(SEND_TIMEOUT)
        .with_endpoint(address(endpoint)?)
        .build()?)
}

/// The endpoint with the path of traces, unless it has one.
fn address(endpoint: &str) -> Result<String, TraceError> {
    let wrong = || TraceError::Endpoint(endpoint.to_owned());
    let mut url = reqwest::Url::parse(endpoint).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong());
    }
    if url.path() == "/" {
        url.set_path(PATH);
    }
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_gets_the_path_of_traces_unless_it_has_one() {
        assert_eq!(address("http://collector:4318").unwrap(), "http://collector:4318/v1/traces");
        assert_eq!(address("https://collector/").unwrap(), "https://collector/v1/traces");
        assert_eq!(address("https://vendor/otlp/v1/traces").unwrap(), "https://vendor/otlp/v1/traces");
        for wrong in ["collector:4318", "grpc://collector:4317", "", "http://"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_exporter_can_be_made_for_either_scheme() {
        assert!(exporter("https://collector:4318").is_ok() && exporter("http://collector:4318").is_ok());
    }
}

//! The way to the collector: OTLP in protobuf over HTTP, with TLS that trusts the public authorities, or those of the file
//! that `SSL_CERT_FILE` names.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

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
    /// The authorities cannot be used.
    #[error("the certificate authorities of {file} cannot be used (see SSL_CERT_FILE): {reason}")]
    Authorities {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS to the collector cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
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
        .tls_backend_preconfigured(tls()?)
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

fn tls() -> Result<ClientConfig, TraceError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(authorities()?).with_no_client_auth())
}

fn authorities() -> Result<RootCertStore, TraceError> {
    let mut store = RootCertStore::empty();
    let Some(file) = std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty()).map(PathBuf::from) else {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(store);
    };
    let unusable = |reason: String| TraceError::Authorities { file: file.display().to_string(), reason };
    for certificate in CertificateDer::pem_file_iter(&file).map_err(|error| unusable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        store.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    Ok(store)
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

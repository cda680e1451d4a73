//! TLS where Tidemill is a client (of Redis, HTTPS servers, object stores, mail servers, collectors): whom it trusts, and rustls
//! with ring, whatever provider the program has chosen for itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// The variable that names a file of certificate authorities, as elsewhere.
const VARIABLE: &str = "SSL_CERT_FILE";

/// TLS that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of certificate authorities cannot be read.
    #[error("the certificate authorities of {} cannot be read: {reason} (see {named_by})", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What named it.
        named_by: &'static str,
        /// Why.
        reason: std::io::Error,
    },
    /// What it holds is not certificates.
    #[error("the certificate authorities of {place} cannot be used: {reason}")]
    Unusable {
        /// The file and what named it, or what else it was.
        place: String,
        /// Why.
        reason: String,
    },
    /// The provider has none of the protocol's versions.
    #[error("TLS cannot be set up: {0}")]
    Protocol(#[from] rustls::Error),
}

/// What connections to HTTPS use: the authorities of the file that `SSL_CERT_FILE` names, else the public ones, which are part of
/// the program, since its image has no store of them.
pub fn client_config() -> Result<ClientConfig, TlsError> {
    trusting(environment_file().as_deref())
}

/// The authorities of `file`, in PEM and checked; without a file, those that `SSL_CERT_FILE` names, if it names any.
/// `named_by` is what named `file`.
pub fn authorities(file: Option<&Path>, named_by: &'static str) -> Result<Option<Vec<u8>>, TlsError> {
    let read = |file: &Path, named_by| read(file, named_by).map(|(pem, _)| Some(pem));
    match file {
        Some(file) => read(file, named_by),
        None => environment_file().map_or(Ok(None), |file| read(&file, VARIABLE)),
    }
}

fn environment_file() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|file| !file.is_empty()).map(PathBuf::from)
}

fn trusting(file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let roots = match file {
        Some(file) => read(file, VARIABLE)?.1,
        None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn read(file: &Path, named_by: &'static str) -> Result<(Vec<u8>, RootCertStore), TlsError> {
    let pem = std::fs::read(file).map_err(|reason| TlsError::Unreadable { file: file.to_owned(), named_by, reason })?;
    let roots = roots(&pem, &format!("{} (see {named_by})", file.display()))?;
    Ok((pem, roots))
}

/// Checks authorities that are given in PEM; `place` says in errors where they are.
pub fn check(pem: &[u8], place: &str) -> Result<(), TlsError> {
    roots(pem, place).map(drop)
}

fn roots(pem: &[u8], place: &str) -> Result<RootCertStore, TlsError> {
    let unusable = |reason: String| TlsError::Unusable { place: place.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        let form = "it holds no certificate in PEM, which has them between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----";
        return Err(unusable(form.to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_authorities_are_there_without_a_file() {
        assert!(trusting(None).is_ok());
    }

    #[test]
    fn a_file_that_holds_no_authorities_is_refused_by_name() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("ca.pem");
        let missing = trusting(Some(&file)).unwrap_err().to_string();
        assert!(missing.contains("ca.pem cannot be read") && missing.contains("SSL_CERT_FILE"), "{missing}");
        std::fs::write(&file, "nothing").unwrap();
        let empty = trusting(Some(&file)).unwrap_err().to_string();
        assert!(empty.contains("it holds no certificate in PEM"), "{empty}");
    }
}

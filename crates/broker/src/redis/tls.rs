//! Whom TLS trusts.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::connect::{Access, Authorities, no_tls};
use crate::error::{BrokerError, Result};

/// The variable that names a file of certificate authorities, as elsewhere.
const VARIABLE: &str = "SSL_CERT_FILE";

/// The authorities to trust, in PEM; `None` is the public ones. Those that are given for a URL without TLS are refused;
/// the environment's are meant for whatever speaks it.
pub(super) fn authorities(access: &Access, speaks_tls: bool) -> Result<Option<Vec<u8>>> {
    match &access.authorities {
        Some(_) if !speaks_tls => Err(no_tls(&access.shown_url())),
        Some(Authorities::File(file)) => read(file, "broker.ca_file").map(Some),
        Some(Authorities::Pem(pem)) => checked(pem.clone(), "the given text").map(Some),
        None if speaks_tls => from_environment().map(|file| read(&file, VARIABLE)).transpose(),
        None => Ok(None),
    }
}

fn from_environment() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|file| !file.is_empty()).map(PathBuf::from)
}

fn read(file: &Path, named_by: &str) -> Result<Vec<u8>> {
    let shown = file.display();
    let pem = std::fs::read(file).map_err(|error| {
        BrokerError::Unfit(format!("the certificate authorities of {shown} cannot be read: {error} (see {named_by})"))
    })?;
    checked(pem, &format!("{shown} (see {named_by})"))
}

fn checked(pem: Vec<u8>, place: &str) -> Result<Vec<u8>> {
    let unusable = |error: &dyn std::fmt::Display| {
        BrokerError::Unfit(format!("the certificate authorities of {place} cannot be used: {error}"))
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        store.add(certificate).map_err(|error| unusable(&error))?;
    }
    if store.is_empty() {
        return Err(BrokerError::Unfit(format!(
            "the certificate authorities of {place} hold no certificate: PEM has them between \
             -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----"
        )));
    }
    Ok(pem)
}

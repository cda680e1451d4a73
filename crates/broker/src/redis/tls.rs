//! Whom TLS trusts.

use crate::connect::{Access, Authorities, no_tls};
use crate::error::{BrokerError, Result};

/// The authorities to trust, in PEM; `None` is the public ones. Those that are given for a URL without TLS are refused;
/// the environment's are meant for whatever speaks it.
pub(super) fn authorities(access: &Access, speaks_tls: bool) -> Result<Option<Vec<u8>>> {
    let found = match &access.authorities {
        Some(_) if !speaks_tls => return Err(no_tls(&access.shown_url())),
        None if !speaks_tls => return Ok(None),
        Some(Authorities::Pem(pem)) => tidemill_tls::check(pem, "the given text").map(|()| Some(pem.clone())),
        Some(Authorities::File(file)) => tidemill_tls::authorities(Some(file), "broker.ca_file"),
        None => tidemill_tls::authorities(None, "broker.ca_file"),
    };
    found.map_err(|error| BrokerError::Unfit(error.to_string()))
}

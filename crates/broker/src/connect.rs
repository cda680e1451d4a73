//! From a URL to a broker.

use std::path::PathBuf;
use std::sync::Arc;

use crate::contract::Broker;
use crate::embedded::{SqliteBroker, SqliteOptions};
use crate::error::{BrokerError, Result};
use crate::redis::RedisBroker;

/// The store that serves without anything else being installed.
pub const DEFAULT_URL: &str = "sqlite:./tidemill-data";

/// Opens the store at `url`: `sqlite:DIRECTORY`, or a Redis or Valkey as [`RedisBroker::open`] takes it.
///
/// A Redis is connected to with the first operation, so that one that is away now is no error here. What can never work
/// (a wrong URL, a directory that cannot be used) is [`BrokerError::Unfit`].
///
/// Must be called within a tokio runtime.
pub fn connect(url: &str) -> Result<Arc<dyn Broker>> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    match scheme {
        Some("sqlite") => {
            let directory = url.trim_start_matches("sqlite:").trim_start_matches("//");
            if directory.is_empty() {
                return Err(BrokerError::Unfit(format!(
                    "broker.url {url:?} names no directory; {DEFAULT_URL:?} is an example of one that does"
                )));
            }
            Ok(SqliteBroker::open(SqliteOptions::new(PathBuf::from(directory)))?)
        }
        Some("redis" | "rediss" | "valkey" | "valkeys" | "redis+unix" | "valkey+unix" | "unix") => {
            Ok(RedisBroker::open(url)?)
        }
        _ => Err(BrokerError::Unfit(format!(
            "broker.url {url:?} names no store that Tidemill knows; it begins with sqlite:, redis://, rediss://, valkey://, \
             valkeys:// or redis+unix://"
        ))),
    }
}

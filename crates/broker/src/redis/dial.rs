//! Making connections.

#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ProtocolVersion, RedisResult, TlsCertificates,
};

use super::place::Place;
use super::tls;
use crate::connect::Access;
use crate::error::Result;

/// How long a connection may take to be made.
pub(super) const CONNECT_DEADLINE: std::time::Duration = std::time::Duration::from_secs(1);
/// How long what was sent may stay unacknowledged by the server's machine before the connection counts as dead. The
/// system's own patience is a quarter of an hour.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(3);

/// What all servers of a place are reached with: user, password, database, and whom to trust.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    info: ConnectionInfo,
    authorities: Option<Vec<u8>>,
}

impl Dialer {
    /// For the servers of `place`. User and password that are given apart win over those of the URL.
    pub(super) fn new(place: &Place, access: &Access) -> Result<Self> {
        let info = &place.info;
        let mut settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        if let Some(username) = &access.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &access.password {
            settings = settings.set_password(password);
        }
        let info = info.clone().set_redis_settings(settings).set_tcp_settings(tcp_settings());
        Ok(Self { info, authorities: tls::authorities(access, place.speaks_tls())? })
    }

    /// A client of the server that the URL names first.
    pub(super) fn first(&self) -> RedisResult<Client> {
        self.client(self.info.clone())
    }

    /// A client of another server of the same place.
    pub(super) fn to(&self, host: &str, port: u16) -> RedisResult<Client> {
        let host = host.to_owned();
        let address = match self.info.addr() {
            ConnectionAddr::TcpTls { insecure, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: None }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        self.client(self.info.clone().set_addr(address))
    }

    /// A client of a Sentinel of this place, which has a user and password of its own.
    pub(super) fn sentinel(&self, sentinel: &ConnectionInfo) -> RedisResult<Client> {
        self.client(sentinel.clone().set_tcp_settings(tcp_settings()))
    }

    fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        match &self.authorities {
            Some(pem) => {
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) })
            }
            None => Client::open(info),
        }
    }
}

/// Connects. Each answer may take `patience`, or as long as it likes.
pub(super) async fn connect(
    client: &Client,
    patience: Option<std::time::Duration>,
) -> RedisResult<MultiplexedConnection> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_DEADLINE)).set_response_timeout(patience);
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// Small commands leave at once, and a server that went away without a word (its machine died, the network drops its
/// packets) is given up soon: the client keeps a connection on which answers are merely late.
fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(UNACKNOWLEDGED);
    settings
}

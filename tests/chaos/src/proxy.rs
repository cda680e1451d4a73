//! A TCP proxy that delays, cuts, half-closes, swallows and stalls what passes through it.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// What is read at once, in bytes: most requests and replies whole.
const CHUNK: usize = 64 << 10;

/// What becomes of what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It passes.
    #[default]
    Pass,
    /// Each piece waits so long.
    Delay(Duration),
    /// Requests pass and are carried out, their replies are swallowed; connections that lost one are cut afterwards.
    Mute,
    /// Nothing passes either way, and what was sent arrives late, when this is over.
    Stall,
}

/// What befalls the connections that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Blow {
    cuts: u64,
    half_closed_to_client: u64,
    half_closed_to_server: u64,
}

/// A proxy on a port of its own before `127.0.0.1:target`. It ends when it is dropped, with its connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    blow: watch::Sender<Blow>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Listens on a free port of the loopback interface.
    pub async fn start(target: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (mode, blow) = (watch::Sender::new(Mode::Pass), watch::Sender::new(Blow::default()));
        let accepting = accept(listener, target, mode.subscribe(), blow.subscribe());
        Ok(Self { port, mode, blow, _accepting: AbortOnDropHandle::new(tokio::spawn(accepting)) })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on, for all connections.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.blow.send_modify(|blow| blow.cuts += 1);
    }

    /// Closes one direction of all connections: that to the client, which no longer hears but is heard, or that to the server.
    pub fn half_close(&self, to_client: bool) {
        self.blow.send_modify(|blow| {
            if to_client {
                blow.half_closed_to_client += 1;
            } else {
                blow.half_closed_to_server += 1;
            }
        });
    }
}

async fn accept(listener: TcpListener, target: u16, mode: watch::Receiver<Mode>, blow: watch::Receiver<Blow>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_ended) = connections.join_next() => continue,
        };
        if let Ok((client, _)) = accepted {
            connections.spawn(serve(client, target, mode.clone(), blow.clone()));
        }
    }
}

async fn serve(client: TcpStream, target: u16, mode: watch::Receiver<Mode>, mut blow: watch::Receiver<Blow>) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return };
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let then = *blow.borrow_and_update();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let requests = pump(
        from_client,
        to_server,
        mode.clone(),
        false,
        closed(blow.clone(), move |now: &Blow| now.half_closed_to_server > then.half_closed_to_server),
    );
    let replies = pump(
        from_server,
        to_client,
        mode,
        true,
        closed(blow.clone(), move |now: &Blow| now.half_closed_to_client > then.half_closed_to_client),
    );
    // Whichever way a direction ends, the other goes on until it ends too, unless it broke.
    let both = async { tokio::try_join!(requests, replies) };
    tokio::select! {
        _ended = both => {}
        () = closed(blow, move |now: &Blow| now.cuts > then.cuts) => {}
    }
}

/// Waits until `happened` holds of the blows; for ever, where there will be no more.
async fn closed(mut blow: watch::Receiver<Blow>, happened: impl FnMut(&Blow) -> bool) {
    if blow.wait_for(happened).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Hands on one direction until it ends. An error breaks the connection.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    is_replies: bool,
    closed: impl Future<Output = ()>,
) -> std::io::Result<()> {
    tokio::pin!(closed);
    let mut chunk = vec![0; CHUNK];
    let mut swallowed = false;
    loop {
        let length = tokio::select! {
            length = from.read(&mut chunk) => length?,
            () = &mut closed => 0,
            changed = mode.changed(), if swallowed => {
                // A reply is missing: what would come next would be taken for it.
                return Err(changed.err().map_or(std::io::ErrorKind::ConnectionReset, |_| std::io::ErrorKind::BrokenPipe).into());
            }
        };
        if length == 0 {
            return to.shutdown().await;
        }
        let now = *mode.borrow_and_update();
        match now {
            Mode::Delay(pause) => sleep(pause).await,
            Mode::Mute if is_replies => {
                swallowed = true;
                continue;
            }
            Mode::Pass | Mode::Mute => {}
            Mode::Stall => {
                if mode.wait_for(|mode| *mode != Mode::Stall).await.is_err() {
                    return Ok(());
                }
            }
        }
        to.write_all(&chunk[..length]).await?;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // test code fails by panicking
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);
    const BRIEFLY: Duration = Duration::from_millis(100);

    /// A server that answers each byte with the next one, and counts them.
    async fn server() -> (u16, watch::Receiver<u64>, AbortOnDropHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (count, counted) = watch::channel(0);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let count = count.clone();
                connections.spawn(async move {
                    while let Ok(byte) = stream.read_u8().await {
                        count.send_modify(|count| *count += 1);
                        if stream.write_u8(byte + 1).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        (port, counted, AbortOnDropHandle::new(serving))
    }

    async fn ask(stream: &mut TcpStream) -> std::io::Result<u8> {
        stream.write_u8(1).await?;
        timeout(SOON, stream.read_u8()).await?
    }

    #[tokio::test]
    async fn what_is_sent_passes_and_a_cut_ends_it() {
        let (port, _, _serving) = server().await;
        let proxy = Proxy::start(port).await.unwrap();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), 2);
        proxy.cut();
        assert!(ask(&mut stream).await.is_err());
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_muted_request_is_carried_out_and_its_connection_lost() {
        let (port, mut counted, _serving) = server().await;
        let proxy = Proxy::start(port).await.unwrap();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), 2);
        proxy.set(Mode::Mute);
        stream.write_u8(5).await.unwrap();
        timeout(SOON, counted.wait_for(|count| *count == 2)).await.unwrap().unwrap();
        assert!(timeout(BRIEFLY, stream.read_u8()).await.is_err(), "the reply does not come");
        proxy.set(Mode::Pass);
        assert!(timeout(SOON, stream.read_u8()).await.unwrap().is_err(), "the connection is cut");
    }

    #[tokio::test]
    async fn what_was_stalled_arrives_late() {
        let (port, counted, _serving) = server().await;
        let proxy = Proxy::start(port).await.unwrap();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        proxy.set(Mode::Stall);
        stream.write_u8(5).await.unwrap();
        assert!(timeout(BRIEFLY, stream.read_u8()).await.is_err());
        assert_eq!(*counted.borrow(), 0);
        proxy.set(Mode::Pass);
        assert_eq!(timeout(SOON, stream.read_u8()).await.unwrap().unwrap(), 6);
    }

    #[tokio::test]
    async fn a_client_that_no_longer_hears_is_still_heard() {
        let (port, mut counted, _serving) = server().await;
        let proxy = Proxy::start(port).await.unwrap();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), 2);
        proxy.half_close(true);
        assert!(timeout(SOON, stream.read_u8()).await.unwrap().is_err(), "it hears the end");
        stream.write_u8(5).await.unwrap();
        timeout(SOON, counted.wait_for(|count| *count == 2)).await.unwrap().unwrap();
    }
}

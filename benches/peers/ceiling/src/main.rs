//! What Redis itself allows: the hot path of a queue on bare connections, without all that makes it a task queue.
//!
//! Five keys, two scripts, batches of 100 on 8 connections. Ids are refused that are alive, claims are fenced, transitions
//! counted, and each call publishes once; there are no numbered exchanges, leases, due tasks, priorities, attempts,
//! results or wake-up, and no handler runs: a claim is settled with the next exchange. Nobody should call this a queue.

mod connection;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::ensure;
use connection::{Connection, Reply};
use peer_protocol::{Ids, Peer, Tally, payload, serve};
use tokio::sync::{Mutex, MutexGuard};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 8;
/// Tasks that a call of a worker settles, and claims.
const BATCH: usize = 100;
const KEYS: [&[u8]; 5] =
    [b"{ceiling}:pending", b"{ceiling}:records", b"{ceiling}:claims", b"{ceiling}:stats", b"{ceiling}:channel"];
/// A member that keeps the hash of claims a table: emptied, it would be reborn as a list that is searched linearly.
const PLACEHOLDER: [u8; 65] = [b'-'; 65];

struct Ceiling {
    url: String,
    connections: Vec<Mutex<Connection>>,
    turn: AtomicUsize,
    enqueue: Vec<u8>,
    exchange: Vec<u8>,
    payload: Vec<u8>,
    ids: Ids,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_default();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Mutex::new(Connection::open(&url).await?));
    }
    let mut first = Connection::open(&url).await?;
    let enqueue = load(&mut first, include_bytes!("enqueue.lua")).await?;
    let exchange = load(&mut first, include_bytes!("exchange.lua")).await?;
    first.call(&[b"HSET", KEYS[2], b"", &PLACEHOLDER]).await?;
    let turn = AtomicUsize::new(0);
    serve(Ceiling { url, connections, turn, enqueue, exchange, payload: payload(), ids: Ids::default() }).await
}

async fn load(connection: &mut Connection, script: &[u8]) -> anyhow::Result<Vec<u8>> {
    match connection.call(&[b"SCRIPT", b"LOAD", script]).await? {
        Reply::One(sha) => Ok(sha),
        Reply::Many(_) => anyhow::bail!("SCRIPT LOAD answered a list"),
    }
}

impl Ceiling {
    async fn send(&self, count: usize) -> anyhow::Result<()> {
        let ids: Vec<String> = (0..count).map(|_| self.ids.next()).collect();
        let mut words: Vec<&[u8]> = vec![b"EVALSHA", &self.enqueue, b"5"];
        words.extend(KEYS);
        for id in &ids {
            words.extend([id.as_bytes(), self.payload.as_slice()]);
        }
        self.free().await.call(&words).await?;
        Ok(())
    }

    /// The first connection that nobody uses; where all are used, one after another.
    async fn free(&self) -> MutexGuard<'_, Connection> {
        let free = self.connections.iter().find_map(|connection| connection.try_lock().ok());
        match free {
            Some(connection) => connection,
            None => self.connections[self.turn.fetch_add(1, Ordering::Relaxed) % CONNECTIONS].lock().await,
        }
    }
}

impl Peer for Ceiling {
    fn version(&self) -> String {
        format!("a sketch of the hot path, {CONNECTIONS} connections, {BATCH} tasks a call")
    }

    async fn enqueue_batch(&self, count: usize) -> anyhow::Result<()> {
        self.send(count).await
    }

    async fn enqueue(&self) -> anyhow::Result<()> {
        self.send(1).await
    }

    async fn ping(&self) -> anyhow::Result<()> {
        self.free().await.call(&[b"PING"]).await?;
        Ok(())
    }

    async fn work(&self, _: usize, tally: Arc<Tally>) -> anyhow::Result<()> {
        for number in 0..CONNECTIONS {
            let connection = Connection::open(&self.url).await?;
            tokio::spawn(exchange(connection, number, self.exchange.clone(), Arc::clone(&tally)));
        }
        Ok(())
    }
}

/// One connection's exchanges, until nothing is left.
async fn exchange(mut connection: Connection, number: usize, sha: Vec<u8>, tally: Arc<Tally>) -> anyhow::Result<()> {
    let want = BATCH.to_string();
    let (mut held, mut before): (Vec<Vec<u8>>, String) = (Vec::new(), String::new());
    for turn in 0_u64.. {
        let token = format!("{number:04}-{turn:015}");
        let mut words: Vec<&[u8]> = vec![b"EVALSHA", &sha, b"5"];
        words.extend(KEYS);
        words.extend([before.as_bytes(), token.as_bytes(), want.as_bytes()]);
        words.extend(held.iter().map(Vec::as_slice));
        let Reply::Many(parts) = connection.call(&words).await? else { anyhow::bail!("an exchange answered no list") };
        ensure!(parts.len() % 2 == 0, "an id without a record");
        held = parts.into_iter().step_by(2).collect();
        before = token;
        for _ in &held {
            tally.started();
        }
        if held.is_empty() {
            break;
        }
    }
    Ok(())
}

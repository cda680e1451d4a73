//! A bare connection: RESP out of one buffer, RESP into another, nothing between.

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Room for a reply of a hundred tasks, so that it takes one read.
const READ_BYTES: usize = 64 * 1024;

/// A connection with its buffers.
pub struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    input: Vec<u8>,
    read: usize,
}

/// What Redis answered.
#[derive(Debug)]
pub enum Reply {
    /// A status, an integer or a single string.
    One(Vec<u8>),
    /// An array of strings.
    Many(Vec<Vec<u8>>),
}

impl Connection {
    /// Connects to `redis://HOST:PORT`.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let address = url.strip_prefix("redis://").context("the URL is redis://HOST:PORT")?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, out: Vec::with_capacity(READ_BYTES), input: vec![0; READ_BYTES], read: 0 })
    }

    /// Sends a command and returns its answer.
    pub async fn call(&mut self, words: &[&[u8]]) -> anyhow::Result<Reply> {
        self.out.clear();
        self.out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            self.out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            self.out.extend_from_slice(word);
            self.out.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&self.out).await?;
        self.read = 0;
        loop {
            if let Some(reply) = parse(&self.input[..self.read])? {
                return Ok(reply);
            }
            if self.read == self.input.len() {
                self.input.resize(self.input.len() * 2, 0);
            }
            let count = self.stream.read(&mut self.input[self.read..]).await?;
            ensure!(count > 0, "redis closed the connection");
            self.read += count;
        }
    }
}

/// The reply that `bytes` hold, once they hold all of it.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<Reply>> {
    let Some((line, mut rest)) = line(bytes) else { return Ok(None) };
    let (kind, value) = line.split_first().context("an empty line")?;
    match kind {
        b'+' | b':' => Ok(Some(Reply::One(value.to_vec()))),
        b'$' => Ok(bulk(bytes)?.map(|(text, _)| Reply::One(text.to_vec()))),
        b'*' => {
            let mut parts = Vec::new();
            for _ in 0..length(value)? {
                let Some((part, after)) = bulk(rest)? else { return Ok(None) };
                parts.push(part.to_vec());
                rest = after;
            }
            Ok(Some(Reply::Many(parts)))
        }
        b'-' => bail!("redis: {}", String::from_utf8_lossy(value)),
        other => bail!("an answer of kind {}", char::from(*other)),
    }
}

fn bulk(bytes: &[u8]) -> anyhow::Result<Option<(&[u8], &[u8])>> {
    let Some((line, rest)) = line(bytes) else { return Ok(None) };
    let size = length(line.strip_prefix(b"$").context("an element that is no string")?)?;
    Ok(rest.get(..size).zip(rest.get(size + 2..)))
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

fn length(digits: &[u8]) -> anyhow::Result<usize> {
    Ok(std::str::from_utf8(digits)?.parse()?)
}

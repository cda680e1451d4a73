//! A word to Redis itself, past all proxies.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

/// How long Redis may take to answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// Sends an inline command and gives what comes back, without its type.
pub fn ask(port: u16, command: &str) -> anyhow::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.trim_end();
    let (sort, rest) = line.split_at_checked(1).with_context(|| format!("{command}: no answer"))?;
    match sort {
        "+" | ":" => Ok(rest.to_owned()),
        "$" => {
            let mut text = vec![0; rest.parse()?];
            reader.read_exact(&mut text)?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        }
        _ => anyhow::bail!("{command}: {line}"),
    }
}

/// The process of the Redis that listens there.
pub fn process_id(port: u16) -> anyhow::Result<u32> {
    let info = ask(port, "INFO server")?;
    let line = info.lines().find_map(|line| line.strip_prefix("process_id:")).context("INFO names no process_id")?;
    Ok(line.trim().parse()?)
}

//! A small SMTP server that tells what it was told: one thread of talk per connection, honest replies.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One mail that was taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) data: String,
}

/// Refuses recipients that begin with `unknown` (550) and defers those that begin with `busy` (451).
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) taken: Arc<Mutex<Vec<Taken>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let taken: Arc<Mutex<Vec<Taken>>> = Arc::default();
        let mails = Arc::clone(&taken);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mails = Arc::clone(&mails);
                tokio::spawn(async move { talk(stream, &mails).await.unwrap_or_default() });
            }
        });
        Self { url, taken, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn talk(stream: TcpStream, mails: &Mutex<Vec<Taken>>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut mail = Taken::default();
    write.write_all(b"220 test ESMTP\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        let upper = line.to_ascii_uppercase();
        let reply = if upper.starts_with("EHLO") {
            "250-test\r\n250 8BITMIME"
        } else if upper.starts_with("MAIL FROM:") {
            mail = Taken { from: address(&line), ..Taken::default() };
            "250 ok"
        } else if upper.starts_with("RCPT TO:") {
            let to = address(&line);
            match to.split('@').next() {
                Some("unknown") => "550 no such mailbox",
                Some("busy") => "451 try again later",
                _ => {
                    mail.to.push(to);
                    "250 ok"
                }
            }
        } else if upper == "DATA" {
            write.write_all(b"354 go on\r\n").await?;
            while let Some(line) = lines.next_line().await? {
                if line == "." {
                    break;
                }
                mail.data.push_str(line.strip_prefix('.').unwrap_or(&line));
                mail.data.push('\n');
            }
            mails.lock().unwrap().push(std::mem::take(&mut mail));
            "250 taken as 42"
        } else if upper == "QUIT" {
            write.write_all(b"221 bye\r\n").await?;
            return Ok(());
        } else {
            "500 what"
        };
        write.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
    Ok(())
}

fn address(line: &str) -> String {
    let (begin, end) = (line.find('<').unwrap(), line.find('>').unwrap());
    line[begin + 1..end].to_owned()
}

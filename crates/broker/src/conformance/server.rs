//! A Redis or Valkey server for tests: on a free port, in a directory of its own, gone when it is dropped.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The variable that names the program of Redis, and the program where it is not set.
pub const REDIS: (&str, &str) = ("REDIS_SERVER", "redis-server");
/// The same of Valkey.
pub const VALKEY: (&str, &str) = ("VALKEY_SERVER", "valkey-server");
/// Set to `1`, it lets tests on Valkey pass without a Valkey.
pub const SKIP_VALKEY: &str = "TIDEMILL_SKIP_VALKEY";

/// A server answers within this time, on a busy machine too.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// Another program may take the port between its choice and the start; more than once in a row is something else.
const STARTS: u32 = 3;
/// The name of a server's file of configuration.
const CONFIG: &str = "server.conf";
/// What every server is told besides. A primary that syncs without a file may be told by its replica that it is ready before it
/// has seen its own child end, and then sends it nothing for a second: a replica that is up would not be one that hears.
const ALWAYS: [&str; 8] = ["--bind", "127.0.0.1", "--save", "", "--daemonize", "no", "--repl-diskless-sync", "no"];
/// Runs a server until its standard input ends, which it does with this process, whatever ends that. Its directory goes
/// with it, unless a line was written to it before.
const KEEPER: &str = r#"dir=$1; shift; "$@" & server=$!; read -r line; kill -9 "$server" 2>/dev/null
wait "$server" 2>/dev/null; [ -n "$line" ] || rm -rf -- "$dir""#;

/// A running server.
#[derive(Debug)]
pub struct RedisServer {
    program: String,
    /// A file that it is configured by, before all arguments; it may write to it.
    config: Option<String>,
    args: Vec<String>,
    port: u16,
    dir: tempfile::TempDir,
    keeper: Mutex<Option<Child>>,
}

impl RedisServer {
    /// A server without persistence. Panics in words where there is no `redis-server`.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server with these arguments besides, such as `--appendonly yes`.
    pub fn start_with(args: &[&str]) -> Self {
        Self::start_program(&program(REDIS), None, args)
    }

    /// A Valkey; `None` where there is none and [`SKIP_VALKEY`] allows that.
    pub fn start_valkey() -> Option<Self> {
        Self::start_valkey_with(&[])
    }

    /// The same with these arguments besides.
    pub fn start_valkey_with(args: &[&str]) -> Option<Self> {
        let program = program(VALKEY);
        if !is_there(&program) && std::env::var(SKIP_VALKEY).is_ok_and(|value| value == "1") {
            return None;
        }
        Some(Self::start_program(&program, None, args))
    }

    /// A server with this file of configuration, which it may write to, and these arguments besides.
    pub fn start_configured(config: &str, args: &[&str]) -> Self {
        Self::start_program(&program(REDIS), Some(config), args)
    }

    fn start_program(program: &str, config: Option<&str>, args: &[&str]) -> Self {
        assert!(
            is_there(program),
            "these tests need {program}: install it, or set {} or {} to its path ({SKIP_VALKEY}=1 skips Valkey)",
            REDIS.0,
            VALKEY.0
        );
        let dir = tempfile::Builder::new().prefix("tidemill-redis-").tempdir().expect("a temporary directory");
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        if let Some(config) = config {
            std::fs::write(dir.path().join(CONFIG), config).expect("a file of configuration can be written");
        }
        let config = config.map(ToOwned::to_owned);
        let mut server = Self { program: program.to_owned(), config, args, port: 0, dir, keeper: Mutex::new(None) };
        for _ in 0..STARTS {
            server.port = free_port();
            if server.spawn() {
                return server;
            }
        }
        panic!("{program} did not start; its log: {}", server.log());
    }

    /// `redis://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it as `kill -9` does. What it had not written is lost.
    pub fn kill(&self) {
        if let Some(mut keeper) = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            if let Some(mut stdin) = keeper.stdin.take() {
                stdin.write_all(b"keep the directory\n").expect("the keeper listens");
            }
            keeper.wait().expect("the keeper of a server ends");
        }
    }

    /// Kills it where it runs, and starts it on the same port and directory.
    pub fn restart(&self) {
        self.kill();
        assert!(self.spawn(), "{} did not start again; its log: {}", self.program, self.log());
    }

    /// Sends it a command, on a connection of its own, and panics where it answers with an error.
    pub async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_ask(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The same, with the error.
    pub async fn try_ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url())?;
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(START_DEADLINE));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await
    }

    /// Its last words.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default()
    }

    /// Whether it answered in time.
    fn spawn(&self) -> bool {
        let log = self.dir.path().join("server.log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(self.dir.path())
            .arg(&self.program)
            .args(self.config.as_ref().map(|_| self.dir.path().join(CONFIG)))
            .args(["--port", &self.port.to_string()])
            .args(ALWAYS)
            .arg("--dir")
            .arg(self.dir.path())
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("a shell can be started");
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
        let began = Instant::now();
        while began.elapsed() < START_DEADLINE {
            if self.answers() {
                return true;
            }
            if self.log().contains("Failed listening on port") {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
        false
    }

    fn answers(&self) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else { return false };
        let mut reply = [0; 7];
        stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
            && stream.write_all(b"PING\r\n").is_ok()
            && stream.read_exact(&mut reply).is_ok()
            && &reply == b"+PONG\r\n"
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program((variable, default): (&str, &str)) -> String {
    std::env::var(variable).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
}

fn is_there(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("a bound socket has an address").port()
}

//! A real mail server (aiosmtpd), and an authority that vouches for it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde::Deserialize;

/// How long the server may take to start, and to tell of a mail.
const PATIENCE: Duration = Duration::from_secs(30);
/// The account that servers with TLS ask for.
const ACCOUNT: [&str; 2] = ["ada", "secret"];

/// A part of a mail, as Python's library reads it.
#[derive(Debug, Deserialize)]
pub(crate) struct Part {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
    base64: String,
}

impl Part {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        STANDARD.decode(&self.base64).unwrap()
    }

    /// With the line ends of this side.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes()).unwrap().replace("\r\n", "\n")
    }
}

/// A mail that was taken.
#[derive(Debug, Deserialize)]
pub(crate) struct Taken {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) encrypted: bool,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) parts: Vec<Part>,
}

/// Refuses recipients that begin with `unknown` (550), defers those that begin with `busy` (451), and those that begin with
/// `grey` the first time.
pub(crate) struct MailServer {
    child: Child,
    mode: &'static str,
    port: u16,
    mails: Receiver<String>,
}

impl MailServer {
    pub(crate) fn plain() -> Self {
        Self::start("plain", &[])
    }

    /// With `starttls` or `implicit` TLS and an account, for `localhost`.
    pub(crate) fn encrypted(mode: &'static str, authority: &Authority) -> Self {
        let (certificate, key) = authority.vouch();
        Self::start(mode, &[&certificate.display().to_string(), &key.display().to_string(), ACCOUNT[0], ACCOUNT[1]])
    }

    fn start(mode: &'static str, arguments: &[&str]) -> Self {
        let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let library = std::env::var("AIOSMTPD").unwrap_or_else(|_| format!("{workspace}/.tools/aiosmtpd"));
        let mut child = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mail_server.py"))
            .arg(mode)
            .args(arguments)
            .env("PYTHONPATH", library)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (line_in, mails) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| line_in.send(line)));
        let port = mails.recv_timeout(PATIENCE).expect("the mail server starts: scripts/setup aiosmtpd fetches it");
        Self { child, mode, port: port.parse().unwrap(), mails }
    }

    /// User and password, as they stand in the URL.
    pub(crate) fn user(&self) -> String {
        if self.mode == "plain" { String::new() } else { format!("{}:{}@", ACCOUNT[0], ACCOUNT[1]) }
    }

    pub(crate) fn url(&self) -> String {
        let (user, port) = (self.user(), self.port);
        match self.mode {
            "implicit" => format!("smtps://{user}localhost:{port}"),
            "starttls" => format!("smtp://{user}localhost:{port}?tls=required"),
            _ => format!("smtp://127.0.0.1:{port}"),
        }
    }

    /// The next mail that was taken.
    pub(crate) fn taken(&mut self) -> Taken {
        let line = self.mails.recv_timeout(PATIENCE).expect("a mail arrives");
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A certificate authority of a test.
pub(crate) struct Authority {
    home: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).unwrap();
        std::fs::write(home.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { home, issuer: Issuer::new(parameters, key) }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.home.path().join("ca.pem")
    }

    /// A certificate for `localhost`, and its key.
    fn vouch(&self) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let files = (self.home.path().join("server.pem"), self.home.path().join("server.key"));
        std::fs::write(&files.0, certificate.pem()).unwrap();
        std::fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }
}

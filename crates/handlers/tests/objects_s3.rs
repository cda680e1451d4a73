//! Objects of S3, against a real server (versitygw, on a folder).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's helpers may fail loudly

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidemill_core::{TaskId, TaskType};
use tidemill_executor::Context;
use tidemill_handlers::objects::{ObjectOptions, Objects, S3Options};

/// How long the server may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
const KEY_ID: &str = "test-key";
const KEY: &str = "test-secret";

struct Gateway {
    child: Child,
    endpoint: String,
    home: tempfile::TempDir,
}

impl Gateway {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        for folder in ["root/bucket", "meta"] {
            std::fs::create_dir_all(home.path().join(folder)).unwrap();
        }
        let at = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let fetched = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools/bin/versitygw");
        let program = std::env::var("VERSITYGW").unwrap_or_else(|_| fetched.to_owned());
        let mut child = Command::new(program)
            .args(["--port", &at.to_string(), "posix", "--sidecar"])
            .args([home.path().join("meta"), home.path().join("root")])
            .env("ROOT_ACCESS_KEY", KEY_ID)
            .env("ROOT_SECRET_KEY", KEY)
            .stdout(Stdio::null())
            .spawn()
            .expect("versitygw runs: scripts/setup versitygw compiles it");
        let since = Instant::now();
        while TcpStream::connect(at).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "versitygw ended");
            assert!(since.elapsed() < PATIENCE, "versitygw does not listen");
            std::thread::yield_now();
        }
        Self { child, endpoint: format!("http://{at}"), home }
    }

    fn objects(&self, key: &str) -> Objects {
        let s3 = S3Options {
            endpoint: Some(self.endpoint.clone()),
            region: Some("us-east-1".to_owned()),
            access_key_id: Some(KEY_ID.to_owned()),
            secret_access_key: Some(key.to_owned()),
        };
        let allow = vec!["s3://bucket/in/".to_owned(), "s3://absent".to_owned()];
        Objects::new(&ObjectOptions { allow, max_bytes: 1_000_000, s3 }).unwrap()
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}

fn cx() -> Context {
    Context::detached(TaskId::new("a").unwrap(), TaskType::new("x").unwrap(), "{}").0
}

#[tokio::test]
async fn an_object_of_s3_is_written_and_read_back_whatever_its_name() {
    let gateway = Gateway::start();
    let objects = gateway.objects(KEY);
    let bytes = Bytes::from((0..900_000_u32).map(|n| (n * 7 + n / 251).to_le_bytes()[0]).collect::<Vec<_>>());
    for (name, file) in [("a.bin", "a.bin"), ("deep/er/b.bin", "deep/er/b.bin"), ("%C3%BC%20+%26%3D.bin", "ü +&=.bin")]
    {
        let url = format!("s3://bucket/in/{name}");
        objects.write(&cx(), "target", &url, bytes.clone(), "image/png").await.unwrap();
        assert_eq!(std::fs::read(gateway.home.path().join("root/bucket/in").join(file)).unwrap(), bytes);
        assert_eq!(objects.read(&cx(), "source", &url).await.unwrap(), bytes, "{name}");
    }
}

#[tokio::test]
async fn what_s3_refuses_is_permanent_and_what_it_cannot_do_now_is_not() {
    let mut gateway = Gateway::start();
    let objects = gateway.objects(KEY);
    std::fs::create_dir_all(gateway.home.path().join("root/bucket/in")).unwrap();
    std::fs::write(gateway.home.path().join("root/bucket/in/large"), vec![0; 1_000_001]).unwrap();
    std::fs::write(gateway.home.path().join("root/bucket/secret"), "secret").unwrap();
    for (url, words) in [
        ("s3://bucket/in/nothing", "does not exist"),
        ("s3://absent/nothing", "does not exist"),
        ("s3://bucket/in/large", "has 1000001 bytes; at most 1000000 are allowed"),
        ("s3://bucket/secret", "may not be used"),
        ("s3://bucket/in/../secret", "not a plain name"),
        ("s3://bucket/in/%2e%2e/secret", "not a plain name"),
        ("s3://other/in/a", "may not be used"),
    ] {
        let error = objects.read(&cx(), "source", url).await.unwrap_err();
        assert!(error.is_permanent() && error.message().contains(words), "{error}");
    }
    let error = gateway.objects("wrong").read(&cx(), "source", "s3://bucket/in/large").await.unwrap_err();
    assert!(error.is_permanent() && error.message().contains("worker's credentials"), "{error}");
    assert!(!error.message().contains("wrong"), "{error}");

    gateway.stop();
    let error = objects.read(&cx(), "source", "s3://bucket/in/large").await.unwrap_err();
    assert!(!error.is_permanent(), "{error}");
}

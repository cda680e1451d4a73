//! Configuration that nobody would write: the program says what is wrong with it, with exit code 2, and never panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

use std::process::{Command, Stdio};

use tempfile::TempDir;
use tidemill_tests::program::binary;

const VALUES: [&str; 22] = [
    "''",
    "~",
    "null",
    "-1",
    "1.5",
    "1e400",
    "0x10",
    "99999999999999999999",
    "true",
    "[1, 2]",
    "{a: 1}",
    "\"\\0\"",
    "'\u{202e}'",
    ".inf",
    ".nan",
    "!!binary AAAA",
    "2026-01-01",
    "&a [*a]",
    "|\n  x\n  y",
    "'redis://:@:0/%zz'",
    "'../../etc/passwd'",
    "!include x",
];
const KEYS: [&str; 10] = [
    "app.port",
    "app.host",
    "broker.url",
    "queue.name",
    "executor_service.workers_limit",
    "auth.tokens",
    "log.level",
    "queue.retention.dead.count",
    "app.executor_shutdown_timeout_ms",
    "no.such.key",
];
/// Whole files that are none.
const FILES: [&[u8]; 10] = [
    b"",
    b"\xff\xfe\x00",
    b"app",
    b"- app\n- broker\n",
    b"app: {port: 1\n",
    b"app:\n  port: 1\n  port: 2\n",
    b"a: &a [x, *a]\n",
    b"\t app: 1\n",
    b"---\n---\napp: {}\n",
    b"{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{",
];

/// Checks a configuration by a process of its own: it is good, or wrong in words.
fn check(what: &str, args: &[&str], environment: &[(String, &str)]) {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new("timeout");
    command.arg("20").arg(binary()).arg("config").args(args).current_dir(folder.path()).stdin(Stdio::null());
    command.env_remove("TIDEMILL_CONFIG").envs(environment.iter().map(|(name, value)| (name, value)));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => {}
        Some(2) => assert!(said.trim().len() > 10, "{what}: {said:?} says nothing"),
        other => panic!("{what}: exit code {other:?}: {said}"),
    }
    assert!(!said.contains("panicked"), "{what}: {said}");
}

fn check_file(what: &str, bytes: &[u8]) {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    check(what, &["--config", file.path().to_str().unwrap()], &[]);
}

#[test]
fn a_file_is_good_or_wrong_in_words() {
    for bytes in FILES {
        check_file(&format!("{:?}", String::from_utf8_lossy(bytes)), bytes);
    }
    check_file("deep nesting", "[".repeat(50_000).as_bytes());
    check_file("a bomb of aliases", bomb().as_bytes());
    for key in KEYS {
        let mut text = String::new();
        for (depth, part) in key.split('.').enumerate() {
            text.push_str(if depth > 0 { "\n" } else { "" });
            text.push_str(&"  ".repeat(depth));
            text.push_str(part);
            text.push(':');
        }
        for value in VALUES {
            let whole = format!("{text} {value}\n");
            check_file(&whole, whole.as_bytes());
        }
    }
}

/// Few bytes that stand for very many.
fn bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let under = format!("*a{}, ", level - 1).repeat(9);
        let line = format!("a{level}: &a{level} [{}]\n", under.trim_end_matches(", "));
        text.push_str(&line);
    }
    text
}

#[test]
fn flags_and_environment_are_good_or_wrong_in_words() {
    for key in KEYS {
        for value in VALUES {
            check(&format!("--set {key}={value}"), &["--set", &format!("{key}={value}")], &[]);
            // A variable's value cannot hold a zero byte, which no system would pass on.
            let name = format!("TIDEMILL_{}", key.to_uppercase().replace('.', "_"));
            check(&format!("{name}={value}"), &[], &[(name, value)]);
        }
    }
    for words in [&["--set", ""][..], &["--set", "="], &["--set", "a"], &["--set", "app.port"], &["--set", "=1"]] {
        check(&format!("{words:?}"), words, &[]);
    }
}

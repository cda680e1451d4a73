//! Clocks that are off: Debian's libfaketime, put before a process's C library. It moves the time of day alone; what a process
//! measures by its monotonic clock stays right, as with a clock that somebody set wrong.
//!
//! A program that is linked statically ignores it. So whether a clock is really off is looked at, and not assumed.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::load::tasks::now_ms;

/// How far clocks are off, in milliseconds.
pub const OFF_MS: i64 = 3_600_000;
/// How much of that may be lacking: the time that a process takes to start.
const TOLERANCE_MS: i64 = 60_000;
/// Where the library is found: what the environment names, what was unpacked in the checkout, what is installed.
const PLACES: [&str; 4] = [
    ".tools/faketime/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    ".tools/faketime/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];
/// The variable that names it.
const VARIABLE: &str = "FAKETIME_LIBRARY";

/// The library, if there is one and it moves the clock of this program.
pub fn library() -> Option<PathBuf> {
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    let library = named.into_iter().chain(PLACES.map(PathBuf::from)).find(|path| path.exists())?;
    let library = library.canonicalize().ok()?;
    works(&library).ok().filter(|works| *works).map(|_| library)
}

/// The environment of a process whose clock is off by `skew_ms`.
pub fn environment(library: &std::path::Path, skew_ms: i64) -> [(&'static str, String); 3] {
    let sign = if skew_ms < 0 { '-' } else { '+' };
    [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", format!("{sign}{}", skew_ms.unsigned_abs() / 1_000)),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

fn works(library: &std::path::Path) -> anyhow::Result<bool> {
    let output = Command::new(std::env::current_exe()?).arg("clock").envs(environment(library, OFF_MS)).output()?;
    let shown: i64 = String::from_utf8_lossy(&output.stdout).trim().parse().context("no time was printed")?;
    Ok(is_off(shown, OFF_MS))
}

/// Whether `shown_ms` is a time of now by a clock that is off by `skew_ms`.
pub fn is_off(shown_ms: i64, skew_ms: i64) -> bool {
    let now = i64::try_from(now_ms()).unwrap_or(i64::MAX);
    (shown_ms - now - skew_ms).abs() < TOLERANCE_MS
}

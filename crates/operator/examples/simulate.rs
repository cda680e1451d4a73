//! Replays arrival traces against three ways of choosing the number of worker pods, and prints what tasks waited and
//! what pods cost.
//!
//! ```console
//! $ cargo run --release -p tidemill-operator --example simulate
//! ```
//!
//! The figures are a model's, and the same on every run. `simulate/world.rs` says what it models, `simulate/rules.rs`
//! which rules.

use tidemill_operator::scale;

#[path = "simulate/model.rs"]
mod model;

use model::{Figures, Length, RULES, simulate, traces};

fn main() {
    for trace in traces(Length::Full) {
        println!("{}: {}", trace.name, trace.about);
        println!(
            "{:>12}  {:>8} {:>8} {:>8} {:>8}  {:>11} {:>8} {:>5}",
            "", "wait p50", "p95", "p99", "max", "pod-seconds", "scalings", "peak"
        );
        for rule in RULES {
            let Figures { p50_ms, p95_ms, p99_ms, longest_ms, pod_seconds, scalings, peak, .. } =
                simulate(&trace, rule(&trace));
            println!(
                "{:>12}  {:>8} {:>8} {:>8} {:>8}  {pod_seconds:>11} {scalings:>8} {peak:>5}",
                rule(&trace).name(),
                seconds(p50_ms),
                seconds(p95_ms),
                seconds(p99_ms),
                seconds(longest_ms),
            );
        }
        println!();
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:02} s", ms / 1000, ms % 1000 / 10)
}

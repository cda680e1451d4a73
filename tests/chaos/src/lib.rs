//! Faults under load, and a checker that accounts for every task.
//!
//! ```text
//!   producers ──HTTP──► proxy ──► api ──────► proxy ──┐
//!   producers ────────────────────────────────► proxy ──► redis ◄── observer (beside all faults)
//!   workers, the program's and this harness's ► proxy ──┘
//!        │                                          ▲
//!        └── histories ──► checker      faults ─────┘ kill, freeze, cut, delay, drop, fill, skew
//! ```
//!
//! Everything that runs is a process of its own; the faults are a pure function of a seed ([`plan`](run::plan)). Each process
//! writes down what it does before and after it does it ([`history`]), and when all faults are healed and the queues have
//! drained, the [`checker`] replays that against the invariants of the project's architecture.

pub mod checker;
pub mod cli;
pub mod draw;
pub mod ending;
pub mod history;
pub mod load;
pub mod pass_on;
pub mod proxy;
pub mod recorder;
pub mod run;
pub mod scenario;

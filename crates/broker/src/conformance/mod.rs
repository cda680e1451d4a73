//! The suite that every store must pass: named tests of each clause of the contract, and a random walk against a model.
//!
//! ```text
//!   tests/conformance_<store>.rs ─┬─ conformance_tests!(…) ─► suite/ ─► Scene ─┬─► Backend ─► the store
//!                                 └─ model::random::run(…) ─► walk ────────────┤
//!                                                                             └─► Model, and what both say is compared
//! ```
//!
//! [`harness`] is what a store has to offer to be tested: a clock that the test moves, and a way back to an earlier state.
//! [`suite`] is the list of tests, the same for every store. [`model`] is the contract as plain code in memory.
//! [`backends`] are the stores that there are; [`server`] starts a Redis or Valkey, for tests of other crates too, and
//! [`fleet`] several that form a Cluster or are watched by Sentinels.

// All of this is test code that other crates' tests call: it fails by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

pub mod backends;
pub mod fleet;
pub mod harness;
pub mod model;
pub mod scene;
pub mod server;
pub mod suite;

pub use harness::{Backend, Snapshot};
pub use scene::Scene;

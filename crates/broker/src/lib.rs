//! The broker contract, and the stores that keep it.
//!
//! ```text
//!   producers ── enqueue ──►┌────────┐◄── exchange, wait, heartbeat ── workers
//!   people ── reads, controls ►│ Broker │── subscribe ──► whoever watches
//!   everyone ── maintain ──►└────────┘
//! ```
//!
//! [`Broker`] is the contract. Two stores keep it: [`redis`] (Redis and Valkey, 7 or later) and [`embedded`] (SQLite).
//! The same suite, [`conformance`], proves both, a random walk against an in-memory model included. [`Measured`] times whichever it
//! is. This crate knows
//! what a task is (from `tidemill-core`) and nothing of handlers, HTTP or Kubernetes.

pub mod connect;
pub mod contract;
pub mod embedded;
pub mod error;
pub mod measured;
pub mod redis;
pub mod subscription;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use connect::{Access, Authorities, DEFAULT_URL, Durability, connect, connect_with};
pub use contract::{
    Broker, Cancelled, Deleted, Enqueued, Exchange, Exchanged, Heartbeat, ListQuery, Lost, Maintained, Ownership, Page,
    Requeued, Settled,
};
pub use error::{BrokerError, Result};
pub use measured::{Call, Measured};
pub use subscription::{Delivery, Publisher, Subscription};

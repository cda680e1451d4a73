//! The parallel executor: it keeps a number of slots filled with tasks of one queue.
//!
//! ```text
//!            ┌───────────────────────────── one loop ─────────────────────────────┐
//!  broker ◄──┤ exchange: settle what ended + claim for the free slots, one at a time │──► slots ──► handlers
//!         ◄──┤ wait, when there is nothing to claim                                 │◄── ended ───┘
//!            └───────▲─────────────────────────────────────────────────────────────┘
//!         ◄── heartbeat (keeps the lease, brings cancellations)   ◄── upkeep (maintenance, settings)
//! ```
//!
//! What users write is a [`Handler`]; a [`Registry`] says which task type it serves; an [`Executor`] runs them:
//!
//! - [`handler`], [`context`], [`registry`]: what a handler is and is handed;
//! - [`executor`]: where it begins and ends; [`options`], [`status`]: what it is told and tells;
//! - inside: the loop, the slots, the supervision of one attempt, the session with the store (an incarnation and its
//!   numbered exchanges), the heartbeat, the upkeep, the drain, the instruments that measure all of it.
//!
//! It knows the broker contract and nothing of a particular store, of particular task types, or of HTTP.

mod attempt;
pub mod context;
pub mod executor;
pub mod handler;
mod heartbeat;
mod instruments;
mod journal;
mod link;
pub mod options;
mod progress;
pub mod pulse;
pub mod registry;
pub mod report;
mod session;
mod slots;
pub mod status;
mod stock;
pub mod threads;
mod upkeep;
mod work;

pub use async_trait::async_trait;
pub use context::Context;
pub use executor::Executor;
pub use handler::{Handler, HandlerError, HandlerResult, OrFail, Output, RESULT_MAX_BYTES};
pub use options::ExecutorOptions;
pub use pulse::Pulse;
pub use registry::{Registry, RegistryError};
pub use report::Report;
pub use status::{Metrics, Status};
pub use threads::Threads;

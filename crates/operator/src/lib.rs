//! The operator: `TaskQueue` resources become worker pods that come and go with the work.
//!
//! ```text
//!   TaskQueue ─► dereference ─► validate ─► plan ─► apply ─► status
//!                (Secrets)                 (pure)  (server-side apply)
//!   broker ◄──► gauge ─► scale (pure: the autoscaler) ─► how many pods
//! ```
//!
//! It knows a TaskQueue and a broker's contract, and nothing of handlers or HTTP clients. Of several operators one leads
//! (`leader`); `controller` wires everything together.

pub mod apply;
pub mod brokers;
pub mod client;
mod controller;
pub mod crd;
pub mod dereference;
pub mod events;
mod finalize;
pub mod gauge;
pub mod http;
pub mod leader;
mod memo;
pub mod metrics;
mod options;
pub mod plan;
mod reconcile;
pub mod scale;
pub mod status;
pub mod validate;

pub use controller::{Listen, OperatorError, Process, run};
pub use options::{OperatorOptions, TraceSettings};

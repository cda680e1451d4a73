//! What the processes of Tidemill have in common, whether the program runs them or a worker of one's own.
//!
//! ```text
//!   arguments, environment, file ──► config ──► process: logs, traces, runtime ──► a role ──► drain ──► logs flushed
//!                                                          signals ──► stop, abort ──┘
//! ```
//!
//! - [`args`] and [`config`]: the layers of settings, laid over each other by [`resolve`];
//! - [`process`], [`sight`], [`signals`]: how a process begins and ends; [`exit`] says how it ended;
//! - [`store`], [`queue`], [`options`]: what a role is built from; [`drain`]: its last words;
//! - [`worker`]: the role that `tidemill worker` and every worker of one's own has.
//!
//! It knows no task type: a worker is handed its registry. It belongs to the program as much as to the library, so its
//! errors are `anyhow`'s, with [`exit::Exit`] where the kind of end matters.

mod address;
pub mod args;
pub mod config;
pub mod drain;
pub mod exit;
pub mod options;
pub mod process;
pub mod queue;
pub mod resolve;
pub mod sight;
pub mod signals;
pub mod store;
pub mod worker;

pub use address::local_url;
pub use resolve::resolve;

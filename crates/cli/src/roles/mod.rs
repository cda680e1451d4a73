//! The processes: what each is built from, and how it ends.
//!
//! All of them go the same way: configuration → logs → broker → port → announce → run until a signal → drain → close the
//! broker → say what became of the tasks → flush the logs; [`tidemill_process`] has what they share. [`standalone`] has
//! API and executor, [`api`] the one, [`worker`] the other; [`operator`] keeps worker pods on Kubernetes.

pub mod api;
pub mod config;
mod handlers;
pub mod operator;
mod parts;
pub mod standalone;
pub mod worker;

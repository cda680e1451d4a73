//! The API over real sockets, in front of the embedded store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on fails in these ways

mod enqueue;
mod guards;
mod hostile;
mod liveness;
mod outage;
mod plain;
mod resources;
mod schedule;
mod shutdown;
mod sockets;
mod support;

//! The API over real sockets, in front of the embedded store.

mod enqueue;
mod guards;
mod outage;
mod plain;
mod resources;
mod schedule;
mod shutdown;
mod sockets;
mod support;

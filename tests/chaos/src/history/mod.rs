//! What happened, as those who did it wrote it down: one file per process and life, one record a line, each line one
//! `write` before or after the act that it tells of. What a killed process wrote stays.
//!
//! Times are microseconds since the Unix epoch by this machine's clock. A process whose clock is off on purpose knows by how
//! much and writes the true time.

pub mod program_log;
pub mod read;
pub mod record;
pub mod writer;

pub use read::{Entry, read};
pub use record::{Answer, Claimed, Finished, Handed, LostClaim, Record, SeenWorker, Start};
pub use writer::Writer;

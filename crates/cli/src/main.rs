//! The `tidemill` program.

use std::process::ExitCode;

// Many small allocations on many threads: musl's own allocator, which the static binary would have, serves them slowly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tidemill_cli::run()
}

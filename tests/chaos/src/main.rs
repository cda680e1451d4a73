//! Faults under load, and a checker that accounts for every task: see the library.

fn main() -> std::process::ExitCode {
    tidemill_chaos::cli::main()
}

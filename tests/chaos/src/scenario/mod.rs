//! Scenarios of their own, for what does not go with everything else at once.

mod disk_full;
mod room;

/// Which scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Name {
    /// The embedded store on a file system that fills up, and then has room again.
    DiskFull,
}

/// Runs a scenario, prints what came of it, and says whether everything held.
pub async fn run(name: Name) -> anyhow::Result<bool> {
    match name {
        Name::DiskFull => tokio::task::spawn_blocking(disk_full::run).await?,
    }
}

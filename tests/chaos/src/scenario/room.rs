//! A small file system in memory, which fills up.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use tempfile::TempDir;

/// A folder whose room ends soon, until it is widened.
#[derive(Debug)]
pub(super) struct Room {
    folder: TempDir,
}

impl Room {
    /// A file system of `bytes`. Mounting one needs root.
    pub(super) fn new(bytes: u64) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size(bytes), "tidemill-chaos"]).arg(folder.path()))?;
        Ok(Self { folder })
    }

    /// Where a store may be.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Makes it `bytes` large.
    pub(super) fn widen(&self, bytes: u64) -> anyhow::Result<()> {
        run(Command::new("mount").args(["-o", &format!("remount,{}", size(bytes))]).arg(self.folder.path()))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("umount").arg("--lazy").arg(self.folder.path())) {
            eprintln!("{error:#}");
        }
    }
}

fn size(bytes: u64) -> String {
    format!("size={bytes}")
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| command.get_program().display().to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{}: {}", command.get_program().display(), said.trim());
    Ok(())
}

//! Writes the reference pages of the documentation into a folder: `make docs` does it.

use std::path::Path;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).context("name the folder: docs/src/reference")?;
    for page in tidemill_cli::reference::pages()? {
        let path = Path::new(&folder).join(page.file);
        std::fs::write(&path, page.text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

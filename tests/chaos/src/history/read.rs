//! Reads the histories of a run and puts them into one order.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde::Deserialize;

use super::program_log;
use super::record::Record;
use super::writer::SUFFIX;

/// A record, when it was written and by whom.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Microseconds since the Unix epoch.
    pub at_us: u64,
    /// The name and life of the process.
    pub by: Arc<str>,
    /// What.
    pub record: Record,
}

#[derive(Deserialize)]
struct Line {
    at: u64,
    is: Record,
}

/// All histories of a folder and the task lines of the program's logs beside them, by time.
pub fn read(folder: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut logs = Vec::new();
    for file in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = file?.path();
        let by = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some(SUFFIX) => read_history(&path, &Arc::from(by), &mut entries)?,
            Some(program_log::SUFFIX) => logs.push((path, by)),
            _ => {}
        }
    }
    let skews: HashMap<String, i64> = entries
        .iter()
        .filter_map(|entry| match &entry.record {
            Record::Spawned { process, skew_ms } => Some((process.clone(), *skew_ms)),
            _ => None,
        })
        .collect();
    for (path, by) in logs {
        let skew_ms = skews.get(&by).copied().unwrap_or(0);
        let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
        program_log::read(&String::from_utf8_lossy(&text), &Arc::from(by), skew_ms, &mut entries);
    }
    entries.sort_by_key(|entry| entry.at_us);
    Ok(entries)
}

fn read_history(path: &Path, by: &Arc<str>, entries: &mut Vec<Entry>) -> anyhow::Result<()> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        // A kill in the midst of a write may leave a part of the last line.
        if line.last() != Some(&b'\n') {
            continue;
        }
        let Line { at, is } =
            serde_json::from_slice(line).with_context(|| format!("{}:{}", path.display(), number + 1))?;
        entries.push(Entry { at_us: at, by: Arc::clone(by), record: is });
    }
    Ok(())
}

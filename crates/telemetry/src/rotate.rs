//! A file of lines that is rotated by size: `logs.txt`, then `logs.txt.1` (the newest past one), `logs.txt.2`, …
//!
//! A write that fails (a full disk, a folder that went away) leaves no torn line behind, and the next one opens the file
//! anew, so that whoever mends the disk need not touch the program.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::queue::Sink;

/// A file that is followed by its past selves.
#[derive(Debug)]
pub struct RotatedFile {
    path: PathBuf,
    max_bytes: u64,
    files: usize,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Bytes of whole lines.
    size: u64,
    /// Whether this is a file that can be cut and renamed (a device cannot).
    regular: bool,
}

impl RotatedFile {
    /// The file at `path`, of at most `max_bytes` (a longer line has a file of its own), beside which at most
    /// `files - 1` past ones are kept. Nothing is opened yet.
    pub fn new(path: impl Into<PathBuf>, max_bytes: u64, files: usize) -> Self {
        Self { path: path.into(), max_bytes: max_bytes.max(1), files: files.max(1), open: None }
    }

    fn opened(&mut self) -> io::Result<&mut Open> {
        match self.open {
            Some(ref mut open) => Ok(open),
            None => Ok(self.open.insert(open(&self.path)?)),
        }
    }

    /// Moves each past file one further, forgets the last, and begins anew.
    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        if self.files == 1 {
            return remove(&self.path);
        }
        remove(&self.past(self.files - 1))?;
        for number in (1..self.files - 1).rev() {
            rename(&self.past(number), &self.past(number + 1))?;
        }
        rename(&self.path, &self.past(1))
    }

    fn past(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }

    /// How much of `lines` still belongs into the present file: whole lines only, at least one in an empty file.
    fn room(lines: &[u8], size: u64, max_bytes: u64) -> usize {
        let free = usize::try_from(max_bytes.saturating_sub(size)).unwrap_or(usize::MAX);
        if lines.len() <= free {
            return lines.len();
        }
        match lines[..free].iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if size == 0 => lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1),
            None => 0,
        }
    }
}

impl Sink for RotatedFile {
    fn write_lines(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        let max_bytes = self.max_bytes;
        let mut done = 0;
        while done < lines.len() {
            let step = self.opened().and_then(|open| {
                let room =
                    if open.regular { Self::room(&lines[done..], open.size, max_bytes) } else { lines.len() - done };
                open.append(&lines[done..done + room]).map(|()| room)
            });
            let step = match step {
                Ok(0) => self.rotate().map(|()| 0),
                other => other,
            };
            match step {
                Ok(written) => done += written,
                Err(error) => {
                    self.open = None;
                    return (done, Err(error));
                }
            }
        }
        (done, Ok(()))
    }

    fn sync(&mut self) -> io::Result<()> {
        match &self.open {
            Some(open) if open.regular => open.file.sync_data(),
            _ => Ok(()),
        }
    }
}

impl Open {
    /// Writes `lines` whole or leaves the file as it was.
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(lines);
        if written.is_ok() {
            self.size += lines.len() as u64;
        } else if self.regular {
            self.file.set_len(self.size)?;
        }
        written
    }
}

fn open(path: &Path) -> io::Result<Open> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let regular = file.metadata()?.is_file();
    let size = if regular { file.seek(SeekFrom::End(0))? } else { 0 };
    Ok(Open { file, size, regular })
}

fn remove(path: &Path) -> io::Result<()> {
    missing_is_fine(std::fs::remove_file(path))
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    missing_is_fine(std::fs::rename(from, to))
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(folder: &Path) -> Vec<(String, String)> {
        let mut all: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap()))
            .collect();
        all.sort();
        all
    }

    #[test]
    fn a_full_file_becomes_the_newest_past_one_and_the_oldest_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = RotatedFile::new(folder.path().join("log"), 10, 3);
        for batch in ["one 1\ntwo 2\n", "three\n", "four4\nfive5\nsix 6\n"] {
            let (done, result) = file.write_lines(batch.as_bytes());
            assert!(result.is_ok());
            assert_eq!(done, batch.len());
        }
        let expected = [("log", "six 6\n"), ("log.1", "five5\n"), ("log.2", "four4\n")];
        assert_eq!(texts(folder.path()), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn a_file_that_is_there_already_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "old\n").unwrap();
        let mut file = RotatedFile::new(&path, 100, 2);
        assert!(file.write_lines(b"new\n").1.is_ok());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old\nnew\n");
    }

    #[test]
    fn a_line_longer_than_a_file_may_be_has_one_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = RotatedFile::new(folder.path().join("log"), 4, 3);
        assert!(file.write_lines(b"a\nlong line\nb\n").1.is_ok());
        let expected = [("log", "b\n"), ("log.1", "long line\n"), ("log.2", "a\n")];
        assert_eq!(texts(folder.path()), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn a_full_device_is_an_error_that_says_how_much_was_written() {
        let mut file = RotatedFile::new("/dev/full", 100, 2);
        let (done, result) = file.write_lines(b"line\n");
        assert_eq!(done, 0);
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}

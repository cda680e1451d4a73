//! The outbox: a folder of .eml files in place of a mail server, so that a first run leaves something to open.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// Longest part of a file name or Message-ID that is made of a task id; of a longer one the rest becomes a digest.
const NAME_MAX: usize = 96;

/// A folder that keeps letters.
#[derive(Debug, Clone)]
pub struct Outbox {
    folder: PathBuf,
}

impl Outbox {
    /// The outbox in `folder`, which is made with the first letter.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Keeps `letter` as `name`, in one step: a reader never sees half of one. Replaces a letter of that name.
    pub fn put(&self, name: &str, letter: &[u8]) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(name);
        let draft = self.folder.join(format!(".{}.draft", uuid::Uuid::new_v4().simple()));
        let written = write(&draft, letter).and_then(|()| fs::rename(&draft, &path));
        if let Err(error) = written {
            if let Err(left) = fs::remove_file(&draft) {
                tracing::debug!(error = %left, draft = %draft.display(), "a draft is left in the outbox");
            }
            return Err(error);
        }
        File::open(&self.folder)?.sync_all()?;
        Ok(path)
    }
}

fn write(path: &Path, letter: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(letter)?;
    file.sync_all()
}

/// The file name of the letter of `task`, which came at `enqueued_at_ms`: the same whenever the task is repeated.
pub fn letter_name(enqueued_at_ms: u64, task: &str) -> String {
    let at = i64::try_from(enqueued_at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    format!("{}-{}.eml", at.strftime("%Y%m%dT%H%M%S.%3fZ"), plain(task))
}

/// `text` in letters, digits, `-`, `_` and `%`: fit for file names and Message-IDs, and different for different texts.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            plain.push(char::from(byte));
        } else {
            plain.push('%');
            push_hex(&mut plain, byte, b"0123456789ABCDEF");
        }
    }
    if plain.len() > NAME_MAX {
        let digest = Sha256::digest(text);
        plain.truncate(NAME_MAX - 33);
        plain.push('-');
        for byte in &digest[..16] {
            push_hex(&mut plain, *byte, b"0123456789abcdef");
        }
    }
    plain
}

fn push_hex(text: &mut String, byte: u8, digits: &[u8; 16]) {
    text.extend([byte >> 4, byte & 15].map(|digit| char::from(digits[usize::from(digit)])));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_no_path_and_tells_tasks_apart() {
        assert_eq!(letter_name(1_790_000_000_123, "a1"), "20260921T141320.123Z-a1.eml");
        assert_eq!(plain("../../etc/passwd"), "%2E%2E%2F%2E%2E%2Fetc%2Fpasswd");
        assert_ne!(plain("a/b"), plain("a_b"));
        let (one, other) = (plain(&"é".repeat(128)), plain(&"é".repeat(127)));
        assert_eq!(one.len(), NAME_MAX);
        assert_ne!(one, other);
    }

    #[test]
    fn a_letter_is_kept_whole_without_a_draft_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let outbox = Outbox::new(home.path().join("deep/outbox"));
        let path = outbox.put("a.eml", b"one").unwrap();
        outbox.put("a.eml", b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}

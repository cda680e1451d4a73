//! Secrets by their names: a folder of files, such as Kubernetes mounts of a Secret. They are read when they are used, so
//! that a change of one needs no restart.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use tidemill_executor::HandlerError;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

/// Longest name, as of a key in a Secret.
const NAME_MAX: usize = 253;
/// Largest secret, in bytes: beyond a key or a token it is something else.
const SECRET_MAX: u64 = 16 * 1024;

/// The folder of secrets.
#[derive(Debug)]
pub(super) struct Secrets(Option<PathBuf>);

impl Secrets {
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self(folder)
    }

    /// The secret of this name, without the line break at its end. The error names the `member` of the payload that asks
    /// for it.
    pub(super) async fn get(&self, member: &str, name: &str) -> Result<String, HandlerError> {
        let refused = |why: String| HandlerError::permanent(format!("payload.{member}: {why}"));
        let Some(folder) = &self.0 else {
            return Err(refused("this worker has no secrets; http_request.secrets names their folder".to_owned()));
        };
        let proper = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > NAME_MAX || name.starts_with('.') || !name.chars().all(proper) {
            let why = "is not a name of a secret: letters, digits, '-', '_' and '.', which is not the first";
            return Err(refused(format!("{name:?} {why}")));
        }
        let mut text = String::new();
        let read = async { File::open(folder.join(name)).await?.take(SECRET_MAX + 1).read_to_string(&mut text).await };
        let length = read.await.map_err(|error| unread(member, name, &error))?;
        if length as u64 > SECRET_MAX {
            return Err(refused(format!("the secret {name} has more than {SECRET_MAX} bytes")));
        }
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        if text.is_empty() {
            return Err(refused(format!("the secret {name} is empty")));
        }
        Ok(text)
    }
}

/// Whether a secret is there is up to whoever runs the worker; a machine that has no file left to open, or whose disk fails
/// once, may have it at the next attempt.
fn unread(member: &str, name: &str, error: &io::Error) -> HandlerError {
    let words = format!("payload.{member}: the secret {name} cannot be read: {error}");
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::IsADirectory | ErrorKind::InvalidData => {
            HandlerError::permanent(words)
        }
        _ => HandlerError::transient(words),
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_machine_in_trouble_is_no_fault_of_the_task() {
        for (errno, permanent) in [(Errno::MFILE, false), (Errno::IO, false), (Errno::NOENT, true), (Errno::ACCESS, true)] {
            assert_eq!(unread("headers", "key", &errno.into()).is_permanent(), permanent, "{errno}");
        }
    }

    #[tokio::test]
    async fn a_name_leads_to_a_file_of_the_folder_and_to_no_other() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("secrets");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(home.path().join("outside"), "x").unwrap();
        std::fs::write(folder.join("key.pem-1_a"), "grist\r\n").unwrap();
        std::fs::write(folder.join("large"), "x".repeat(20_000)).unwrap();
        std::fs::write(folder.join("empty"), "\n").unwrap();
        std::fs::write(folder.join("bytes"), b"\xff").unwrap();
        std::fs::create_dir(folder.join("inner")).unwrap();
        let secrets = Secrets::new(Some(folder));
        assert_eq!(secrets.get("headers", "key.pem-1_a").await.unwrap(), "grist");
        let improper = ["", ".", "..", "../outside", "/etc/passwd", "a/b", "a\\b", "..data", "a\0", "é", &"a".repeat(254)];
        for name in improper {
            let error = secrets.get("headers", name).await.unwrap_err();
            assert!(error.is_permanent() && error.message().contains("is not a name of a secret"), "{error}");
        }
        for (name, why) in [("missing", "cannot be read"), ("bytes", "cannot be read"), ("inner", "cannot be read"), ("large", "more than 16384 bytes"), ("empty", "is empty")] {
            let error = secrets.get("signature", name).await.unwrap_err();
            assert!(error.is_permanent() && error.message().contains(why), "{error}");
        }
        let none = Secrets::new(None).get("signature", "a").await.unwrap_err();
        assert_eq!(none.message(), "payload.signature: this worker has no secrets; http_request.secrets names their folder");
    }
}

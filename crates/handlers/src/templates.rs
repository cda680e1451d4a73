//! Templates of the worker's own folders, which tasks name.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use tidemill_executor::HandlerError;

/// Largest template, in bytes: a book has less.
const TEMPLATE_MAX: u64 = 1 << 20;
/// Longest name: what file systems take, with room for what it ends on.
const NAME_MAX: usize = 200;

/// A template that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    /// It is a name that could be more than one.
    #[error("{0:?} is not a plain name: letters, digits, - and _, with dots between them")]
    Name(String),
    /// There is none.
    #[error("there is no template {name:?}: the worker has no file {file}")]
    Missing {
        /// What the task asked for.
        name: String,
        /// Where it would be.
        file: String,
    },
    /// It is no text, or too much.
    #[error("the template {name:?} cannot be used: {reason}")]
    Unusable {
        /// What the task asked for.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be read now.
    #[error("the template {name:?} cannot be read: {reason}")]
    Unreadable {
        /// What the task asked for.
        name: String,
        /// Why.
        reason: std::io::Error,
    },
}

impl TemplateError {
    /// The same, as the error of a task.
    pub(crate) fn about_payload(self) -> HandlerError {
        let words = format!("payload.template: {self}");
        if matches!(self, Self::Unreadable { .. }) {
            HandlerError::transient(words)
        } else {
            HandlerError::permanent(words)
        }
    }
}

/// The text of the template `name` of `folder`, the file `NAME.EXTENSION`. `None` where there is no such file.
pub(crate) fn find(folder: &Path, name: &str, extension: &str) -> Result<Option<String>, TemplateError> {
    plain_name(name)?;
    let unreadable = |reason| TemplateError::Unreadable { name: name.to_owned(), reason };
    let file = match File::open(folder.join(format!("{name}.{extension}"))) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let unusable = |reason: String| TemplateError::Unusable { name: name.to_owned(), reason };
    let mut bytes = Vec::new();
    file.take(TEMPLATE_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > TEMPLATE_MAX {
        return Err(unusable(format!("it has more than {TEMPLATE_MAX} bytes")));
    }
    String::from_utf8(bytes).map(Some).map_err(|error| unusable(error.to_string()))
}

/// The same, where the template must be there.
pub(crate) fn read(folder: &Path, name: &str, extension: &str) -> Result<String, TemplateError> {
    find(folder, name, extension)?.ok_or_else(|| missing(folder, name, extension))
}

/// What is said where there is none.
pub(crate) fn missing(folder: &Path, name: &str, extension: &str) -> TemplateError {
    let file = folder.join(format!("{name}.{extension}")).display().to_string();
    TemplateError::Missing { name: name.to_owned(), file }
}

/// Whether `name` is one, and no path.
pub(crate) fn plain_name(name: &str) -> Result<(), TemplateError> {
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if name.len() <= NAME_MAX && name.split('.').all(plain) {
        Ok(())
    } else {
        Err(TemplateError::Name(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_a_file_of_its_folder_and_of_no_other() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("templates");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("invoice.v2.typ"), "Hello").unwrap();
        std::fs::write(home.path().join("secret.typ"), "secret").unwrap();
        assert_eq!(read(&folder, "invoice.v2", "typ").unwrap(), "Hello");
        for name in ["../secret", "/etc/passwd", "..", "", ".hidden", "a/b", "a\\b", "a\0", "..\\secret", "%2e%2e"] {
            assert!(matches!(read(&folder, name, "typ"), Err(TemplateError::Name(_))), "{name:?}");
        }
        let missing = read(&folder, "letter", "typ").unwrap_err().to_string();
        assert!(missing.contains("there is no template \"letter\"") && missing.contains("letter.typ"), "{missing}");
    }
}

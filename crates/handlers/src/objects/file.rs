//! Objects that are files.
//!
//! The way from the operator's folder to the file is walked folder by folder, each opened from the one before and none
//! through a symbolic link: whatever is swapped for a link in the meantime is refused too. (`object_store` follows them.)

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use bytes::Bytes;
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, open, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::{Trouble, check_size};

/// Rights of folders and files that are made, less the umask.
const FOLDER: Mode = Mode::from_raw_mode(0o777);
const FILE: Mode = Mode::from_raw_mode(0o666);

/// A file: a folder to begin in, and names from there, at least one.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) root: PathBuf,
    pub(super) way: Vec<String>,
}

pub(super) fn read(place: &Place, max: u64) -> Result<Bytes, Trouble> {
    let (folder, name) = walk(place, false)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(&folder, name, flags, Mode::empty()).map_err(judge)?);
    let metadata = file.metadata().map_err(|error| judge_io(&error))?;
    if !metadata.is_file() {
        return Err(Trouble::for_good("is not a file"));
    }
    check_size(metadata.len(), max)?;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| judge_io(&error))?;
    check_size(bytes.len() as u64, max)?;
    Ok(bytes.into())
}

pub(super) fn write(place: &Place, bytes: &[u8]) -> Result<(), Trouble> {
    let (folder, name) = walk(place, true)?;
    let draft = format!(".{}.draft", uuid::Uuid::new_v4().simple());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(&folder, &draft, flags, FILE).map_err(judge)?);
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| Ok(renameat(&folder, &draft, &folder, name)?));
    if let Err(error) = written {
        if let Err(left) = unlinkat(&folder, &draft, AtFlags::empty()) {
            tracing::debug!(error = %left, draft, "a draft of an object is left behind");
        }
        return Err(judge_io(&error));
    }
    File::from(folder).sync_all().map_err(|error| judge_io(&error))
}

/// The folder that the file is in, and the file's name.
fn walk(place: &Place, make: bool) -> Result<(OwnedFd, &str), Trouble> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Some((name, folders)) = place.way.split_last() else { return Err(Trouble::for_good("names no file")) };
    if make {
        std::fs::create_dir_all(&place.root).map_err(|error| judge_io(&error))?;
    }
    let mut folder = open(&place.root, flags, Mode::empty()).map_err(judge)?;
    for next in folders {
        if make {
            match mkdirat(&folder, next, FOLDER) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(judge(error)),
            }
        }
        folder = openat(&folder, next, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(judge)?;
    }
    Ok((folder, name))
}

fn judge(error: Errno) -> Trouble {
    judge_io(&io::Error::from(error))
}

fn judge_io(error: &io::Error) -> Trouble {
    let for_good = matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::InvalidFilename
    );
    if Errno::from_io_error(error) == Some(Errno::LOOP) {
        return Trouble::for_good("is or passes a symbolic link, which is not followed below objects.allow");
    }
    if for_good {
        Trouble::for_good(format!("cannot be used: {error}"))
    } else {
        Trouble::for_now(format!("cannot be used now: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: &std::path::Path, way: &[&str]) -> Place {
        Place { root: root.to_owned(), way: way.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn a_file_is_kept_whole_in_folders_that_are_made_for_it() {
        let home = tempfile::tempdir().unwrap();
        let place = place(&home.path().join("root"), &["deep", "er", "a.bin"]);
        write(&place, b"one").unwrap();
        write(&place, b"two").unwrap();
        assert_eq!(read(&place, 3).unwrap(), "two");
        assert_eq!(std::fs::read_dir(home.path().join("root/deep/er")).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_file_beyond_the_limit_a_folder_and_a_pipe_are_refused_for_good() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("a"), "four").unwrap();
        std::fs::create_dir(home.path().join("folder")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, home.path().join("pipe"), rustix::fs::FileType::Fifo, FILE, 0).unwrap();
        for (name, words) in
            [("a", "has 4 bytes"), ("folder", "is not a file"), ("pipe", "is not a file"), ("b", "cannot be")]
        {
            let error = read(&place(home.path(), &[name]), 3).unwrap_err();
            assert!(error.permanent && error.words.starts_with(words), "{error:?}");
        }
    }

    #[test]
    fn no_symbolic_link_leads_out_or_is_written_through() {
        let home = tempfile::tempdir().unwrap();
        let (inside, outside) = (home.path().join("in"), home.path().join("out"));
        for folder in [&inside, &outside] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(outside.join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("way")).unwrap();
        std::os::unix::fs::symlink(outside.join("secret"), inside.join("link")).unwrap();
        for way in [&["way", "secret"][..], &["link"]] {
            let error = read(&place(&inside, way), 100).unwrap_err();
            assert!(error.permanent, "{error:?}");
        }
        assert!(write(&place(&inside, &["way", "new"]), b"x").unwrap_err().permanent);
        assert!(!outside.join("new").exists());
        write(&place(&inside, &["link"]), b"x").unwrap();
        assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"secret", "the link is replaced, not followed");
    }
}

//! Temporary directories that only their owner can read.
//!
//! A process holds a kernel lock on its directory. A later process removes directories that no process holds: their
//! process was killed.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tempfile::{Builder, TempDir};

/// The start of the names of these directories.
const PREFIX: &str = "cxnpoll-copy-";

/// A directory, mode 0700, that is removed when this is dropped.
#[derive(Debug)]
pub struct PrivateTempDir {
    dir: TempDir,
    /// It is held until the directory is removed.
    _lock: File,
}

impl PrivateTempDir {
    /// Creates a directory. Removes those that killed processes left.
    ///
    /// # Errors
    /// Those of creating it.
    pub fn create() -> io::Result<Self> {
        Self::create_in(&Self::parent())
    }

    fn create_in(parent: &Path) -> io::Result<Self> {
        remove_abandoned(parent);
        loop {
            let dir = Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(0o700)).tempdir_in(parent)?;
            let lock = match File::open(dir.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            // Where the file system has no locks, other processes do not remove it.
            let _ = lock.lock();
            // Another process may have removed it before it was locked.
            if dir.path().is_dir() {
                return Ok(Self { dir, _lock: lock });
            }
        }
    }

    /// The directory of temporary files, in which all of them are: `TMPDIR`, or `/tmp`.
    #[must_use]
    pub fn parent() -> PathBuf {
        tempfile::env::temp_dir()
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes the directories that killed processes left. That one cannot be removed does no harm.
fn remove_abandoned(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            let _ = remove_if_abandoned(&entry.path());
        }
    }
}

fn remove_if_abandoned(path: &Path) -> io::Result<()> {
    // In a directory of several users it may be a link or a pipe.
    let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits().cast_signed();
    let dir = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let is_ours = dir.metadata()?.uid() == rustix::process::geteuid().as_raw();
    if is_ours && dir.try_lock().is_ok() { fs::remove_dir_all(path) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_directories_that_no_process_holds_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let path = |name: &str| parent.path().join(name);
        fs::create_dir_all(path("cxnpoll-copy-Abc123/db-1")).unwrap();
        fs::create_dir_all(path("other/db-1")).unwrap();
        fs::write(path("cxnpoll-copy-file"), "").unwrap();
        symlink("other", path("cxnpoll-copy-link")).unwrap();
        let held = PrivateTempDir::create_in(parent.path()).unwrap();
        fs::write(held.path().join("db"), "").unwrap();
        let second = PrivateTempDir::create_in(parent.path()).unwrap();
        assert!(!path("cxnpoll-copy-Abc123").exists() && held.path().join("db").exists());
        for name in ["other/db-1", "cxnpoll-copy-file", "cxnpoll-copy-link"] {
            assert!(path(name).exists(), "{name}");
        }
        assert_eq!(fs::metadata(held.path()).unwrap().mode() & 0o777, 0o700);
        drop((held, second));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 3);
    }
}

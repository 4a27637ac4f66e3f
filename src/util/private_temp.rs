//! Temporary directories that only their owner can read.
//!
//! A process holds a kernel lock on its directory. A later process removes directories that no process holds: their
//! process was killed. SIGHUP, SIGINT and SIGTERM end the process after the directories are removed, unless it handles them.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};
use tempfile::{Builder, TempDir};

use super::signal::is_ignored;

/// The start of the names of these directories.
const PREFIX: &str = "cxnpoll-copy-";

/// How soon after a signal the directories are removed.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(20);

/// How often the removal of a directory is tried, while the process still creates files in it.
const MAX_REMOVALS: usize = 1000;

/// The directories of this process, which a signal removes.
static DIRS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
/// Starts [`watch_signals`] once.
static WATCHED: Once = Once::new();

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
        WATCHED.call_once(watch_signals);
        Self::create_in(&Self::parent())
    }

    /// Creates a directory in `parent`, for a process that handles the signals itself.
    ///
    /// # Errors
    /// As [`PrivateTempDir::create`].
    pub fn create_in(parent: &Path) -> io::Result<Self> {
        remove_abandoned(parent);
        // A signal waits until the directory is known.
        let mut dirs = DIRS.lock().unwrap_or_else(PoisonError::into_inner);
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
                dirs.push(dir.path().to_owned());
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

/// Makes SIGHUP, SIGINT and SIGTERM remove the directories before they end the process.
///
/// Where the system starts no thread, a later process removes them.
fn watch_signals() {
    let received = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&received);
    let wait_and_remove = move || loop {
        thread::sleep(SIGNAL_INTERVAL);
        let signal = i32::try_from(seen.load(Ordering::Relaxed)).unwrap_or_default();
        if signal != 0 {
            // The lock is held until the process ends, so that it creates no other directory.
            let dirs = DIRS.lock().unwrap_or_else(PoisonError::into_inner);
            dirs.iter().for_each(|dir| remove_in_use(dir));
            // Meanwhile another thread may have created a directory again, with those above it.
            thread::sleep(SIGNAL_INTERVAL);
            dirs.iter().for_each(|dir| remove_in_use(dir));
            let _ = low_level::emulate_default_handler(signal);
        }
    };
    if thread::Builder::new().spawn(wait_and_remove).is_ok() {
        for signal in [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| !is_ignored(*signal)) {
            // Where the system allows no handler, the signal ends the process at once.
            let _ = flag::register_usize(signal, Arc::clone(&received), usize::try_from(signal).unwrap_or_default());
        }
    }
}

/// Removes a directory in which another thread may still create files.
fn remove_in_use(dir: &Path) {
    for _ in 0..MAX_REMOVALS {
        if fs::remove_dir_all(dir).is_ok() || !dir.exists() {
            return;
        }
    }
}

/// Removes the directories that killed processes left. That one cannot be removed does no harm.
pub fn remove_abandoned(parent: &Path) {
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

//! One run per job and range of batch codes.
//!
//! A lock file stands for one app, one job and one range. A run holds the file of its own range, and only while no file
//! of the same app and job with an overlapping range is held. The kernel releases the locks of a process that ends.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use sha2::{Digest, Sha256};

use crate::model::{AppId, BatchCode, JobName};
use crate::util::file_error::{FileError, FileOp};
use crate::util::lock::{Backoff, FileLock, Mode};

/// Excludes the runs that choose their lock at the same time.
const DIRECTORY_LOCK: &str = "folder.lock";
/// How long to wait for [`DIRECTORY_LOCK`].
const DIRECTORY_TIMEOUT: Duration = Duration::from_secs(10);

/// What a run covers.
#[derive(Debug, Clone)]
pub(super) struct RunLock {
    /// The directory of the lock files.
    pub(super) directory: PathBuf,
    /// The app.
    pub(super) app_id: AppId,
    /// The job.
    pub(super) job: JobName,
    /// The batch codes.
    pub(super) range: RangeInclusive<BatchCode>,
}

impl RunLock {
    /// Acquires the lock, which is released when the returned value is dropped.
    ///
    /// `None` means that another run still covers some of the range at the end of the wait. `on_wait` is called once if
    /// there is a wait.
    ///
    /// # Errors
    /// Fails if the lock files cannot be used.
    pub(super) fn acquire(&self, backoff: &mut Backoff, on_wait: impl FnOnce()) -> Result<Option<FileLock>, FileError> {
        let path = self.path();
        let mut lock = open(&path)?;
        let mut on_wait = Some(on_wait);
        while !self.try_acquire(&path, &mut lock, backoff)? {
            if let Some(on_wait) = on_wait.take().filter(|_| !backoff.is_over()) {
                on_wait();
            }
            if !backoff.pause() {
                return Ok(None);
            }
        }
        Ok(Some(lock))
    }

    fn try_acquire(&self, path: &Path, lock: &mut FileLock, backoff: &Backoff) -> Result<bool, FileError> {
        let directory_path = self.directory.join(DIRECTORY_LOCK);
        let failed = FileError::at(FileOp::Lock, &directory_path);
        let mut directory = open(&directory_path)?;
        // Other runs hold it while they look at the lock files.
        let mut wait = backoff.restart(DIRECTORY_TIMEOUT);
        if !directory.acquire(Mode::Exclusive, &mut wait).map_err(&failed)? {
            return if wait.is_cancelled() { Ok(false) } else { Err(failed(io::ErrorKind::TimedOut.into())) };
        }
        Ok(!self.is_overlapping_range_held(path)?
            && lock.try_acquire(Mode::Exclusive).map_err(FileError::at(FileOp::Lock, path))?)
    }

    fn path(&self) -> PathBuf {
        self.directory.join(format!("{}-{}-{}.lock", self.hash(), self.range.start().get(), self.range.end().get()))
    }

    /// Stands for app and job in file names, where their text may not be valid.
    fn hash(&self) -> String {
        let hash = Sha256::new().chain_update(self.app_id.as_str()).chain_update([0]).chain_update(self.job.as_str());
        hex::encode(&hash.finalize()[..16])
    }

    /// Whether another file of this app and job is held whose range overlaps.
    fn is_overlapping_range_held(&self, own: &Path) -> Result<bool, FileError> {
        let hash = self.hash();
        let failed = FileError::at(FileOp::List, &self.directory);
        for entry in fs::read_dir(&self.directory).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            let overlaps = path
                .file_name()
                .and_then(|name| range_of(name.to_str()?.strip_prefix(&hash)?))
                .is_some_and(|(from, to)| from <= self.range.end().get() && to >= self.range.start().get());
            if overlaps
                && path != own
                && !open(&path)?.try_acquire(Mode::Exclusive).map_err(FileError::at(FileOp::Lock, &path))?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn open(path: &Path) -> Result<FileLock, FileError> {
    FileLock::open(path).map_err(FileError::at(FileOp::Open, path))
}

/// Reads the range from the end of a file name: `-0-9999.lock`.
fn range_of(rest: &str) -> Option<(u16, u16)> {
    let (from, to) = rest.strip_prefix('-')?.strip_suffix(".lock")?.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(directory: &Path, job: &str, from: u16, to: u16) -> RunLock {
        RunLock {
            directory: directory.to_owned(),
            app_id: "app:org.example.myapp".parse().unwrap(),
            job: job.parse().unwrap(),
            range: from.try_into().unwrap()..=to.try_into().unwrap(),
        }
    }

    /// Acquires a lock without waiting for it.
    fn acquire(directory: &Path, job: &str, from: u16, to: u16) -> Option<FileLock> {
        let unexpected = || panic!("there is no wait");
        lock(directory, job, from, to).acquire(&mut Backoff::new(Duration::ZERO), unexpected).unwrap()
    }

    #[test]
    fn overlapping_ranges_exclude_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let acquire = |job, from, to| acquire(directory.path(), job, from, to);
        let held = acquire("default", 3333, 6665).unwrap();
        for (from, to) in [(0, 10_000), (3333, 6665), (0, 3333), (6665, 7000), (4000, 4000)] {
            assert!(acquire("default", from, to).is_none(), "{from} to {to}");
        }
        for (job, from, to) in [("default", 0, 3332), ("default", 6666, 10_000), ("other", 0, 10_000)] {
            assert!(acquire(job, from, to).is_some(), "{job} {from} to {to}");
        }
        drop(held);
        assert!(acquire("default", 0, 10_000).is_some());
    }

    #[test]
    fn lock_files_stay_in_their_directory() {
        let directory = tempfile::tempdir().unwrap();
        acquire(directory.path(), "../../etc/passwd", 0, 10_000).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_run_that_waits_acquires_the_lock_once_it_is_free() {
        let directory = tempfile::tempdir().unwrap();
        let mut held = acquire(directory.path(), "default", 0, 10_000);
        let wanted = lock(directory.path(), "default", 7, 7);
        assert!(wanted.acquire(&mut Backoff::new(Duration::from_millis(20)), || ()).unwrap().is_none());
        let released = || held = None;
        assert!(wanted.acquire(&mut Backoff::new(Duration::from_secs(60)), released).unwrap().is_some());
    }
}

//! One run per job and range of batch codes.
//!
//! A lock file stands for one app, one job and one range. A run holds the file of its own range, and only while no file
//! of the same app and job with an overlapping range is held. The kernel releases the locks of a process that ends.
//!
//! Lock files are opened only under the lock of their directory, and only there they are removed. So no process locks a
//! file that has lost its name. Former builds opened their files earlier. That is why a file which this build has created
//! has a mark, and one without a mark is removed only while no other process uses the store.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tracing::debug;

use crate::model::{AppId, BatchCode, JobName};
use crate::store::{self, Store};
use crate::util::file_error::{FileError, FileOp};
use crate::util::lock::{Backoff, FileLock, Mode};

/// Excludes the runs that choose their lock at the same time.
const DIRECTORY_LOCK: &str = "folder.lock";
/// How long to wait for [`DIRECTORY_LOCK`].
const DIRECTORY_TIMEOUT: Duration = Duration::from_secs(10);
/// The first line of a lock file that this build has created. Files of former builds are empty.
pub(super) const MARK: &str = "1\n";
/// How many lock files may stay in any case. If there are more, those that no run needs are removed.
const MAX_FILES: usize = 16;
/// How long a file stays for the next run of its batch, which uses what it contains.
const KEPT_FOR: Duration = Duration::from_secs(7 * 86_400);
/// The length of the hexadecimal hash in the name of a lock file.
const HASH_CHARS: usize = 32;

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
        let mut on_wait = Some(on_wait);
        loop {
            if let Some(lock) = self.try_acquire(backoff)? {
                return Ok(Some(lock));
            }
            if let Some(on_wait) = on_wait.take().filter(|_| !backoff.is_over()) {
                on_wait();
            }
            if !backoff.pause() {
                return Ok(None);
            }
        }
    }

    fn try_acquire(&self, backoff: &Backoff) -> Result<Option<FileLock>, FileError> {
        let directory_path = self.directory.join(DIRECTORY_LOCK);
        let failed = FileError::at(FileOp::Lock, &directory_path);
        let mut directory = open(&directory_path)?;
        // Other runs hold it while they look at the lock files.
        let mut wait = backoff.restart(DIRECTORY_TIMEOUT);
        if !directory.acquire(Mode::Exclusive, &mut wait).map_err(&failed)? {
            return if wait.is_cancelled() { Ok(None) } else { Err(failed(io::ErrorKind::TimedOut.into())) };
        }
        let path = self.path();
        let others: Vec<_> = lock_files(&self.directory)?.into_iter().filter(|other| *other != path).collect();
        if others.len() > MAX_FILES {
            others.iter().filter(|other| is_expired(other)).try_for_each(|other| remove_if_free(other))?;
        }
        if self.is_overlapping_range_held(&others)? {
            return Ok(None);
        }
        let mut lock = open_or_create(&path)?;
        let acquired = lock.try_acquire(Mode::Exclusive).map_err(FileError::at(FileOp::Lock, &path))?;
        Ok(acquired.then_some(lock))
    }

    fn path(&self) -> PathBuf {
        self.directory.join(format!(
            "{}-{}-{}.lock",
            hash(&self.app_id, &self.job),
            self.range.start().get(),
            self.range.end().get()
        ))
    }

    /// Whether one of these files is of this app and job, has a range that overlaps, and is held.
    fn is_overlapping_range_held(&self, files: &[PathBuf]) -> Result<bool, FileError> {
        let hash = hash(&self.app_id, &self.job);
        let overlaps = |path: &&PathBuf| {
            let range = path.file_name().and_then(|name| range_of(name.to_str()?.strip_prefix(&hash)?));
            range.is_some_and(|(from, to)| from <= self.range.end().get() && to >= self.range.start().get())
        };
        for path in files.iter().filter(overlaps) {
            // It may have been removed just now.
            if let Some(mut file) = open_existing(path)?
                && !file.try_acquire(Mode::Exclusive).map_err(FileError::at(FileOp::Lock, path))?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Stands for app and job in file names, where their text may not be valid.
fn hash(app_id: &AppId, job: &JobName) -> String {
    let hash = Sha256::new().chain_update(app_id.as_str()).chain_update([0]).chain_update(job.as_str());
    hex::encode(&hash.finalize()[..16])
}

/// What the runs of a job have written into their lock files, and whether one holds the file now.
///
/// Only reads, so that it needs no permission to write. No run declines for it: while it looks, runs wait for the lock of
/// the directory.
///
/// # Errors
/// Those of opening, locking and reading the files.
pub(super) fn notes_of(directory: &Path, app_id: &AppId, job: &JobName) -> io::Result<Vec<(bool, String)>> {
    let mut lock = match File::open(directory.join(DIRECTORY_LOCK)) {
        Ok(file) => FileLock::new(file),
        // There was no run yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    if !lock.acquire(Mode::Shared, &mut Backoff::new(DIRECTORY_TIMEOUT))? {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let hash = hash(app_id, job);
    let mut notes = Vec::new();
    for path in lock_files(directory).map_err(|error| error.source)? {
        let is_of_job = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&hash));
        if is_of_job {
            let is_held = !FileLock::new(File::open(&path)?).try_acquire(Mode::Shared)?;
            // Any other content than text means that nothing is known.
            notes.push((is_held, String::from_utf8(fs::read(&path)?).unwrap_or_default()));
        }
    }
    Ok(notes)
}

/// Removes the lock files that former builds left, if there are many files.
///
/// Does nothing while another process uses the store.
pub(super) fn remove_leftovers(store: &Store) {
    let directory = store.runs();
    let remove = || {
        let files = lock_files(&directory)?;
        if files.len() <= MAX_FILES + 1 || files.iter().all(|path| is_marked(path)) {
            return Ok(());
        }
        // A process that has a lock file open holds the store shared. The first builds did not, so held files stay.
        Store::lock_exclusively(store.path(), Duration::ZERO, "poll", |_| {
            lock_files(&directory)?.iter().filter(|path| !is_marked(path)).try_for_each(|path| remove_if_free(path))?;
            Ok::<_, store::Error>(())
        })
    };
    if let Err(error) = remove() {
        debug!(%error, "lock files of former builds stay for now");
    }
}

/// Lists the lock files of runs in a directory.
fn lock_files(directory: &Path) -> Result<Vec<PathBuf>, FileError> {
    let failed = FileError::at(FileOp::List, directory);
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(&failed)? {
        let name = entry.map_err(&failed)?.file_name();
        let split = name.to_str().and_then(|name| name.split_at_checked(HASH_CHARS));
        if split
            .is_some_and(|(hash, rest)| hash.bytes().all(|byte| byte.is_ascii_hexdigit()) && range_of(rest).is_some())
        {
            files.push(directory.join(name));
        }
    }
    Ok(files)
}

/// Whether this build has created a lock file.
fn is_marked(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)
}

/// Whether this build has created a lock file, and no later run uses its content.
///
/// That is one of a poll by hand, which has one batch code, or one that no run has used for a long time.
fn is_expired(path: &Path) -> bool {
    let range = path.file_name().and_then(|name| range_of(name.to_str()?.get(HASH_CHARS..)?));
    let age = || fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?.elapsed().ok();
    is_marked(path) && (range.is_some_and(|(from, to)| from == to) || age().is_some_and(|age| age > KEPT_FOR))
}

/// Removes a lock file that no run holds. Only while no other process can open it.
fn remove_if_free(path: &Path) -> Result<(), FileError> {
    if let Some(mut file) = open_existing(path)?
        && file.try_acquire(Mode::Exclusive).map_err(FileError::at(FileOp::Lock, path))?
    {
        fs::remove_file(path).map_err(FileError::at(FileOp::Remove, path))?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<FileLock, FileError> {
    FileLock::open(path).map_err(FileError::at(FileOp::Open, path))
}

/// Opens a lock file; `None` if there is none.
fn open_existing(path: &Path) -> Result<Option<FileLock>, FileError> {
    match File::options().read(true).write(true).open(path) {
        Ok(file) => Ok(Some(FileLock::new(file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::at(FileOp::Open, path)(error)),
    }
}

/// Opens a lock file, and marks it if it is new.
fn open_or_create(path: &Path) -> Result<FileLock, FileError> {
    match File::options().read(true).write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            // On a full disk it stays without a mark.
            let _ = file.write_all(MARK.as_bytes());
            Ok(FileLock::new(file))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(path),
        Err(error) => Err(FileError::at(FileOp::Create, path)(error)),
    }
}

/// Reads the range from the end of a file name: `-0-9999.lock`.
fn range_of(rest: &str) -> Option<(u16, u16)> {
    let (from, to) = rest.strip_prefix('-')?.strip_suffix(".lock")?.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

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

    #[test]
    fn a_damaged_lock_file_hides_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let held = [0, 1].map(|code| acquire(directory.path(), "default", code, code).unwrap());
        let damaged = lock(directory.path(), "default", 0, 0);
        fs::write(damaged.path(), [0xff]).unwrap();
        let mut notes = notes_of(directory.path(), &damaged.app_id, &damaged.job).unwrap();
        notes.sort();
        assert_eq!(notes, [(true, String::new()), (true, MARK.to_owned())]);
        drop(held);
        assert!(notes_of(directory.path(), &damaged.app_id, &damaged.job).unwrap().iter().all(|(is_held, _)| !is_held));
    }

    fn files(directory: &Path) -> usize {
        lock_files(directory).unwrap().len()
    }

    #[test]
    fn free_lock_files_are_removed_once_there_are_many() {
        let directory = tempfile::tempdir().unwrap();
        let acquire = |job: &str, code| acquire(directory.path(), job, code, code);
        let held = [7, 8].map(|code| acquire("default", code).unwrap());
        // A former build has created this one, and may have it open.
        fs::write(lock(directory.path(), "former", 9, 9).path(), "").unwrap();
        for code in 100..200 {
            assert!(acquire("default", code).is_some());
            assert!(files(directory.path()) <= MAX_FILES + 2);
        }
        for code in 100..100 + 2 * u16::try_from(MAX_FILES).unwrap() {
            assert!(acquire("other", code).is_some());
        }
        assert!(acquire("default", 7).is_none() && acquire("default", 8).is_none());
        assert!(lock(directory.path(), "former", 9, 9).path().exists());
        drop(held);
        assert!(acquire("default", 7).is_some());
    }

    #[test]
    fn lock_files_of_many_batches_stay_for_a_week() {
        let directory = tempfile::tempdir().unwrap();
        let acquire = |from: u16| acquire(directory.path(), "default", from, from + 99).unwrap();
        (0..100).for_each(|batch| drop(acquire(batch * 100)));
        assert_eq!(files(directory.path()), 100);
        let old = SystemTime::now() - KEPT_FOR - Duration::from_secs(60);
        for batch in 0..90 {
            let path = lock(directory.path(), "default", batch * 100, batch * 100 + 99).path();
            File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
        }
        acquire(0);
        assert_eq!(files(directory.path()), 11);
    }

    #[test]
    fn a_run_of_a_former_build_is_respected() {
        let directory = tempfile::tempdir().unwrap();
        let path = lock(directory.path(), "default", 0, 10_000).path();
        let mut former = FileLock::open(&path).unwrap();
        assert!(former.try_acquire(Mode::Exclusive).unwrap());
        for code in 0..100 {
            assert!(acquire(directory.path(), "other", code, code).is_some());
            assert!(acquire(directory.path(), "default", code, code).is_none());
        }
        assert!(acquire(directory.path(), "default", 0, 10_000).is_none());
        drop(former);
        assert!(acquire(directory.path(), "default", 0, 10_000).is_some() && path.exists());
    }

    #[test]
    fn files_of_former_builds_are_removed_while_no_other_process_uses_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(&directory.path().join("store"), Duration::from_secs(10)).unwrap();
        let former = |code| lock(&store.runs(), "default", code, code).path();
        (0..50).for_each(|code| fs::write(former(code), "").unwrap());
        let mut held = FileLock::open(&former(7)).unwrap();
        assert!(held.try_acquire(Mode::Exclusive).unwrap());
        let foreign = store.runs().join("notes.lock");
        fs::write(&foreign, "").unwrap();
        store
            .lock_shared(|| {
                remove_leftovers(&store);
                Ok::<_, store::Error>(())
            })
            .unwrap();
        assert_eq!(files(&store.runs()), 50);
        remove_leftovers(&store);
        assert_eq!(files(&store.runs()), 1);
        assert!(former(7).exists() && foreign.exists());
    }
}

//! sled: opening and closing its databases, and its panics.

use std::fs::{File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use tracing::debug;

use super::fsync_thread::{address_space_left, panic_error, run_on_store_thread};
use super::tail::{DB_FILE, Tail};
use crate::store::error::{Error, Problem, Result};
use crate::util::file_error::{FileError, FileOp};
use crate::util::lock::{Backoff, FileLock, Mode};

/// The longest wait of a session for sled's threads, which close the database of the session before.
pub const SLED_LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause between two attempts to get sled's lock.
///
/// Nearly every session waits for it, but only for a few milliseconds.
const SLED_LOCK_POLL_INTERVAL: Duration = Duration::from_millis(1);
/// How much of a database's pages sled keeps in memory, by sled's own account, in bytes.
const CACHE_BYTES: u64 = 8 << 20;
/// The same for a process that needs its memory for something else.
const SMALL_CACHE_BYTES: u64 = 2 << 20;
static HAS_SMALL_CACHE: AtomicBool = AtomicBool::new(false);
/// How often sled may open a database before its log counts as unreadable.
const MAX_ATTEMPTS: usize = 3;
/// A disk with less space is full, in bytes: sled writes up to half of it at once.
const DISK_FULL_BELOW: u64 = 1 << 20;
/// An address space with less room is full, in bytes: sled and its threads take some MiB at once.
const MEMORY_FULL_BELOW: u64 = 64 << 20;

/// Runs `work` on the thread that works on databases, and turns a panic of sled into an error.
///
/// sled panics where it cannot read or write some of its files. `path` is on the disk of the database.
///
/// # Errors
/// [`Problem::Panicked`], or what explains the panic: a full disk or too little memory; [`Error::NoThread`].
pub fn catch_sled_panic<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T> {
    run_on_store_thread(work).map_err(|error| blame_system(path, error))
}

/// Replaces a panic by the lack of space or memory that explains it.
///
/// sled's panics have no error kind. `path` is on the disk of the database.
pub(super) fn blame_system(path: &Path, error: Error) -> Error {
    let is_full = || rustix::fs::statvfs(path).is_ok_and(|disk| is_full(disk.f_blocks, disk.f_bavail * disk.f_frsize));
    let is_memory_full = || address_space_left().is_some_and(|left| left < MEMORY_FULL_BELOW);
    match error {
        Error::Database { problem: Problem::Panicked(_), .. } if is_full() => Problem::StorageFull.into(),
        Error::Database { problem: Problem::Panicked(_), .. } if is_memory_full() => {
            Problem::System(Errno::NOMEM.raw_os_error()).into()
        }
        error => error,
    }
}

/// Whether a disk with these numbers of blocks is full. A file system that does not know its size reports none.
fn is_full(blocks: u64, free_bytes: u64) -> bool {
    blocks > 0 && free_bytes < DISK_FULL_BELOW
}

/// Opens a database, and creates it where there is none.
///
/// sled takes a log that it cannot read for shorter than it is, and clears the rest. So an opening that recovers less
/// than the log has is undone and repeated. Two openings with the same result show that the end of the log is torn, as
/// after a power cut: its writes were not acknowledged.
///
/// # Errors
/// [`Error::File`] where its file cannot be opened or read, or where its lock stays held; [`Error::Database`]. Then the
/// database is as it was.
pub fn open_database(path: &Path) -> Result<sled::Db> {
    let (mut losses, mut has_failed) = (Vec::new(), false);
    for _ in 0..MAX_ATTEMPTS {
        match wait_until_closed(path, SLED_LOCK_TIMEOUT) {
            // sled creates the file.
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => return open_unchecked(path),
            closed => closed?,
        }
        let mut tail = Tail::read(path, true)?;
        let failed = match open_unchecked(path) {
            Ok(database) => match tail.loss() {
                Ok(None) => return Ok(database),
                Ok(Some(loss)) if losses.contains(&loss) => return Ok(database),
                lost => {
                    debug!(?lost, "the opened database lacks a part of its log");
                    // sled may panic where it cannot sync what it wrote.
                    let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
                    lost.map(|loss| losses.extend(loss)).err().map(Error::from)
                }
            },
            Err(error) => Some(error),
        };
        let closed = wait_until_closed(path, SLED_LOCK_TIMEOUT);
        tail.restore()?;
        match failed {
            Some(error) if has_failed || closed.is_err() || matches!(error, Error::File(_)) => {
                check_readable(path)?;
                return Err(error);
            }
            failed => has_failed |= failed.is_some(),
        }
        closed?;
    }
    Err(unreadable(path))
}

/// Opens and closes a database that was just built, so that a snapshot covers its log.
///
/// # Errors
/// As [`open_database`], but the database is of no use then.
pub(super) fn settle(path: &Path) -> Result<()> {
    let tail = Tail::read(path, false)?;
    let database = open_unchecked(path)?;
    let loss = tail.loss()?;
    drop(database);
    wait_until_closed(path, Duration::MAX)?;
    if loss.is_some() { Err(unreadable(path)) } else { Ok(()) }
}

/// Lets this process open databases with less memory from now on, which takes more processor time.
pub fn use_small_cache() {
    HAS_SMALL_CACHE.store(true, Ordering::Relaxed);
}

/// Lets sled open a database, whatever it makes of its log.
fn open_unchecked(path: &Path) -> Result<sled::Db> {
    let cache_bytes = if HAS_SMALL_CACHE.load(Ordering::Relaxed) { SMALL_CACHE_BYTES } else { CACHE_BYTES };
    let config = sled::Config::new().path(path).flush_every_ms(None).cache_capacity(cache_bytes);
    let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
    Ok(opened.map_err(|panic| blame_system(path, panic_error(&*panic)))??)
}

/// Reads the log once, since sled may take for damage what the disk does not return.
///
/// # Errors
/// [`Error::File`] where it cannot be read.
pub(super) fn check_readable(database: &Path) -> Result<(), FileError> {
    let path = database.join(DB_FILE);
    let read = File::open(&path).and_then(|mut file| io::copy(&mut file, &mut io::sink()));
    read.map(drop).map_err(FileError::at(FileOp::Read, &path))
}

/// The error of a log that sled reads in another way each time, or not at all.
fn unreadable(database: &Path) -> Error {
    FileError::at(FileOp::Read, &database.join(DB_FILE))(Errno::IO.into()).into()
}

/// Waits until sled's threads have released a database.
///
/// They do some milliseconds after its last handle was dropped.
///
/// # Errors
/// That the lock stays held, or that the file cannot be opened.
pub fn wait_until_closed(database: &Path, timeout: Duration) -> Result<(), FileError> {
    lock_closed(database, File::options().read(true).write(true), Mode::Exclusive, timeout).map(drop)
}

/// Locks a closed database, so that no process opens it until the lock is dropped.
///
/// # Errors
/// As [`wait_until_closed`].
pub(super) fn lock_to_read(database: &Path) -> Result<FileLock, FileError> {
    lock_closed(database, File::options().read(true), Mode::Shared, SLED_LOCK_TIMEOUT)
}

/// Acquires sled's lock of a database.
fn lock_closed(database: &Path, options: &OpenOptions, mode: Mode, timeout: Duration) -> Result<FileLock, FileError> {
    let path = database.join(DB_FILE);
    let mut lock = FileLock::new(options.open(&path).map_err(FileError::at(FileOp::Open, &path))?);
    let mut backoff = Backoff::new(timeout).with_interval(SLED_LOCK_POLL_INTERVAL);
    let error = match lock.acquire(mode, &mut backoff) {
        Ok(true) => return Ok(lock),
        Ok(false) => io::ErrorKind::TimedOut.into(),
        Err(error) => error,
    };
    Err(FileError::at(FileOp::Lock, &path)(error))
}

/// Syncs the file of sled's log. After sled's own flush, a power cut could still lose what was flushed.
///
/// # Errors
/// [`Error::File`].
pub fn sync_log(database: &Path) -> Result<()> {
    let file = database.join(DB_FILE);
    File::open(&file).and_then(|file| file.sync_all()).map_err(FileError::at(FileOp::Sync, &file))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    #[test]
    fn a_database_that_is_still_held_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        open_database(directory.path()).unwrap().insert("key", "value").unwrap();
        wait_until_closed(directory.path(), Duration::MAX).unwrap();
        let mut held = FileLock::open(&directory.path().join("db")).unwrap();
        assert!(held.try_acquire(Mode::Exclusive).unwrap());
        let released = AtomicBool::new(false);
        thread::scope(|scope| {
            let opened = scope.spawn(|| {
                let database = open_database(directory.path()).unwrap();
                assert!(released.load(Ordering::SeqCst));
                database.get("key").unwrap()
            });
            thread::sleep(Duration::from_millis(50));
            released.store(true, Ordering::SeqCst);
            held.release();
            assert_eq!(opened.join().unwrap().as_deref(), Some(&b"value"[..]));
        });
    }

    #[test]
    fn a_database_that_stays_held_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let mut held = FileLock::open(&directory.path().join("db")).unwrap();
        assert!(held.try_acquire(Mode::Exclusive).unwrap());
        let error = wait_until_closed(directory.path(), Duration::from_millis(20)).unwrap_err();
        assert_eq!((error.op, error.source.kind()), (FileOp::Lock, io::ErrorKind::TimedOut));
    }

    #[test]
    fn a_disk_is_full_before_its_last_byte_is_used() {
        assert!(is_full(1000, 0) && is_full(1000, DISK_FULL_BELOW - 1));
        assert!(!is_full(1000, DISK_FULL_BELOW) && !is_full(0, 0));
    }

    #[test]
    fn a_panic_stays_a_panic_while_the_disk_has_space() {
        let directory = tempfile::tempdir().unwrap();
        let error = catch_sled_panic(directory.path(), || panic!("no")).unwrap_err();
        assert!(matches!(error, Error::Database { problem: Problem::Panicked(_), .. }), "{error:?}");
    }
}

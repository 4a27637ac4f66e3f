//! The locks of a store, and how a process waits for them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{SecondsFormat, Utc};

use crate::store::error::{Error, Result};
use crate::store::failpoint::{self, Failpoint};
use crate::util::file_error::{FileError, FileOp};
use crate::util::lock::{Backoff, FileLock, LOCK_POLL_INTERVAL, Mode};
use crate::util::text::sanitize;

/// The locks of a store. A process that holds several acquired them in this order.
#[derive(Debug, Clone, Copy)]
pub(super) enum LockName {
    /// Held while a process waits for [`LockName::Use`], shared or exclusively as that one.
    Entry,
    /// Shared by all processes that use the store; held exclusively while the database is replaced.
    Use,
    /// Held by the process that gets the next session.
    Turn,
    /// Held for the length of a session.
    Session,
    /// Held while the database of kept results is open. Its holder acquires no other lock.
    Results,
}

impl LockName {
    /// All locks, in the order in which they are acquired.
    pub(super) const ALL: [Self; 5] = [Self::Entry, Self::Use, Self::Turn, Self::Session, Self::Results];

    /// The name of the lock's file, which is part of the store's format.
    pub(super) fn file_name(self) -> &'static str {
        match self {
            Self::Entry => "entry.lock",
            Self::Use => "use.lock",
            Self::Turn => "turn.lock",
            Self::Session => "store.lock",
            Self::Results => "results.lock",
        }
    }
}

/// Acquires the locks of one store, within a timeout.
#[derive(Debug, Clone)]
pub struct Locks {
    dir: PathBuf,
    timeout: Duration,
    owner: &'static str,
    cancel: Option<Arc<AtomicBool>>,
    /// This process holds the lock [`LockName::Use`] exclusively for as long as this exists.
    is_exclusive: bool,
    /// How often this and its clones hold [`LockName::Use`] shared.
    shared: Arc<AtomicUsize>,
}

/// Counts one more shared lock until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Locks {
    /// The locks of the store in `dir`. A wait for one of them ends after `timeout`.
    pub fn new(dir: &Path, timeout: Duration) -> Self {
        Self { dir: dir.to_owned(), timeout, owner: "", cancel: None, is_exclusive: false, shared: Arc::default() }
    }

    /// Names the command that acquires the locks, for the processes that wait for it.
    pub fn with_owner(self, owner: &'static str) -> Self {
        Self { owner, ..self }
    }

    /// Makes waits end early with [`Error::Cancelled`] once `cancel` is true.
    pub fn with_cancel(self, cancel: Arc<AtomicBool>) -> Self {
        Self { cancel: Some(cancel), ..self }
    }

    /// The same locks, with a timeout of at least `timeout`.
    pub fn with_min_timeout(&self, timeout: Duration) -> Self {
        Self { timeout: self.timeout.max(timeout), ..self.clone() }
    }

    /// Runs `work` while no process can replace the database. Any number of processes can hold this lock.
    ///
    /// A process that waits for the lock exclusively comes first, unless this process holds the lock already. Otherwise
    /// each of them would wait for the other.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Busy`] after the timeout, [`Error::Cancelled`].
    pub fn lock_shared<T, E: From<Error>>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        if self.is_exclusive {
            return work();
        }
        let mut backoff = self.backoff();
        let mut entry = None;
        if self.shared.load(Ordering::Relaxed) == 0 {
            let lock = entry.insert(self.open(LockName::Entry)?);
            self.acquire(lock, Mode::Shared, LockName::Entry, &mut backoff)?;
        }
        let mut lock = self.open(LockName::Use)?;
        self.acquire(&mut lock, Mode::Shared, LockName::Use, &mut backoff)?;
        drop(entry);
        let _counted = Counted::new(&self.shared);
        work()
    }

    /// Runs `work` while no other process uses the store. It is given the locks of a process that holds it exclusively.
    ///
    /// Processes that begin to use the store meanwhile wait until `work` has ended.
    ///
    /// # Errors
    /// Those of `work`; [`Error::InUse`] or [`Error::Busy`] after the timeout, [`Error::Cancelled`].
    pub fn lock_exclusive<T, E: From<Error>>(&self, work: impl FnOnce(Self) -> Result<T, E>) -> Result<T, E> {
        let mut backoff = self.backoff();
        let mut entry = self.open(LockName::Entry)?;
        self.acquire(&mut entry, Mode::Exclusive, LockName::Entry, &mut backoff)?;
        self.write_lock_owner(&mut entry);
        let mut lock = self.open(LockName::Use)?;
        self.acquire(&mut lock, Mode::Exclusive, LockName::Use, &mut backoff).map_err(|error| match error {
            // Only processes that hold it shared are left, unless a former build replaces the database.
            Error::Busy { path, waited, .. } if lock.try_acquire(Mode::Shared).unwrap_or(false) => {
                Error::InUse { path, waited, last_session: self.owner_of(LockName::Session) }
            }
            error => error,
        })?;
        self.write_lock_owner(&mut lock);
        drop(entry);
        work(Self { is_exclusive: true, ..self.clone() })
    }

    /// Runs `work` while no other process has a session.
    ///
    /// A process that waits for the session holds the turn, and the next process waits for the turn. So a process that
    /// has just closed a session, and wants another, does not get ahead of a process that waits.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Busy`] after the timeout, [`Error::Cancelled`].
    pub fn lock_session<T, E: From<Error>>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let mut turn = self.open(LockName::Turn)?;
        let mut session = self.open(LockName::Session)?;
        let mut backoff = self.backoff();
        // A process that has the turn waits for the session's owner, and that is the one to report.
        self.acquire(&mut turn, Mode::Exclusive, LockName::Session, &mut backoff)?;
        self.acquire(&mut session, Mode::Exclusive, LockName::Session, &mut backoff)?;
        drop(turn);
        self.write_lock_owner(&mut session);
        failpoint::hit(Failpoint::LockAcquired);
        work()
    }

    /// Runs `work` as [`Locks::lock_session`] does, unless `ended` returns something before that.
    ///
    /// This acquires `first` before the turn, and releases it with the turn. So of the processes that use that lock only one
    /// competes with others for the session.
    ///
    /// # Errors
    /// As [`Locks::lock_session`].
    pub fn lock_session_unless<T, E: From<Error>>(
        &self,
        first: FileLock,
        mut ended: impl FnMut() -> Option<T>,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut locks = [first, self.open(LockName::Turn)?, self.open(LockName::Session)?];
        let mut backoff = self.backoff().with_interval(LOCK_POLL_INTERVAL / 2);
        for lock in &mut locks {
            while !lock
                .try_acquire(Mode::Exclusive)
                .map_err(FileError::at(FileOp::Lock, &self.dir))
                .map_err(Error::from)?
            {
                if let Some(ended) = ended() {
                    return Ok(ended);
                }
                if !backoff.pause() {
                    return Err(self.not_acquired(LockName::Session, &backoff).into());
                }
            }
        }
        if let Some(ended) = ended() {
            return Ok(ended);
        }
        let [first, turn, mut session] = locks;
        drop((turn, first));
        self.write_lock_owner(&mut session);
        failpoint::hit(Failpoint::LockAcquired);
        work()
    }

    /// The same locks, without a limit of time and a way to cancel.
    pub fn without_limit(&self) -> Self {
        Self { timeout: Duration::MAX, cancel: None, ..self.clone() }
    }

    /// Runs `work`, which only reads, while no process can acquire one of these locks exclusively.
    ///
    /// Needs no permission to write. A lock whose file is missing is left out: no process that writes is there, since it
    /// would have created the file.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Busy`] after the timeout, [`Error::Cancelled`].
    pub(super) fn lock_to_copy<T>(&self, names: &[LockName], work: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut backoff = self.backoff();
        let mut held = Vec::new();
        for name in names {
            let path = self.path(*name);
            let mut lock = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => FileLock::new(opened.map_err(FileError::at(FileOp::Open, &path))?),
            };
            self.acquire(&mut lock, Mode::Shared, *name, &mut backoff)?;
            held.push(lock);
        }
        work()
    }

    /// Runs `work` while no other process has the database of kept results open.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Busy`] after the timeout, [`Error::Cancelled`].
    pub fn lock_results<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut lock = self.open(LockName::Results)?;
        self.acquire(&mut lock, Mode::Exclusive, LockName::Results, &mut self.backoff())?;
        self.write_lock_owner(&mut lock);
        work()
    }

    fn path(&self, name: LockName) -> PathBuf {
        self.dir.join(name.file_name())
    }

    fn open(&self, name: LockName) -> Result<FileLock> {
        let path = self.path(name);
        Ok(FileLock::open(&path).map_err(FileError::at(FileOp::Open, &path))?)
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(self.timeout).with_cancel(self.cancel.clone())
    }

    /// Waits for a lock. After the timeout, the error names the owner of the lock `reported`.
    fn acquire(&self, lock: &mut FileLock, mode: Mode, reported: LockName, backoff: &mut Backoff) -> Result<()> {
        if lock.acquire(mode, backoff).map_err(FileError::at(FileOp::Lock, &self.dir))? {
            return Ok(());
        }
        Err(self.not_acquired(reported, backoff))
    }

    /// The error of a wait for a lock that is over.
    fn not_acquired(&self, reported: LockName, backoff: &Backoff) -> Error {
        if backoff.is_cancelled() {
            return Error::Cancelled;
        }
        Error::Busy { path: self.dir.clone(), waited: self.timeout, owner: self.owner_of(reported) }
    }

    /// What the last owner of a lock wrote about itself; `None` if it wrote nothing.
    fn owner_of(&self, name: LockName) -> Option<String> {
        let text = fs::read_to_string(self.path(name)).ok()?;
        text.lines().next().map(sanitize).filter(|text| !text.is_empty())
    }

    /// Writes into a lock's file which process holds it. That it cannot be written does no harm.
    fn write_lock_owner(&self, lock: &mut FileLock) {
        let since = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        let _ = lock.write_note(&format!("`cxnpoll {}` (process {}) since {since}\n", self.owner, std::process::id()));
    }
}

#[cfg(test)]
mod tests;

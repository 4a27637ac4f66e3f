//! The locks of a store, and how a process waits for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};

use crate::store::error::{Error, Result};
use crate::store::failpoint::{self, Failpoint};
use crate::util::file_error::{FileError, FileOp};
use crate::util::lock::{Backoff, FileLock, Mode};
use crate::util::text::sanitize;

/// The locks of a store. A process that holds several acquired them in this order.
#[derive(Debug, Clone, Copy)]
pub(super) enum LockName {
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
    pub(super) const ALL: [Self; 4] = [Self::Use, Self::Turn, Self::Session, Self::Results];

    /// The name of the lock's file, which is part of the store's format.
    pub(super) fn file_name(self) -> &'static str {
        match self {
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
}

impl Locks {
    /// The locks of the store in `dir`. A wait for one of them ends after `timeout`.
    pub fn new(dir: &Path, timeout: Duration) -> Self {
        Self { dir: dir.to_owned(), timeout, owner: "", cancel: None, is_exclusive: false }
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
    /// # Errors
    /// Those of `work`; [`Error::Busy`] after the timeout, [`Error::Cancelled`].
    pub fn lock_shared<T, E: From<Error>>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        if self.is_exclusive {
            return work();
        }
        let mut lock = self.open(LockName::Use)?;
        self.acquire(&mut lock, Mode::Shared, LockName::Use, &mut self.backoff())?;
        work()
    }

    /// Runs `work` while no other process uses the store. It is given the locks of a process that holds it exclusively.
    ///
    /// # Errors
    /// Those of `work`; [`Error::InUse`] at once where another process uses the store.
    pub fn lock_exclusive<T, E: From<Error>>(&self, work: impl FnOnce(Self) -> Result<T, E>) -> Result<T, E> {
        let mut lock = self.open(LockName::Use)?;
        let acquired = lock.try_acquire(Mode::Exclusive).map_err(FileError::at(FileOp::Lock, &self.dir));
        if !acquired.map_err(Error::from)? {
            return Err(Error::InUse { path: self.dir.clone() }.into());
        }
        self.write_lock_owner(&mut lock);
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
        if backoff.is_cancelled() {
            return Err(Error::Cancelled);
        }
        Err(Error::Busy { path: self.dir.clone(), waited: self.timeout, owner: self.owner_of(reported) })
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
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;
    use std::thread;
    use std::time::Instant;

    fn locks(dir: &Path, timeout: Duration) -> Locks {
        Locks::new(dir, timeout).with_owner("test")
    }

    #[test]
    fn a_held_session_is_busy_with_its_owner_named() {
        let directory = tempfile::tempdir().unwrap();
        let held = locks(directory.path(), Duration::ZERO);
        held.lock_session(|| {
            let waited = Duration::from_millis(30);
            match locks(directory.path(), waited).lock_session(|| Ok::<_, Error>(())) {
                Err(Error::Busy { owner: Some(owner), waited: reported, .. }) => {
                    assert!(owner.starts_with("`cxnpoll test` (process "), "{owner}");
                    assert_eq!(reported, waited);
                }
                other => panic!("{other:?}"),
            }
            Ok::<_, Error>(())
        })
        .unwrap();
        held.lock_session(|| Ok::<_, Error>(())).unwrap();
    }

    #[test]
    fn every_wait_ends_when_it_is_cancelled() {
        let directory = tempfile::tempdir().unwrap();
        let held = locks(directory.path(), Duration::ZERO);
        let waits: [fn(&Locks) -> Result<()>; 3] = [
            |locks| locks.lock_shared(|| Ok(())),
            |locks| locks.lock_session(|| Ok(())),
            |locks| locks.lock_results(|| Ok(())),
        ];
        for (number, wait) in waits.into_iter().enumerate() {
            let cancel = Arc::new(AtomicBool::new(false));
            let waiting = locks(directory.path(), Duration::from_secs(60)).with_cancel(Arc::clone(&cancel));
            let during = || {
                let began = Instant::now();
                thread::scope(|scope| {
                    let ended = scope.spawn(|| wait(&waiting));
                    thread::sleep(Duration::from_millis(20));
                    cancel.store(true, Ordering::Relaxed);
                    assert!(matches!(ended.join().unwrap(), Err(Error::Cancelled)), "{number}");
                });
                assert!(began.elapsed() < Duration::from_secs(10));
                Ok(())
            };
            match number {
                0 => held.lock_exclusive(|_| during()),
                1 => held.lock_session(during),
                _ => held.lock_results(during),
            }
            .unwrap();
        }
    }

    #[test]
    fn exclusive_use_excludes_all_others_and_is_refused_while_the_store_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two] = [(); 2].map(|()| locks(directory.path(), Duration::ZERO));
        one.lock_exclusive(|exclusive| {
            assert!(matches!(two.lock_shared(|| Ok(())), Err(Error::Busy { .. })));
            assert!(matches!(two.lock_exclusive(|_| Ok(())), Err(Error::InUse { .. })));
            exclusive.lock_shared(|| Ok::<_, Error>(()))
        })
        .unwrap();
        two.lock_shared(|| {
            assert!(matches!(one.lock_exclusive(|_| Ok(())), Err(Error::InUse { .. })));
            one.lock_shared(|| Ok::<_, Error>(()))
        })
        .unwrap();
    }
}

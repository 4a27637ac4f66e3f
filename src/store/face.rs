//! The store's interface for the rest of the program.

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tracing::warn;

use super::check::{self, Check};
use super::due_hint::{self, JobHint};
use super::engine::{Access, BackupTimes, Backups, Locks, StoreCopy, StoreLayout, catch_sled_panic};
use super::error::{Error, Result};
use super::history::{Audit, CxnHash, History};
use super::ops::{self, AdminAction, AdminTarget, StateCounts};
use super::results::{self, EncodedResult, Limits, StoredResult, Which};
use super::schema::{AppNo, CxnKey, Job, ReadSession, Statuses, WriteSession};
use super::sessions::Sessions;
use super::skipped::SkippedEntries;
use crate::model::{AppId, BatchCode, Cxn, CxnId, JobName, UnixTime};
use crate::retry::Policy;

/// A store that exists, and that the caller may use.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) sessions: Sessions,
    /// The copy that is read, where the store cannot be written.
    copy: Option<Arc<StoreCopy>>,
}

impl Store {
    /// Opens a store for reading and writing. A wait for one of its locks ends after `timeout`.
    ///
    /// # Errors
    /// [`Error::NoStore`], [`Error::NotADirectory`], [`Error::WrongOwner`], [`Error::NotWritable`].
    pub fn open(path: &Path, timeout: Duration) -> Result<Self> {
        let layout = StoreLayout::existing(path)?;
        layout.access()?.check_writable()?;
        Ok(Self::of(layout, timeout))
    }

    /// Opens a store for reading, which needs no permission to write it.
    ///
    /// Without that permission a copy is read, because the database changes its files when it is opened.
    ///
    /// # Errors
    /// As [`Store::open`], except [`Error::NotWritable`]; [`Error::Copy`]; [`Error::Busy`] after the timeout.
    pub fn open_to_read(path: &Path, timeout: Duration) -> Result<Self> {
        let source = StoreLayout::existing(path)?;
        let Access::ReadOnly(refusal) = source.access()? else { return Ok(Self::of(source, timeout)) };
        let copy = StoreCopy::of(&source, refusal, timeout)?;
        let store = Self::of(copy.layout().clone(), timeout);
        Ok(Self { sessions: Sessions { source, ..store.sessions }, copy: Some(Arc::new(copy)) })
    }

    /// Opens a store, and creates it first where there is none.
    ///
    /// # Errors
    /// As [`Store::open`]; [`Error::NotAStore`] for a directory that holds something else.
    pub fn create(path: &Path, timeout: Duration) -> Result<Self> {
        let store = Self::of(StoreLayout::prepared(path)?, timeout);
        let Sessions { layout, locks, .. } = &store.sessions;
        let create = || {
            if layout.database()?.is_some() {
                return Ok(());
            }
            let (staging, ()) = store.sessions.create_database(|_| Ok::<_, Error>(()))?;
            for archived in layout.activate(&staging, true)? {
                let archived = archived.display();
                warn!("CURRENT did not name a database that was in the store; it is kept as {archived}");
            }
            Ok::<_, Error>(())
        };
        locks.lock_shared(|| locks.lock_session(create))?;
        Ok(store)
    }

    pub(super) fn of(layout: StoreLayout, timeout: Duration) -> Self {
        let locks = Locks::new(layout.path(), timeout);
        let source = layout.clone();
        Self { sessions: Sessions { layout, source, locks, skipped: SkippedEntries::default() }, copy: None }
    }

    pub(super) fn with_locks(&self, locks: Locks) -> Self {
        Self { sessions: Sessions { locks, ..self.sessions.clone() }, copy: self.copy.clone() }
    }

    /// The sessions, unless they work on a copy of the store.
    pub(super) fn writable(&self) -> Result<&Sessions> {
        match &self.copy {
            None => Ok(&self.sessions),
            Some(copy) => Err(Error::NotWritable(copy.refusal().clone())),
        }
    }

    /// The sessions, with the kept results in their place.
    fn with_results(&self) -> Result<&Sessions> {
        self.copy.as_ref().map_or(Ok(()), |copy| copy.add_results())?;
        Ok(&self.sessions)
    }

    /// The same store, which adds what it skips to a collection.
    #[must_use]
    pub fn with_skipped(self, skipped: SkippedEntries) -> Self {
        Self { sessions: Sessions { skipped, ..self.sessions }, ..self }
    }

    /// What was skipped so far because it cannot be read.
    #[must_use]
    pub fn skipped(&self) -> &SkippedEntries {
        &self.sessions.skipped
    }

    /// The same store, with the name of the command that uses it, which commands that wait for it report.
    #[must_use]
    pub fn with_owner(self, owner: &'static str) -> Self {
        self.with_locks(self.sessions.locks.clone().with_owner(owner))
    }

    /// The same store, with waits for its locks that end early once `cancel` is true.
    ///
    /// Such a wait ends with [`Error::Cancelled`].
    #[must_use]
    pub fn with_cancel(self, cancel: Arc<AtomicBool>) -> Self {
        self.with_locks(self.sessions.locks.clone().with_cancel(cancel))
    }

    /// The same store, with a timeout of at least `timeout`.
    #[must_use]
    pub fn with_min_timeout(&self, timeout: Duration) -> Self {
        self.with_locks(self.sessions.locks.with_min_timeout(timeout))
    }

    /// The directory of the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.sessions.source.path()
    }

    /// The directory of the runs' locks.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.sessions.source.runs()
    }

    /// The directory of the backups.
    #[must_use]
    pub fn backup_dir(&self) -> PathBuf {
        self.sessions.source.backups()
    }

    /// The history of the store, which is read without a session.
    #[must_use]
    pub fn history(&self) -> History {
        History::new(self.sessions.source.history())
    }

    /// Lists the backups in their order, as it is at `now`.
    ///
    /// # Errors
    /// [`Error::File`] where the directory cannot be read.
    pub(crate) fn backups(&self, now: UnixTime) -> Result<Backups> {
        self.sessions.source.backup_list(now)
    }

    /// Reads the times in the names of the backups. Opens no file.
    ///
    /// # Errors
    /// [`Error::File`] where the directory cannot be read.
    pub(crate) fn backup_times(&self, now: UnixTime) -> Result<BackupTimes> {
        self.sessions.source.backup_times(now)
    }

    /// Lists the databases that were replaced and kept.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn kept(&self) -> Result<Vec<PathBuf>> {
        self.sessions.source.archived()
    }

    /// The size of the database's file in bytes.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be inspected.
    pub fn file_size(&self) -> Result<u64> {
        self.sessions.source.file_size()
    }

    /// Writes to the database in one session.
    ///
    /// Once this returns without an error, nothing that `work` wrote is lost, whatever happens to the process or the
    /// power.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Busy`] after the timeout, [`Error::Cancelled`]; [`Error::Database`] where it cannot be
    /// opened; [`Error::NotWritable`] where the store was opened to be read, and cannot be written.
    pub fn write<T: Send>(&self, work: impl FnOnce(&WriteSession) -> Result<T> + Send) -> Result<T> {
        self.writable()?.write(work)
    }

    /// Reads the database in one session.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn read<T: Send>(&self, work: impl FnOnce(&ReadSession) -> Result<T> + Send) -> Result<T> {
        self.sessions.read(work)
    }

    /// Whether the next session neither recovers nor upgrades the database. `false` is no answer.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let layout = &self.sessions.layout;
        layout
            .database()
            .is_ok_and(|database| database.is_some_and(|database| due_hint::is_settled(&layout.due_hint(), &database)))
    }

    /// Runs `work` while no process can replace the database, as a restore or a compaction does.
    ///
    /// Any number of processes can hold this lock.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Busy`] after the timeout, [`Error::Cancelled`].
    pub fn lock_shared<T, E: From<Error>>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.sessions.locks.lock_shared(work)
    }

    /// Runs `work` on the thread that works on databases, where it reuses the memory that they took.
    ///
    /// # Errors
    /// [`Error::NoThread`]; [`Error::Database`] after a panic.
    pub fn on_store_thread<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        catch_sled_panic(self.path(), work)
    }

    /// Whether it is certain that nothing is due for a job at `now`, by the expression of its last run.
    ///
    /// Does not open the database. `false` is no answer.
    #[must_use]
    pub fn is_certainly_idle(&self, app_id: &AppId, job: &JobName, policy: &Policy, now: UnixTime) -> bool {
        self.query(|hints| due_hint::is_certainly_idle(hints, app_id, job, policy, now))
    }

    /// Whether it is certain that the store has (or had) connections of an app.
    ///
    /// Does not open the database. `false` is no answer.
    #[must_use]
    pub fn knows_app(&self, app_id: &AppId) -> bool {
        self.query(|hints| due_hint::knows_app(hints, app_id))
    }

    fn query(&self, question: impl FnOnce(&[JobHint]) -> bool) -> bool {
        let layout = &self.sessions.layout;
        let database = layout.database().ok().flatten();
        let hints = database.and_then(|database| due_hint::query(&layout.due_hint(), &database));
        hints.is_some_and(|hints| question(&hints))
    }

    /// Checks the store, and with `repair` repairs what can be derived from the rest.
    ///
    /// What cannot be read is copied to `kept/set-aside.jsonl` before it is removed.
    ///
    /// # Errors
    /// Those of [`Store::write`]; a fault is not an error.
    pub fn check(&self, repair: bool) -> Result<Check> {
        if repair {
            self.writable()?;
        }
        self.with_results()?;
        // What a check finds, it reports itself.
        check::check(&self.clone().with_skipped(SkippedEntries::default()).sessions, repair)
    }

    /// Changes connections in batches, and returns how many were changed. Removed connections lose their kept results.
    ///
    /// `now` is the time of the action by the clock of the schedule.
    ///
    /// # Errors
    /// Those of [`Store::write`]. Changes made before the error are kept.
    pub fn admin(&self, targets: &[AdminTarget], action: AdminAction, audit: &Audit, now: UnixTime) -> Result<u64> {
        let sessions = self.writable()?;
        ops::admin(sessions, targets, action, audit, now, |removed| results::delete(sessions, removed))
    }

    /// Passes every connection to `emit`, with its statuses except those of jobs that never polled it.
    ///
    /// What cannot be read is skipped: see [`Store::skipped`]. Works in batches. A connection that is added meanwhile may be
    /// passed too; one that is moved to another app meanwhile may be passed twice.
    ///
    /// # Errors
    /// Those of `emit` and of [`Store::read`].
    pub fn for_each_cxn<E: From<Error>>(
        &self,
        emit: impl FnMut(CxnKey, Cxn, Statuses) -> Result<(), E>,
    ) -> Result<(), E> {
        ops::for_each_cxn(&self.sessions, emit)
    }

    /// As [`Store::for_each_cxn`], but calls `count` in the sessions, so that it takes little memory.
    ///
    /// # Errors
    /// Those of [`Store::read`].
    pub fn count_cxns(&self, count: impl FnMut(CxnKey, Cxn, Statuses) + Send) -> Result<()> {
        ops::count_cxns(&self.sessions, count)
    }

    /// The keys of the connections that history knows by these hashes. Those that are gone are missing.
    ///
    /// This reads the ids of all connections, in batches.
    ///
    /// # Errors
    /// Those of [`Store::read`].
    pub fn find_hashed(&self, wanted: &BTreeSet<CxnHash>) -> Result<HashMap<CxnHash, CxnKey>> {
        ops::find_hashed(&self.sessions, wanted)
    }

    /// Counts the connections of one app or of all apps in batches, also those that cannot be read.
    ///
    /// # Errors
    /// Those of [`Store::read`].
    pub fn cxn_count(&self, app: Option<AppNo>) -> Result<u64> {
        ops::cxn_count(&self.sessions, app)
    }

    /// Counts the connections of a job in a batch by state, in short sessions.
    ///
    /// With `classes` it also counts the failures by class, which reads the status of each connection that is failing.
    ///
    /// # Errors
    /// Those of [`Store::read`].
    pub fn state_counts(
        &self,
        job: &Job,
        policy: &Policy,
        batch: &RangeInclusive<BatchCode>,
        now: UnixTime,
        classes: bool,
    ) -> Result<StateCounts> {
        ops::state_counts(&self.sessions, job, policy, batch, now, classes)
    }

    /// Keeps results, and removes those that are beyond the limits.
    ///
    /// # Errors
    /// [`Error::Results`], [`Error::ResultsFile`]; [`Error::Busy`] after the timeout, [`Error::Cancelled`].
    pub fn keep_results(&self, results: &[EncodedResult], limits: &Limits) -> Result<()> {
        results::keep(self.writable()?, results, limits)
    }

    /// Passes results to `emit` by connection and job: those of one connection, of one job, or all.
    ///
    /// # Errors
    /// As [`Store::keep_results`], and those of `emit`.
    pub fn for_each_result<E: From<Error>>(
        &self,
        cxn_id: Option<&CxnId>,
        job: Option<&JobName>,
        which: Which,
        emit: impl FnMut(StoredResult) -> Result<(), E>,
    ) -> Result<(), E> {
        results::for_each(self.with_results()?, cxn_id, job, which, emit)
    }

    /// Removes results, and returns how many: of one connection, of one job, or all.
    ///
    /// # Errors
    /// As [`Store::keep_results`].
    pub fn remove_results(&self, cxn_id: Option<&CxnId>, job: Option<&JobName>) -> Result<u64> {
        results::remove(self.writable()?, cxn_id, job)
    }
}

//! Sessions on the database of a store: one process at a time, in short pieces of work.
//!
//! A session acquires the locks, opens the database, works, makes what was written durable, closes the database and
//! publishes the due hint. Nothing is held between sessions. Long work is done in batches.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sled::IVec;
use tracing::debug;

use super::due_hint;
use super::engine::{self, Backups, Closed, Locks, StoreLayout, TreeName, catch_sled_panic};
use super::error::{Error, Result};
use super::failpoint::{self, Failpoint};
use super::schema::{ReadSession, WriteSession};
use super::skipped::SkippedEntries;
use crate::util::lock::FileLock;
use crate::util::time::unix_now;

/// How long one batch of long work holds the store.
pub const SLICE: Duration = Duration::from_millis(500);
/// How many entries one batch of a scan keeps in memory: some megabytes. Each batch opens the database once.
const SCAN_BATCH: usize = 16_384;

/// Runs sessions on one store.
#[derive(Debug, Clone)]
pub struct Sessions {
    /// Where the files are that sessions work on.
    pub layout: StoreLayout,
    /// Where the store is. That differs where sessions work on a copy, because the store can only be read.
    pub source: StoreLayout,
    /// How the locks are acquired.
    pub locks: Locks,
    /// What was skipped because it cannot be read.
    pub skipped: SkippedEntries,
}

impl Sessions {
    /// Writes to the database, while no process can replace it.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Busy`], [`Error::Cancelled`]; [`Error::Database`] where it cannot be opened.
    pub fn write<T: Send>(&self, work: impl FnOnce(&WriteSession) -> Result<T> + Send) -> Result<T> {
        self.locks.lock_shared(|| self.with_session(work))
    }

    /// Reads the database, while no process can replace it.
    ///
    /// # Errors
    /// As [`Sessions::write`].
    pub fn read<T: Send>(&self, work: impl FnOnce(&ReadSession) -> Result<T> + Send) -> Result<T> {
        self.write(|session| work(session))
    }

    /// Passes entries of a tree to `read`, in order, and its results to `emit`.
    ///
    /// The entries are those that begin with `prefix`. Uses as many sessions as it takes, none of which holds the store
    /// for much longer than [`SLICE`]. `read` runs in a session, `emit` outside of it.
    ///
    /// # Errors
    /// Those of `read`, of `emit` and of [`Sessions::write`].
    pub fn scan_in_batches<T: Send, E: From<Error>>(
        &self,
        tree: TreeName,
        prefix: &[u8],
        mut read: impl FnMut(&WriteSession, &[u8], &[u8]) -> Result<Option<T>> + Send,
        mut emit: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        // The keys of one batch are of no use in another database, so the lock is held over all batches.
        self.locks.lock_shared(|| {
            let mut after: Option<IVec> = None;
            loop {
                let (batch, last) = self.with_session(|session| {
                    let began = Instant::now();
                    let mut batch = Vec::new();
                    for entry in session.trees.entries(tree, prefix, after.as_deref()) {
                        let (key, value) = entry?;
                        batch.extend(read(session, &key, &value)?);
                        if batch.len() >= SCAN_BATCH || began.elapsed() > SLICE {
                            return Ok((batch, Some(key)));
                        }
                    }
                    Ok((batch, None))
                })?;
                batch.into_iter().try_for_each(&mut emit)?;
                match last {
                    Some(key) => after = Some(key),
                    None => return Ok(()),
                }
            }
        })
    }

    /// Whether sessions work on a copy of the store.
    pub fn is_copy(&self) -> bool {
        self.layout.path() != self.source.path()
    }

    /// Builds a new database in a staging directory, fills it, and returns the directory.
    ///
    /// # Errors
    /// Those of `fill`; [`Error::File`] and [`Error::Database`].
    pub fn create_database<T: Send, E: From<Error> + Send>(
        &self,
        fill: impl FnOnce(&WriteSession) -> Result<T, E> + Send,
    ) -> Result<(PathBuf, T), E> {
        engine::build(&self.layout, WriteSession::create, |session| {
            let filled = fill(session)?;
            session.check_nothing_skipped()?;
            Ok(filled)
        })
    }

    /// Writes to the database, unless `ended` returns something while this waits for the session.
    ///
    /// `publish` gets what `work` returned once it is durable, while no other process has a session. For `first` see
    /// [`Locks::lock_session_unless`]. Only for a process that holds the store shared.
    ///
    /// # Errors
    /// As [`Sessions::write`].
    pub fn write_unless<R: Send, T>(
        &self,
        first: FileLock,
        ended: impl FnMut() -> Option<T>,
        work: impl FnOnce(&WriteSession) -> Result<R> + Send,
        publish: impl FnOnce(R) -> T,
    ) -> Result<T> {
        let asked = Instant::now();
        let run = || self.on_store_thread(asked, work).map(publish);
        self.locks.lock_session_unless(first, ended, run).map_err(|error| self.with_newest_backup(error))
    }

    /// A session, for a process that holds the store shared or exclusively.
    fn with_session<T: Send>(&self, work: impl FnOnce(&WriteSession) -> Result<T> + Send) -> Result<T> {
        let asked = Instant::now();
        let run = || self.on_store_thread(asked, work);
        self.locks.lock_session(run).map_err(|error| self.with_newest_backup(error))
    }

    fn on_store_thread<T: Send>(
        &self,
        asked: Instant,
        work: impl FnOnce(&WriteSession) -> Result<T> + Send,
    ) -> Result<T> {
        catch_sled_panic(self.layout.path(), || self.run_session(asked, work)).flatten()
    }

    fn with_newest_backup(&self, error: Error) -> Error {
        error.with_newest_backup(|| {
            let Backups { past, future, .. } = self.source.backup_list(unix_now()).ok()?;
            past.into_iter().chain(future).next()
        })
    }

    /// A session, for a process that holds its lock; on the thread that works on databases.
    fn run_session<T>(&self, asked: Instant, work: impl FnOnce(&WriteSession) -> Result<T>) -> Result<T> {
        let acquired = Instant::now();
        let hint = self.layout.due_hint();
        let had_hint = due_hint::remove(&hint)?;
        let work = |session: &WriteSession| {
            let result = work(session)?;
            failpoint::hit(Failpoint::WorkDone);
            Ok((result, due_hint::hints(session)?))
        };
        let sync_removal = || if had_hint { due_hint::sync_removal(self.layout.path()) } else { Ok(()) };
        let Closed { result: (result, hints), database, opened, worked } =
            engine::run(&self.layout, |trees| WriteSession::open(trees, self.skipped.clone()), work, sync_removal)?;
        if let Err(error) = due_hint::publish(&hint, &database, hints) {
            debug!(%error, "the due hint cannot be written; the next run opens the database");
        }
        debug!(
            waited_ms = ms(acquired - asked),
            open_ms = ms(opened - acquired),
            work_ms = ms(worked - opened),
            close_ms = ms(worked.elapsed()),
            "store session"
        );
        Ok(result)
    }
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e4).round() / 10.0
}

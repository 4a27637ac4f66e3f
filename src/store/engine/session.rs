//! One session: open the database, work, make it durable, close.

use std::fs;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::database::{blame_system, catch_sled_panic, open_database, settle, sync_log, wait_until_closed};
use super::fsync_thread::panic_error;
use super::layout::StoreLayout;
use super::recovery::open_or_rebuild;
use super::trees::Trees;
use crate::store::error::{Error, Result};
use crate::store::failpoint::{self, Failpoint};

/// A session that succeeded, and whose database is closed.
pub struct Closed<T> {
    /// What the work returned.
    pub result: T,
    /// The directory of the database.
    pub database: PathBuf,
    /// When the database was open.
    pub opened: Instant,
    /// When the work was done and durable.
    pub worked: Instant,
}

/// Runs a session, for a process that holds the session's lock, on the thread that works on databases.
///
/// `prepare` checks the database. `before_flush` is run once `work` has ended, and only if it wrote something; sled may
/// have written parts of that to the disk already, so `before_flush` must not rely on the opposite. Once this returns
/// without an error, nothing that was written is lost, whatever happens to the process or the power.
///
/// # Errors
/// [`Error::NoStore`], those of `prepare`, `work` and `before_flush`, and those of the database.
pub fn run<S: AsRef<Trees>, T>(
    layout: &StoreLayout,
    prepare: impl Fn(Trees) -> Result<S>,
    work: impl FnOnce(&S) -> Result<T>,
    before_flush: impl FnOnce() -> Result<()>,
) -> Result<Closed<T>> {
    let database = layout.database()?.ok_or_else(|| Error::NoStore { path: layout.path().to_owned() })?;
    let (session, database) = open_or_rebuild(layout, database, prepare)?;
    let opened = Instant::now();
    failpoint::hit(Failpoint::DatabaseOpened);
    let work = || {
        let result = work(&session)?;
        let trees = session.as_ref();
        if trees.has_written() {
            before_flush()?;
            trees.flush()?;
            failpoint::hit(Failpoint::Flushed);
            sync_log(&database)?;
            failpoint::hit(Failpoint::Synced);
        }
        Ok::<_, Error>(result)
    };
    let result = catch_unwind(AssertUnwindSafe(work));
    let worked = Instant::now();
    match result {
        // sled's handles may panic again when they are dropped.
        Err(_) => _ = ManuallyDrop::new(session),
        // What was written is durable by now, so a panic of sled's last sync loses nothing.
        Ok(_) => _ = catch_unwind(AssertUnwindSafe(|| drop(session))),
    }
    failpoint::hit(Failpoint::Closed);
    match result {
        Ok(result) => Ok(Closed { result: result?, database, opened, worked }),
        Err(panic) => Err(blame_system(layout.path(), panic_error(&*panic))),
    }
}

/// Builds a new database in a staging directory, and returns the directory. What is incomplete is removed.
///
/// Only for a process that holds the session's lock or the store exclusively.
///
/// # Errors
/// Those of `prepare`, `fill` and the database.
pub fn build<S: AsRef<Trees>, T: Send, E: From<Error> + Send>(
    layout: &StoreLayout,
    prepare: impl FnOnce(Trees) -> Result<S> + Send,
    fill: impl FnOnce(&S) -> Result<T, E> + Send,
) -> Result<(PathBuf, T), E> {
    let staging = layout.staging_dir()?;
    let build = || {
        let trees = Trees::open(open_database(&staging)?).map_err(Error::from)?;
        let session = prepare(trees)?;
        let filled = fill(&session)?;
        session.as_ref().flush()?;
        drop(session);
        // sled's threads belong to this process, so they end.
        wait_until_closed(&staging, Duration::MAX).map_err(Error::from)?;
        settle(&staging)?;
        failpoint::hit(Failpoint::DatabaseFilled);
        Ok(filled)
    };
    match catch_sled_panic(layout.path(), build).map_err(E::from).flatten() {
        Ok(filled) => Ok((staging, filled)),
        Err(error) => {
            let _ = fs::remove_dir_all(&staging);
            Err(error)
        }
    }
}

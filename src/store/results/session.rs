//! A session on the database of kept results.

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use sled::Db;
use tracing::warn;

use crate::store::engine::{catch_sled_panic, open_database, remove_incomplete_snapshots, sync_log, wait_until_closed};
use crate::store::error::{Error, Problem, Result};
use crate::store::failpoint::{self, Failpoint};
use crate::store::sessions::Sessions;
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{private_dir, sync_dir, sync_tree};

/// Opens the database, runs `work`, and makes what was written durable. Creates the database where there is none.
///
/// A database that is too damaged to be opened is moved to `kept/`, with a warning, and a new one takes its place.
///
/// # Errors
/// [`Error::Results`], [`Error::ResultsFile`]; [`Error::Busy`], [`Error::Cancelled`]; those of `work`.
pub(super) fn with_database<T: Send>(sessions: &Sessions, work: impl FnOnce(&Db) -> Result<T> + Send) -> Result<T> {
    let dir = sessions.layout.results();
    let run = || {
        let done = catch_sled_panic(sessions.layout.path(), || run(sessions, &dir, work)).flatten();
        done.map_err(|error| match error {
            Error::Database { problem, .. } => failed(sessions, problem),
            // That another process holds the database is no fault of the directory.
            Error::File(error) if error.op != FileOp::Lock => {
                Error::ResultsFile { error, dir: sessions.source.results() }
            }
            error => error,
        })
    };
    sessions.locks.lock_results(run)
}

fn run<T>(sessions: &Sessions, dir: &Path, work: impl FnOnce(&Db) -> Result<T>) -> Result<T> {
    let layout = &sessions.layout;
    let (database, is_complete) = match open(dir) {
        Err(Error::Database { problem: Problem::Damaged { .. } | Problem::Panicked(_), .. }) if !sessions.is_copy() => {
            let kept = layout.quarantine_results()?;
            warn!("the kept results were damaged; they are now in {}, and new ones are kept", kept.display());
            open(dir)?
        }
        opened => opened?,
    };
    let done = work(&database)?;
    database.flush()?;
    drop(database);
    failpoint::hit(Failpoint::ResultsWritten);
    if is_complete {
        sync_log(dir)?;
    } else {
        sync_tree(dir)?;
    }
    // Each time, since the process that created the database may have been killed before it synced its name.
    sync_dir(layout.path()).map_err(FileError::at(FileOp::Sync, layout.path()))?;
    failpoint::hit(Failpoint::ResultsSynced);
    Ok(done)
}

/// Opens the database, and returns whether its settings were there. Former builds may have left it without them.
fn open(dir: &Path) -> Result<(Db, bool)> {
    if !dir.exists() {
        create(dir)?;
    }
    remove_incomplete_snapshots(dir)?;
    let is_complete = dir.join("conf").exists();
    Ok((open_database(dir)?, is_complete))
}

/// Creates the database under another name, and makes all of it durable before it gets its name.
///
/// sled does not sync the settings of a new database, without which its log cannot be read.
fn create(dir: &Path) -> Result<()> {
    let staging = dir.with_extension("new");
    match fs::remove_dir_all(&staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(FileError::at(FileOp::Remove, &staging)(error).into());
        }
        _ => {}
    }
    private_dir(&staging).map_err(FileError::at(FileOp::Create, &staging))?;
    drop(open_database(&staging)?);
    wait_until_closed(&staging, Duration::MAX)?;
    sync_tree(&staging)?;
    failpoint::hit(Failpoint::ResultsBuilt);
    Ok(fs::rename(&staging, dir).map_err(FileError::at(FileOp::Move, &staging))?)
}

fn failed(sessions: &Sessions, problem: Problem) -> Error {
    Error::Results { problem, path: sessions.source.results() }
}

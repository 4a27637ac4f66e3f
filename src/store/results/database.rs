//! The database of kept results. It has its own lock, and is opened for one piece of work at a time.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use sled::Db;
use sled::transaction::{ConflictableTransactionResult, TransactionError, Transactional, TransactionalTree};

use super::stored::{EncodedResult, Limits, StoredResult, is_failure, job_of, key_prefix};
use crate::model::{CxnId, JobName};
use crate::store::engine::{
    Entry, catch_sled_panic, open_database, remove_incomplete_snapshots, sync_log, wait_until_closed,
};
use crate::store::error::{Error, Item, Problem, Result};
use crate::store::failpoint::{self, Failpoint};
use crate::store::schema::MAX_VALUE_BYTES;
use crate::store::sessions::Sessions;
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{private_dir, sync_dir, sync_tree};

/// How many results are read at a time.
///
/// It bounds the memory, since a result may have some hundred KiB. It has nothing to do with the size of transactions.
const READ_BATCH: usize = 256;
/// The tree of what results have beyond [`MAX_VALUE_BYTES`], in pieces of this size.
///
/// A key is that of the result and the number of the piece.
const PIECES: &str = "pieces";

/// Keeps results, and removes those that are beyond the limits.
///
/// # Errors
/// [`Error::Results`], [`Error::ResultsFile`]; [`Error::Busy`], [`Error::Cancelled`].
pub fn keep(sessions: &Sessions, results: &[EncodedResult], limits: &Limits) -> Result<()> {
    if results.is_empty() || limits.all == 0 {
        return Ok(());
    }
    with_database(sessions, |database| {
        for result in results {
            replace(database, &result.key, &result.record)?;
        }
        for result in results {
            let (mut all, mut failures) = (0, 0);
            let prefix = result.key.split_last_chunk::<8>().map_or(&[][..], |(prefix, _)| prefix);
            for entry in database.scan_prefix(prefix).rev() {
                let (key, value) = entry?;
                let failed = is_failure(&value);
                all += 1;
                failures += usize::from(failed);
                if all > limits.all || (failed && failures > limits.failures) {
                    replace(database, &key, &[])?;
                }
            }
        }
        Ok(())
    })
}

/// Passes results to `emit` by connection and job, the oldest first.
///
/// They are those of one connection, of one job, or all. With `latest` it passes only the newest of each connection and
/// job. `emit` runs while the database is closed.
///
/// # Errors
/// As [`keep`], and those of `emit`.
pub fn for_each<E: From<Error>>(
    sessions: &Sessions,
    cxn_id: Option<&CxnId>,
    job: Option<&JobName>,
    latest: bool,
    mut emit: impl FnMut(StoredResult) -> Result<(), E>,
) -> Result<(), E> {
    let prefix = key_prefix(cxn_id, job);
    let mut after: Option<Vec<u8>> = None;
    // The newest so far of a connection and job; the next batch may begin with a newer one.
    let mut newest: Option<StoredResult> = None;
    loop {
        let batch = read_batch(sessions, &prefix, after.as_deref())?;
        let Some((last, _)) = batch.last() else { break };
        after = Some(last.to_vec());
        for (key, value) in &batch {
            let result = StoredResult::decode(key, value)
                .ok_or_else(|| failed(sessions, Problem::Unreadable(Item::StoredResult)))?;
            if job.is_some_and(|job| *job != result.job) {
                continue;
            }
            if !latest {
                emit(result)?;
            } else if let Some(before) = newest.replace(result)
                && newest.as_ref().is_some_and(|now| (&now.cxn_id, &now.job) != (&before.cxn_id, &before.job))
            {
                emit(before)?;
            }
        }
    }
    newest.map_or(Ok(()), emit)
}

fn read_batch(sessions: &Sessions, prefix: &[u8], after: Option<&[u8]>) -> Result<Vec<Entry>> {
    if !exists(sessions) {
        return Ok(Vec::new());
    }
    with_database(sessions, |database| {
        let from = after.map_or(prefix.to_vec(), |after| [after, &[0]].concat());
        let entries = database.range(from..).take(READ_BATCH);
        let entries = entries.filter(|entry| entry.as_ref().map_or(true, |(key, _)| key.starts_with(prefix)));
        entries.map(|entry| whole(database, entry?)).collect()
    })
}

/// Removes results, and returns how many: of one connection, of one job, or all.
///
/// # Errors
/// As [`keep`].
pub fn remove(sessions: &Sessions, cxn_id: Option<&CxnId>, job: Option<&JobName>) -> Result<u64> {
    if !exists(sessions) {
        return Ok(0);
    }
    with_database(sessions, |database| {
        let mut removed = 0;
        for key in database.scan_prefix(key_prefix(cxn_id, job)).keys() {
            let key = key?;
            if job.is_none_or(|job| job_of(&key) == Some(job.as_str().as_bytes())) {
                replace(database, &key, &[])?;
                removed += 1;
            }
        }
        Ok(removed)
    })
}

/// Removes the results of connections that were removed.
///
/// # Errors
/// As [`keep`].
pub fn delete(sessions: &Sessions, gone: &[CxnId]) -> Result<()> {
    if gone.is_empty() || !exists(sessions) {
        return Ok(());
    }
    with_database(sessions, |database| {
        for cxn_id in gone {
            for key in database.scan_prefix(key_prefix(Some(cxn_id), None)).keys() {
                replace(database, &key?, &[])?;
            }
        }
        Ok(())
    })
}

/// Replaces a result by a record, all of it or nothing; an empty record removes it.
fn replace(database: &Db, key: &[u8], record: &[u8]) -> Result<()> {
    let pieces = database.open_tree(PIECES)?;
    let former = pieces.scan_prefix(key).keys().collect::<sled::Result<Vec<_>>>()?;
    let (first, rest) = record.split_at(record.len().min(MAX_VALUE_BYTES));
    let write = |(results, pieces): &(TransactionalTree, TransactionalTree)| {
        for key in &former {
            pieces.remove(key)?;
        }
        if first.is_empty() {
            results.remove(key)?;
        } else {
            results.insert(key, first)?;
        }
        for (piece, bytes) in (0_u32..).zip(rest.chunks(MAX_VALUE_BYTES)) {
            pieces.insert([key, &piece.to_be_bytes()].concat(), bytes)?;
        }
        ConflictableTransactionResult::<(), Infallible>::Ok(())
    };
    (&**database, &pieces).transaction(write).map_err(|error| match error {
        TransactionError::Abort(never) => match never {},
        TransactionError::Storage(error) => error.into(),
    })
}

/// Adds to the first part of a record its other parts. Former builds wrote long records in one part.
fn whole(database: &Db, (key, first): Entry) -> Result<Entry> {
    if first.len() != MAX_VALUE_BYTES {
        return Ok((key, first));
    }
    let mut record = first.to_vec();
    for piece in database.open_tree(PIECES)?.scan_prefix(&key).values() {
        record.extend_from_slice(&piece?);
    }
    Ok((key, record.into()))
}

fn exists(sessions: &Sessions) -> bool {
    sessions.layout.results().exists()
}

/// Opens the database, runs `work`, and makes what was written durable. Creates the database where there is none.
fn with_database<T: Send>(sessions: &Sessions, work: impl FnOnce(&Db) -> Result<T> + Send) -> Result<T> {
    let dir = sessions.layout.results();
    let run = || {
        let done = catch_sled_panic(sessions.layout.path(), || run(&dir, work)).flatten();
        done.map_err(|error| match error {
            Error::Database { problem, .. } => failed(sessions, problem),
            // That another process holds the database is no fault of the directory.
            Error::File(error) if error.op != FileOp::Lock => Error::ResultsFile { error, dir: dir.clone() },
            error => error,
        })
    };
    sessions.locks.lock_results(run)
}

fn run<T>(dir: &Path, work: impl FnOnce(&Db) -> Result<T>) -> Result<T> {
    if !dir.exists() {
        create(dir)?;
    }
    remove_incomplete_snapshots(dir)?;
    let database = open_database(dir)?;
    let done = work(&database)?;
    database.flush()?;
    drop(database);
    failpoint::hit(Failpoint::ResultsWritten);
    sync_log(dir)?;
    // Each time, since the process that created the database may have been killed before it synced its name.
    let store = dir.parent().unwrap_or(dir);
    sync_dir(store).map_err(FileError::at(FileOp::Sync, store))?;
    failpoint::hit(Failpoint::ResultsSynced);
    Ok(done)
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
    Error::Results { problem, path: sessions.layout.results() }
}

//! Keeping, reading and removing results. The database has its own lock, and is opened for one piece of work at a time.

use std::ops::Bound::{Excluded, Unbounded};
use std::time::Instant;

use sled::IVec;

use super::pieces::{replace, whole};
use super::session::with_database;
use super::stored::{EncodedResult, Limits, StoredResult, cxn_of, is_failure, job_of, key_prefix};
use crate::model::{CxnId, JobName};
use crate::store::engine::Entry;
use crate::store::error::{Error, Item, Result};
use crate::store::sessions::{SLICE, Sessions};
use crate::store::skipped::Skipped;

/// How many results are read at a time.
///
/// It bounds the memory, since a result may have some hundred KiB. It has nothing to do with the size of transactions.
const READ_BATCH: usize = 256;

/// How many keys of results are read at a time.
const MAX_PART_KEYS: usize = 16_384;

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
/// job. `emit` runs while the database is closed. Those that cannot be read are skipped.
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
            if job.is_some_and(|job| job_of(key) != Some(job.as_str().as_bytes())) {
                continue;
            }
            let Some(result) = StoredResult::decode(key, value) else {
                let (key, cxn_id) = (key.to_vec(), cxn_of(key));
                sessions.skipped.add(Skipped { tree: "results", key, cxn_id, item: Item::StoredResult });
                continue;
            };
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

/// A part of the results, for a check of all.
#[derive(Debug, Default)]
pub struct Part {
    /// The keys, in order.
    pub keys: Vec<IVec>,
    /// The entries that cannot be read.
    pub unreadable: Vec<Entry>,
    /// Whether there are none behind these.
    pub is_last: bool,
}

/// Reads the next results behind a key, for at most about half a second.
///
/// # Errors
/// As [`keep`].
pub fn read_part(sessions: &Sessions, after: Option<&[u8]>) -> Result<Part> {
    if !exists(sessions) {
        return Ok(Part { is_last: true, ..Part::default() });
    }
    with_database(sessions, |database| {
        let (began, mut part) = (Instant::now(), Part::default());
        for entry in database.range::<&[u8], _>((after.map_or(Unbounded, Excluded), Unbounded)) {
            let (key, value) = whole(database, entry?)?;
            part.keys.push(key.clone());
            if StoredResult::decode(&key, &value).is_none() {
                part.unreadable.push((key, value));
            }
            let is_full = part.keys.len() >= MAX_PART_KEYS || part.unreadable.len() >= READ_BATCH;
            if is_full || began.elapsed() > SLICE {
                return Ok(part);
            }
        }
        part.is_last = true;
        Ok(part)
    })
}

/// Removes results by their keys.
///
/// # Errors
/// As [`keep`].
pub fn delete_entries(sessions: &Sessions, keys: &[IVec]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    with_database(sessions, |database| {
        for key in keys {
            replace(database, key, &[])?;
        }
        Ok(())
    })
}

fn exists(sessions: &Sessions) -> bool {
    sessions.layout.results().exists()
}

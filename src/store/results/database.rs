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

/// How many bytes of results are read at a time, as they are stored.
const READ_BYTES: usize = 2 << 20;

/// How many results that cannot be read are returned at a time.
const MAX_UNREADABLE: usize = 256;

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

/// Which results of each connection and job are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All, the oldest first.
    All,
    /// The newest.
    Newest,
    /// The newest of a poll that succeeded.
    NewestSuccess,
}

/// Passes results to `emit` by connection and job.
///
/// They are those of one connection, of one job, or all. `emit` runs while the database is closed. Those that cannot be read
/// are skipped.
///
/// # Errors
/// As [`keep`], and those of `emit`.
pub fn for_each<E: From<Error>>(
    sessions: &Sessions,
    cxn_id: Option<&CxnId>,
    job: Option<&JobName>,
    which: Which,
    mut emit: impl FnMut(StoredResult) -> Result<(), E>,
) -> Result<(), E> {
    let prefix = key_prefix(cxn_id, job);
    let mut after = None;
    loop {
        let batch = read_batch(sessions, &prefix, after, job, which)?;
        for (key, value) in batch.entries {
            let Some(result) = StoredResult::decode(&key, &value) else {
                let (key, cxn_id) = (key.to_vec(), cxn_of(&key));
                sessions.skipped.add(Skipped { tree: "results", key, cxn_id, item: Item::StoredResult });
                continue;
            };
            emit(result)?;
        }
        after = batch.last;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Some of the results.
#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    /// The key behind which there may be more; `None` if there are none.
    last: Option<Vec<u8>>,
}

/// Reads the next results behind a key, for at most about half a second.
fn read_batch(
    sessions: &Sessions,
    prefix: &[u8],
    after: Option<Vec<u8>>,
    job: Option<&JobName>,
    which: Which,
) -> Result<Batch> {
    if !exists(sessions) {
        return Ok(Batch::default());
    }
    with_database(sessions, |database| {
        let (began, mut bytes, mut batch) = (Instant::now(), 0, Batch::default());
        let behind = |key: &[u8]| database.range::<&[u8], _>((Excluded(key), Unbounded));
        let mut entries = after.map_or_else(|| database.range(prefix..), |after| behind(&after));
        while let Some(entry) = entries.next() {
            let (key, value) = entry?;
            if !key.starts_with(prefix) {
                break;
            }
            let mut last = key.to_vec();
            let mut found = Some((key, value));
            if let (Which::Newest | Which::NewestSuccess, Some((of_job, _))) = (which, last.split_last_chunk::<8>()) {
                let end = [of_job, &[0xFF; 8]].concat();
                let mut newest_first = database.range(of_job..&end[..]).rev();
                let is_wanted = |value: &IVec| which == Which::Newest || !is_failure(value);
                found = newest_first
                    .find(|entry| entry.as_ref().map_or(true, |(_, value)| is_wanted(value)))
                    .transpose()?;
                entries = behind(&end);
                last = end;
            }
            if let Some(entry) =
                found.filter(|(key, _)| job.is_none_or(|job| job_of(key) == Some(job.as_str().as_bytes())))
            {
                let entry = whole(database, entry)?;
                bytes += entry.0.len() + entry.1.len();
                batch.entries.push(entry);
            }
            if bytes > READ_BYTES || began.elapsed() > SLICE {
                batch.last = Some(last);
                break;
            }
        }
        Ok(batch)
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
            let is_full = part.keys.len() >= MAX_PART_KEYS || part.unreadable.len() >= MAX_UNREADABLE;
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

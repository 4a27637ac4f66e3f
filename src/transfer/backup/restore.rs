//! Checking and restoring a backup.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::file::Backup;
use super::lines::{FIRST_WITH_HISTORY, JobEntry, Line, VERSION};
use crate::model::UnixTime;
use crate::store::{CxnPatch, ExclusiveStore, StagedHistory, TX_BATCH, WriteSession, is_history_file};
use crate::transfer::entry::parse;
use crate::transfer::error::{BackupProblem, Error, Result};
use crate::util::file_error::{FileError, FileOp};

/// Checks that a backup is complete and that every line of it can be restored.
///
/// # Errors
/// [`Error::OpenBackup`] where the file cannot be opened, [`Error::InvalidBackup`] where it is not a backup or damaged.
pub fn verify(path: &Path) -> Result<Backup> {
    check(path).map(|(backup, _)| backup)
}

/// Replaces the content of a store by that of a backup, which is checked before.
///
/// The history of the store stays if the backup has none, as those of former builds. With `keep` what is replaced is kept.
/// Returns the backup, and where replaced databases are.
///
/// # Errors
/// Those of [`verify`] and [`ExclusiveStore::replace`]. The store is unchanged then.
pub fn restore(store: &ExclusiveStore, path: &Path, keep: bool) -> Result<(Backup, Vec<PathBuf>)> {
    let (backup, has_history) = check(path)?;
    let history = has_history.then(|| store.stage_history()).transpose()?;
    let ((), kept) = store.replace(keep, history, |session, history| fill(session, history, path))?;
    Ok((backup, kept))
}

/// Replaces the database of a store by that of a backup of it. The history stays as it is.
///
/// # Errors
/// As [`restore`].
pub fn compact(store: &ExclusiveStore, path: &Path) -> Result<()> {
    verify(path)?;
    store.replace(false, None, |session, _| fill(session, None, path)).map(drop)
}

/// Checks a backup; returns whether it has history too.
fn check(path: &Path) -> Result<(Backup, bool)> {
    let mut cxns = 0;
    let (first, lacks) = for_each_item(path, |item| {
        cxns += u64::from(matches!(item, Item::Cxn(_)));
        Ok(())
    })?;
    let bytes =
        fs::metadata(path).map_err(|error| Error::OpenBackup(FileError::at(FileOp::Inspect, path)(error)))?.len();
    Ok((Backup { path: path.to_owned(), at: first.at, cxns, bytes, lacks }, first.version >= FIRST_WITH_HISTORY))
}

fn fill(session: &WriteSession, history: Option<&StagedHistory>, path: &Path) -> Result<()> {
    let mut batch: Vec<CxnPatch> = Vec::with_capacity(TX_BATCH);
    for_each_item(path, |item| {
        match item {
            Item::Job(job) => {
                let JobEntry { app_id, job_name, retry, last_run, outage_since, outages } = *job;
                let (retry, last_run) = (retry.as_deref(), last_run.as_ref());
                session.restore_job(&app_id, &job_name, retry, last_run, outage_since, &outages)?;
            }
            Item::Cxn(patch) => batch.push(*patch),
            Item::History(file, bytes) => history.map_or(Ok(()), |history| history.write(&file, &bytes))?,
        }
        if batch.len() == TX_BATCH {
            session.upsert(&batch, true)?;
            batch.clear();
        }
        Ok(())
    })?;
    session.upsert(&batch, true)?;
    Ok(())
}

/// What a line of a backup restores.
enum Item {
    Job(Box<JobEntry>),
    Cxn(Box<CxnPatch>),
    /// Bytes that follow those before in the file of history of this name.
    History(String, Vec<u8>),
}

/// The first line of a backup.
#[derive(Default)]
struct First {
    version: u32,
    at: UnixTime,
}

/// Reads a backup to its end, checks it, and emits what each line restores.
///
/// Returns what is in its first line, and how many entries it lacks.
fn for_each_item(path: &Path, mut emit: impl FnMut(Item) -> Result<()>) -> Result<(First, u64)> {
    let invalid = |problem: BackupProblem| Error::InvalidBackup { path: path.to_owned(), problem, older: None };
    let file = File::open(path).map_err(|error| Error::OpenBackup(FileError::at(FileOp::Open, path)(error)))?;
    let mut reader = BufReader::new(MultiGzDecoder::new(BufReader::new(file)));
    let (mut hash, mut text, mut line, mut cxns) = (Sha256::new(), String::new(), 0, 0_u64);
    let mut first = First::default();
    loop {
        text.clear();
        line += 1;
        if reader.read_line(&mut text).map_err(|error| invalid(BackupProblem::Unreadable(error)))? == 0 {
            return Err(invalid(BackupProblem::NoEnd));
        }
        if text.starts_with(r#"{"cxnId""#) && line > 1 {
            cxns += 1;
            let patch = parse(&text).map_err(|problem| invalid(BackupProblem::InvalidLine { line, problem }))?;
            emit(Item::Cxn(Box::new(patch)))?;
        } else {
            match serde_json::from_str(&text) {
                Ok(Line::Backup { version: version @ 1..=VERSION, at, .. }) if line == 1 => {
                    first = First { version, at };
                }
                Ok(Line::Backup { version: found, .. }) if line == 1 => {
                    return Err(invalid(BackupProblem::UnknownVersion { found, known: VERSION }));
                }
                Ok(Line::Job(job)) if line > 1 => emit(Item::Job(job))?,
                Ok(Line::History { file, data }) if line > 1 && is_history_file(&file) => {
                    let bytes = STANDARD.decode(data).map_err(|_| invalid(BackupProblem::UnknownLine { line }))?;
                    emit(Item::History(file, bytes))?;
                }
                Ok(Line::End { cxns: expected, sha256, lacks }) if line > 1 => {
                    if expected != cxns || sha256 != hex::encode(hash.finalize()) {
                        return Err(invalid(BackupProblem::WrongChecksum));
                    }
                    // gzip compares its own checksum when the end of the file is read.
                    return match reader.read(&mut [0]) {
                        Ok(0) => Ok((first, lacks)),
                        Ok(_) => Err(invalid(BackupProblem::TrailingData)),
                        Err(error) => Err(invalid(BackupProblem::Unreadable(error))),
                    };
                }
                _ => return Err(invalid(BackupProblem::UnknownLine { line })),
            }
        }
        hash.update(&text);
    }
}

#[cfg(test)]
mod tests;

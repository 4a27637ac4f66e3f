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
use crate::store::{CxnPatch, ExclusiveStore, ReadSession, StagedHistory, TX_BATCH, WriteSession, is_history_file};
use crate::transfer::entry::parse;
use crate::transfer::error::{BackupProblem, Error, KeyProblem, Result};
use crate::util::encryption::{ARMORED, Identities, MAGIC, Undecryptable, decrypt};
use crate::util::file_error::{FileError, FileOp};
use crate::util::time::unix_now;

/// Checks that a backup is complete and that every line of it can be restored.
///
/// An encrypted one needs an identity of one of its recipients.
///
/// # Errors
/// [`Error::OpenBackup`] where the file cannot be opened, [`Error::InvalidBackup`] where it is not a backup or damaged,
/// [`Error::Undecryptable`].
pub fn verify(path: &Path, identities: &Identities) -> Result<Backup> {
    check(path, identities).map(|(backup, _)| backup)
}

/// Replaces the content of a store by that of a backup, which is checked before.
///
/// The history of the store stays if the backup has none, as those of former builds. With `keep` what is replaced is kept.
/// Returns the backup, and where replaced databases are.
///
/// # Errors
/// Those of [`verify`] and [`ExclusiveStore::replace`]. The store is unchanged then.
pub fn restore(
    store: &ExclusiveStore,
    path: &Path,
    identities: &Identities,
    keep: bool,
) -> Result<(Backup, Vec<PathBuf>)> {
    let (backup, has_history) = check(path, identities)?;
    let history = has_history.then(|| store.stage_history()).transpose()?;
    if history.is_none() {
        store.note_losses();
    }
    let (_, kept) = store.replace(keep, history, |session, history| {
        fill(session, history, path, identities, |_, _| Ok::<_, Error>(()))
    })?;
    Ok((backup, kept))
}

/// Replaces the database of a store by that of a backup of it. The history stays as it is.
///
/// The new database remembers the messages of sites that the old one does, which are not in backups.
///
/// # Errors
/// As [`restore`].
pub fn compact(store: &ExclusiveStore, path: &Path, identities: &Identities) -> Result<()> {
    verify(path, identities)?;
    let messages = store.store().read(ReadSession::messages)?;
    let fill = |session: &WriteSession, _: Option<&_>| {
        fill(session, None, path, identities, |_, _| Ok::<_, Error>(()))?;
        Ok::<_, Error>(session.remember_messages(&messages, unix_now())?)
    };
    store.replace(false, None, fill).map(drop)
}

/// Checks a backup; returns whether it has history too.
fn check(path: &Path, identities: &Identities) -> Result<(Backup, bool)> {
    let mut cxns = 0;
    let (first, lacks) = for_each_item(path, identities, |_, item| {
        cxns += u64::from(matches!(item, Item::Cxn(_)));
        Ok::<_, Error>(())
    })?;
    let backup = Backup { path: path.to_owned(), at: first.at, cxns, bytes: size(path)?, lacks };
    Ok((backup, first.version >= FIRST_WITH_HISTORY))
}

/// The size of a backup in bytes.
///
/// # Errors
/// [`Error::OpenBackup`].
pub(super) fn size(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).map_err(FileError::at(FileOp::Inspect, path));
    Ok(metadata.map_err(Error::OpenBackup)?.len())
}

/// Fills a database and a history with a backup, and passes each line to `inspect`.
///
/// Returns when the backup was written, and how many entries it lacks.
///
/// # Errors
/// Those of `inspect`, and as [`restore`].
pub(super) fn fill<E: From<Error>>(
    session: &WriteSession,
    history: Option<&StagedHistory>,
    path: &Path,
    identities: &Identities,
    mut inspect: impl FnMut(&str, &Item) -> Result<(), E>,
) -> Result<(UnixTime, u64), E> {
    let mut batch: Vec<CxnPatch> = Vec::with_capacity(TX_BATCH);
    let upsert = |batch: &[CxnPatch]| session.upsert(batch, true).map(drop).map_err(Error::from);
    let (first, lacks) = for_each_item(path, identities, |text, item| {
        inspect(text, &item)?;
        match item {
            Item::Job(job) => {
                let JobEntry { app_id, job_name, retry, last_run, outage_since, outages } = *job;
                let (retry, last_run) = (retry.as_deref(), last_run.as_ref());
                let restored = session.restore_job(&app_id, &job_name, retry, last_run, outage_since, &outages);
                restored.map_err(Error::from)?;
            }
            Item::Cxn(patch) => batch.push(*patch),
            Item::History(file, bytes) => {
                history.map_or(Ok(()), |history| history.write(&file, &bytes)).map_err(Error::from)?;
            }
        }
        if batch.len() == TX_BATCH {
            upsert(&batch)?;
            batch.clear();
        }
        Ok::<_, E>(())
    })?;
    upsert(&batch)?;
    Ok((first.at, lacks))
}

/// What a line of a backup restores.
pub(super) enum Item {
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

/// Reads a backup to its end, checks it, and emits each line with what it restores.
///
/// Returns what is in its first line, and how many entries it lacks.
fn for_each_item<E: From<Error>>(
    path: &Path,
    identities: &Identities,
    mut emit: impl FnMut(&str, Item) -> Result<(), E>,
) -> Result<(First, u64), E> {
    let invalid = |problem: BackupProblem| E::from(Error::invalid_backup(path, problem));
    let mut reader = BufReader::new(MultiGzDecoder::new(open(path, identities)?));
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
            emit(&text, Item::Cxn(Box::new(patch)))?;
        } else {
            match serde_json::from_str(&text) {
                Ok(Line::Backup { version: version @ 1..=VERSION, at, .. }) if line == 1 => {
                    first = First { version, at };
                }
                Ok(Line::Backup { version: found, .. }) if line == 1 => {
                    return Err(invalid(BackupProblem::UnknownVersion { found, known: VERSION }));
                }
                Ok(Line::Job(job)) if line > 1 => emit(&text, Item::Job(job))?,
                Ok(Line::History { file, data }) if line > 1 && is_history_file(&file) => {
                    let bytes = STANDARD.decode(data).map_err(|_| invalid(BackupProblem::UnknownLine { line }))?;
                    emit(&text, Item::History(file, bytes))?;
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

/// Opens a backup, and decrypts it if it is encrypted.
fn open(path: &Path, identities: &Identities) -> Result<Box<dyn BufRead>> {
    let file = File::open(path).map_err(|error| Error::OpenBackup(FileError::at(FileOp::Open, path)(error)))?;
    let mut file = BufReader::new(file);
    let unreadable = |error| Error::invalid_backup(path, BackupProblem::Unreadable(error));
    let wrong_key = |problem| Error::Undecryptable { path: path.to_owned(), problem };
    let start = file.fill_buf().map_err(unreadable)?;
    if start.starts_with(ARMORED) {
        return Err(wrong_key(KeyProblem::Armored));
    }
    if !start.starts_with(MAGIC) {
        return Ok(Box::new(file));
    }
    let reader = decrypt(file, identities).map_err(|problem| match problem {
        Undecryptable::OtherKey if identities.is_empty() => wrong_key(KeyProblem::NoKey),
        Undecryptable::OtherKey => wrong_key(KeyProblem::OtherKey),
        Undecryptable::OtherKind => wrong_key(KeyProblem::OtherKind),
        Undecryptable::Passphrase => wrong_key(KeyProblem::Passphrase),
        Undecryptable::Damaged => Error::invalid_backup(path, BackupProblem::DamagedHeader),
        Undecryptable::Read(error) => unreadable(error),
    })?;
    Ok(Box::new(BufReader::new(reader)))
}

#[cfg(test)]
mod tests;

//! Writing a backup.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::file::{Backup, Interrupt, PARTIALS};
use super::lines::{JobEntry, Line, VERSION};
use super::rehearsals::Rehearsals;
use crate::store::failpoint::{self, Failpoint};
use crate::store::{self, Backups, Job, ReadSession, SEQUENCE_NOTE, Store, backup_name};
use crate::transfer::entry::line;
use crate::transfer::error::{Error, Result};
use crate::util::encryption::{Encrypting, Identities, Recipient};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{AtomicFile, Durability, private_dir, sync_dir};
use crate::util::lock::{FileLock, Mode};
use crate::util::private_temp::remove_abandoned;

/// The name of a backup while it is written.
const STAGING: &str = "backup.writing";
/// How many bytes of history are in one line.
pub(super) const HISTORY_PART_BYTES: usize = 48 << 10;
/// The lock of the process that writes a backup.
const LOCK: &str = "backup.lock";

/// Writes a backup of a store at `now`, then removes all backups but the newest `keep`.
///
/// The one that it wrote counts as the newest, whatever the time is. The last one that could be restored stays, however old.
///
/// `None` means that no backup was written, because `stop` returned true or another process is writing one.
///
/// A backup that lacks what cannot be read becomes `partial.gz`, and no other is removed.
///
/// The file is encrypted to the recipients, if there are any. It is encrypted to one key more, which is returned and is
/// nowhere else, so that this process can read what it wrote. Without recipients there is no key.
///
/// # Errors
/// Fails if the store cannot be read, or a file cannot be written.
pub fn back_up(
    store: &Store,
    now: DateTime<Utc>,
    keep: usize,
    recipients: &[Recipient],
    stop: impl Fn() -> bool,
) -> Result<Option<(Backup, Identities)>> {
    let (mut recipients, mut own) = (recipients.to_vec(), Identities::default());
    if !recipients.is_empty() {
        let (identities, recipient) = Identities::generate().map_err(store::error::Error::Random)?;
        recipients.push(recipient);
        own = identities;
    }
    // So a process that needs the store exclusively waits for the backup, and finds the lock of backups free.
    let backup = store.lock_shared(|| write_and_rotate(store, now, keep, &recipients, stop))?;
    Ok(backup.map(|backup| (backup, own)))
}

fn write_and_rotate(
    store: &Store,
    now: DateTime<Utc>,
    keep: usize,
    recipients: &[Recipient],
    stop: impl Fn() -> bool,
) -> Result<Option<Backup>> {
    let dir = store.backup_dir();
    private_dir(&dir).map_err(at(FileOp::Create, &dir))?;
    let lock_path = dir.join(LOCK);
    let mut lock = FileLock::open(&lock_path).map_err(at(FileOp::Open, &lock_path))?;
    if !lock.try_acquire(Mode::Exclusive).map_err(at(FileOp::Lock, &lock_path))? {
        return Ok(None);
    }
    remove_abandoned(&dir);
    let is_encrypted = !recipients.is_empty();
    let Backups { past, future, next_sequence } = store.backups(now.timestamp())?;
    let (staging, path) = (dir.join(STAGING), unused_path(&dir, now, is_encrypted));
    let mut file = AtomicFile::staged_as(&staging, &path).map_err(at(FileOp::Create, &staging))?;
    failpoint::hit(Failpoint::BackupStarted);
    let (cxns, lacks) = match write(store, now, next_sequence, recipients, file.file(), &staging, stop) {
        Ok(written) => written,
        Err(Interrupt::Stopped) => return Ok(None),
        Err(Interrupt::Failed(error)) => return Err(error),
    };
    let partials = PARTIALS.map(|name| dir.join(name));
    let written = || failpoint::hit(Failpoint::BackupWritten);
    let path = if lacks == 0 {
        file.commit_new(written).map_err(at(FileOp::Move, &path))?;
        path
    } else {
        let [plain, encrypted] = &partials;
        let partial = if is_encrypted { encrypted } else { plain };
        file.with_path(partial.clone()).commit(Durability::Durable, written).map_err(at(FileOp::Move, partial))?;
        partial.clone()
    };
    // A process that was killed may have created the directory without making its name durable.
    sync_dir(store.path()).map_err(at(FileOp::Sync, store.path()))?;
    failpoint::hit(Failpoint::BackupRenamed);
    if lacks == 0 {
        let rehearsals = Rehearsals::read(store);
        let old = past.into_iter().chain(future).skip(keep.max(1) - 1).filter(|old| !rehearsals.is_last_good(old));
        for old in old.chain(partials.into_iter().filter(|partial| partial.exists())) {
            fs::remove_file(&old).map_err(at(FileOp::Remove, &old))?;
            failpoint::hit(Failpoint::OldBackupRemoved);
        }
    }
    let bytes = fs::metadata(&path).map_err(at(FileOp::Inspect, &path))?.len();
    Ok(Some(Backup { path, at: now.timestamp(), cxns, bytes, lacks }))
}

/// The path of a backup that is made at a time. No file has this name yet.
fn unused_path(dir: &Path, now: DateTime<Utc>, is_encrypted: bool) -> PathBuf {
    let mut paths = (1..).map(|number| dir.join(backup_name(now, number, is_encrypted)));
    // A directory has fewer files than there are numbers.
    paths.find(|path| fs::symlink_metadata(path).is_err()).unwrap_or_default()
}

fn at(op: FileOp, path: &Path) -> impl Fn(io::Error) -> Error {
    let at = FileError::at(op, path);
    move |error| Error::File(at(error))
}

/// Writes all lines; returns the number of connections and that of the entries that could not be read.
fn write(
    store: &Store,
    now: DateTime<Utc>,
    sequence: u64,
    recipients: &[Recipient],
    file: &File,
    path: &Path,
    stop: impl Fn() -> bool,
) -> Result<(u64, u64), Interrupt> {
    let failed = at(FileOp::Write, path);
    let note = [SEQUENCE_NOTE, &sequence.to_string()];
    let encrypting = Encrypting::new(BufWriter::new(file), recipients, &note).map_err(&failed)?;
    let mut out = GzEncoder::new(encrypting, Compression::fast());
    let mut hash = Sha256::new();
    let mut put = |text: &str| {
        hash.update(text);
        hash.update("\n");
        writeln!(out, "{text}").map_err(&failed)
    };
    let program = env!("CARGO_PKG_VERSION").to_owned();
    put(&Line::Backup { version: VERSION, at: now.timestamp(), program, sequence: Some(sequence) }.to_json())?;
    for job in store.read(jobs)? {
        put(&Line::Job(Box::new(job)).to_json())?;
    }
    let mut cxns = 0;
    store.for_each_cxn(|_, cxn, statuses| {
        if stop() {
            return Err(Interrupt::Stopped);
        }
        cxns += 1;
        Ok(put(&line(&cxn, statuses))?)
    })?;
    // It comes last, so that it has what the statuses show.
    let history = store.history();
    for file in history.names().map_err(Error::from)? {
        history.copy_file(&file, HISTORY_PART_BYTES, |part| {
            if stop() {
                return Err(Interrupt::Stopped);
            }
            let data = STANDARD.encode(part);
            Ok(put(&Line::History { file: file.clone(), data }.to_json())?)
        })?;
    }
    let sha256 = hex::encode(hash.finalize());
    let lacks = store.skipped().lost() as u64;
    writeln!(out, "{}", Line::End { cxns, sha256, lacks }.to_json()).map_err(&failed)?;
    out.finish().and_then(Encrypting::finish).and_then(|mut buffer| buffer.flush()).map_err(&failed)?;
    Ok((cxns, lacks))
}

/// The jobs of all apps.
pub(super) fn jobs(session: &ReadSession) -> store::Result<Vec<JobEntry>> {
    let mut jobs = Vec::new();
    for (app, app_id) in session.apps()? {
        for Job { name: job_name, retry, last_run, outage_since, outages, .. } in session.jobs(Some(app))? {
            jobs.push(JobEntry { app_id: app_id.clone(), job_name, retry, last_run, outage_since, outages });
        }
    }
    Ok(jobs)
}

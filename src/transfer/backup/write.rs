//! Writing a backup.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::file::{Backup, name_at};
use super::lines::{JobEntry, Line, VERSION};
use crate::store::failpoint::{self, Failpoint};
use crate::store::{self, Job, ReadSession, Store};
use crate::transfer::entry::line;
use crate::transfer::error::{Error, Result};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{AtomicFile, Durability, private_dir};
use crate::util::lock::{FileLock, Mode};

/// The name of a backup while it is written.
const STAGING: &str = "backup.writing";
/// The lock of the process that writes a backup.
const LOCK: &str = "backup.lock";

/// Writes a backup of a store, then removes all backups but the newest `keep`.
///
/// `None` means that no backup was written, because `stop` returned true or another process is writing one.
///
/// # Errors
/// Fails if a connection cannot be read, so that the backup would not be complete, or a file cannot be written.
pub fn back_up(store: &Store, keep: usize, stop: impl Fn() -> bool) -> Result<Option<Backup>> {
    let dir = store.backup_dir();
    private_dir(&dir).map_err(at(FileOp::Create, &dir))?;
    let lock_path = dir.join(LOCK);
    let mut lock = FileLock::open(&lock_path).map_err(at(FileOp::Open, &lock_path))?;
    if !lock.try_acquire(Mode::Exclusive).map_err(at(FileOp::Lock, &lock_path))? {
        return Ok(None);
    }
    let started = Utc::now();
    let path = dir.join(name_at(started));
    let staging = dir.join(STAGING);
    let mut file = AtomicFile::staged_as(&staging, &path).map_err(at(FileOp::Create, &staging))?;
    failpoint::hit(Failpoint::BackupStarted);
    let cxns = match write(store, started, file.file(), &staging, stop) {
        Ok(cxns) => cxns,
        Err(Interrupt::Stopped) => return Ok(None),
        Err(Interrupt::Failed(error)) => return Err(error),
    };
    let written = || failpoint::hit(Failpoint::BackupWritten);
    let file = file.commit(Durability::Durable, written).map_err(at(FileOp::Move, &path))?;
    failpoint::hit(Failpoint::BackupRenamed);
    for old in store.backups()?.into_iter().skip(keep.max(1)) {
        fs::remove_file(&old).map_err(at(FileOp::Remove, &old))?;
        failpoint::hit(Failpoint::OldBackupRemoved);
    }
    let bytes = file.metadata().map_err(at(FileOp::Inspect, &path))?.len();
    Ok(Some(Backup { path, cxns, bytes }))
}

fn at(op: FileOp, path: &Path) -> impl Fn(io::Error) -> Error {
    let at = FileError::at(op, path);
    move |error| Error::File(at(error))
}

/// Why a backup was not written to its end.
enum Interrupt {
    Stopped,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Interrupt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Writes all lines and returns the number of connections.
fn write(
    store: &Store,
    started: DateTime<Utc>,
    file: &File,
    path: &Path,
    stop: impl Fn() -> bool,
) -> Result<u64, Interrupt> {
    let failed = at(FileOp::Write, path);
    let mut out = GzEncoder::new(BufWriter::new(file), Compression::fast());
    let mut hash = Sha256::new();
    let mut put = |text: &str| {
        hash.update(text);
        hash.update("\n");
        writeln!(out, "{text}").map_err(&failed)
    };
    let program = env!("CARGO_PKG_VERSION").to_owned();
    put(&Line::Backup { version: VERSION, at: started.timestamp(), program }.to_json())?;
    for job in store.read(jobs)? {
        put(&Line::Job(job).to_json())?;
    }
    let mut cxns = 0;
    store.for_each_cxn(|_, cxn, statuses| {
        if stop() {
            return Err(Interrupt::Stopped);
        }
        cxns += 1;
        Ok(put(&line(&cxn, statuses))?)
    })?;
    let sha256 = hex::encode(hash.finalize());
    writeln!(out, "{}", Line::End { cxns, sha256 }.to_json()).map_err(&failed)?;
    out.finish().and_then(|mut buffer| buffer.flush()).map_err(&failed)?;
    Ok(cxns)
}

/// The jobs of all apps.
fn jobs(session: &ReadSession) -> store::Result<Vec<JobEntry>> {
    let mut jobs = Vec::new();
    for (app, app_id) in session.apps()? {
        for Job { name: job_name, retry, last_run, outage_since, .. } in session.jobs(Some(app))? {
            jobs.push(JobEntry { app_id: app_id.clone(), job_name, retry, last_run, outage_since });
        }
    }
    Ok(jobs)
}

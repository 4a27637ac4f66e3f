//! Backups as files, and when the next is due.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use tracing::warn;

use crate::model::UnixTime;
use crate::store::{BackupTimes, Store};
use crate::transfer::error::{Error, Result};

/// A backup that was written or checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its file.
    pub path: PathBuf,
    /// When it was written.
    pub at: UnixTime,
    /// The number of its connections.
    pub cxns: u64,
    /// Its compressed size in bytes.
    pub bytes: u64,
    /// How many entries it lacks because they could not be read.
    pub lacks: u64,
}

/// Why work on a backup did not get to its end.
pub(super) enum Interrupt {
    Stopped,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Interrupt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Whether a directory does not exist, or cannot be written by this process.
pub(super) fn is_refused(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::NotFound | Kind::PermissionDenied | Kind::ReadOnlyFilesystem)
}

/// The names of the newest backup that lacks entries: as it is, and encrypted.
///
/// Those are no names of backups, so that it takes no complete one's place: neither in a rotation nor as the newest.
pub const PARTIALS: [&str; 2] = ["partial.gz", "partial.gz.age"];

/// Whether the newest backup of a store is at least `every_s` seconds old, or there is none.
///
/// A backup whose time is in the future does not count.
///
/// # Errors
/// Fails if the directory of backups cannot be read.
pub fn is_due(store: &Store, now: DateTime<Utc>, every_s: i64) -> Result<bool> {
    let now = now.timestamp();
    let BackupTimes { latest, .. } = store.backup_times(now)?;
    let partials = PARTIALS.iter().filter_map(|name| fs::metadata(store.backup_dir().join(name)).ok());
    let is_old = |at: i64| now.abs_diff(at) >= every_s.unsigned_abs();
    Ok(latest.into_iter().chain(partials.map(|metadata| metadata.mtime())).all(is_old))
}

/// Warns of backups whose time is in the future, because the clock was wrong then or is now.
///
/// # Errors
/// Fails if the directory of backups cannot be read.
pub fn warn_of_future(store: &Store, now: DateTime<Utc>) -> Result<()> {
    let future = store.backup_times(now.timestamp())?.future;
    let Some(first) = future.first() else { return Ok(()) };
    let others = if future.len() > 1 { format!(" (one of {})", future.len()) } else { String::new() };
    let first = first.display();
    warn!("{first}{others} is from the future and counts as an old backup: correct the clock, or remove the file");
    Ok(())
}

//! Backups as files, and when the next is due.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use tracing::warn;

use crate::store::{BackupTimes, Store};
use crate::transfer::error::Result;

/// A backup that was written or checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its file.
    pub path: PathBuf,
    /// The number of its connections.
    pub cxns: u64,
    /// Its compressed size in bytes.
    pub bytes: u64,
}

/// Whether the newest backup of a store is at least `every_s` seconds old, or there is none.
///
/// A backup whose time is in the future does not count. Warns of it, as [`warn_of_future`] does.
///
/// # Errors
/// Fails if the directory of backups cannot be read.
pub fn is_due(store: &Store, now: DateTime<Utc>, every_s: i64) -> Result<bool> {
    let now = now.timestamp();
    let BackupTimes { latest, future } = store.backup_times(now)?;
    warn_of(&future);
    Ok(latest.is_none_or(|at| now.saturating_sub(at) >= every_s))
}

/// Warns of backups whose time is in the future, because the clock was wrong then or is now.
///
/// # Errors
/// Fails if the directory of backups cannot be read.
pub fn warn_of_future(store: &Store, now: DateTime<Utc>) -> Result<()> {
    warn_of(&store.backup_times(now.timestamp())?.future);
    Ok(())
}

fn warn_of(future: &[PathBuf]) {
    let Some(first) = future.first() else { return };
    let others = if future.len() > 1 { format!(" (one of {})", future.len()) } else { String::new() };
    let first = first.display();
    warn!("{first}{others} is from the future and counts as an old backup: correct the clock, or remove the file");
}

//! Backups as files: their names, and when the next is due.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::model::UnixTime;
use crate::store::{BACKUP_SUFFIX, Store};
use crate::transfer::error::Result;

/// The time in the name of a backup, UTC.
const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// A backup that was written or checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its file.
    pub path: PathBuf,
    /// The number of its connections.
    pub cxns: u64,
    /// Its compressed size in bytes.
    pub bytes: u64,
    /// How many entries it lacks because they could not be read.
    pub lacks: u64,
}

/// The name of the newest backup that lacks entries.
///
/// It is not the name of a backup, so that it takes no complete one's place: neither in a rotation nor as the newest.
pub const PARTIAL: &str = "partial.gz";

/// The name of a backup that is made at a time: `20260131T120000Z.jsonl.gz`.
pub fn name_at(time: DateTime<Utc>) -> String {
    time.format(TIME_FORMAT).to_string() + BACKUP_SUFFIX
}

/// Reads from the name of a backup when it was made; `None` if the file has another name.
fn made_at(path: &Path) -> Option<UnixTime> {
    let name = path.file_name()?.to_str()?.strip_suffix(BACKUP_SUFFIX)?;
    NaiveDateTime::parse_from_str(name, TIME_FORMAT).ok().map(|time| time.and_utc().timestamp())
}

/// Whether the newest backup of a store is at least `every_s` seconds old, or there is none.
///
/// A newest backup that is as far in the future counts as old too: the clock was wrong then, and would prevent all backups
/// until that time.
///
/// # Errors
/// Fails if the directory of backups cannot be read.
pub fn is_due(store: &Store, now: DateTime<Utc>, every_s: i64) -> Result<bool> {
    let newest = store.backups()?.first().and_then(|path| made_at(path));
    let partial = fs::metadata(store.backup_dir().join(PARTIAL)).ok().map(|metadata| metadata.mtime());
    Ok([newest, partial].into_iter().all(|at| is_due_after(at, now.timestamp(), every_s)))
}

fn is_due_after(newest: Option<UnixTime>, now: UnixTime, every_s: i64) -> bool {
    newest.is_none_or(|at| now.abs_diff(at) >= every_s.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_the_time() {
        let time = DateTime::from_timestamp(1_769_860_800, 0).unwrap();
        assert_eq!(name_at(time), "20260131T120000Z.jsonl.gz");
        assert_eq!(made_at(Path::new("/x/20260131T120000Z.jsonl.gz")), Some(1_769_860_800));
        for other in ["20260131T120000Z.jsonl", "backup.writing", "2026.jsonl.gz", ""] {
            assert_eq!(made_at(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn a_backup_is_due_when_the_newest_is_old_or_from_the_future() {
        let (now, day) = (1_769_860_800, 86_400);
        assert!(is_due_after(None, now, day));
        for (newest, is_due) in [
            (now, false),
            (now - day + 1, false),
            (now - day, true),
            // Clocks of machines differ by seconds, which is no reason for a backup.
            (now + day - 1, false),
            (now + day, true),
            (now + 365 * day, true),
        ] {
            assert_eq!(is_due_after(Some(newest), now, day), is_due, "{newest}");
        }
    }
}

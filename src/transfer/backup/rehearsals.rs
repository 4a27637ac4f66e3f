//! What is known of the backups of a store that were restored to check them.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::debug;

use super::file::is_refused;
use crate::model::UnixTime;
use crate::store::Store;
use crate::store::failpoint::{self, Failpoint};
use crate::transfer::error::{Error, Result};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{AtomicFile, Durability};
use crate::util::time::unix_now;

/// The name of the file in the directory of the backups.
const FILE: &str = "checked.json";

/// Which backup could be restored last, and which could not.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rehearsals {
    /// The name of the newest backup that could be restored.
    last_good: Option<String>,
    /// A backup that could not be restored, until one at least as new can.
    bad: Option<BadBackup>,
}

/// A backup that could not be restored.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BadBackup {
    name: String,
    /// When that was found.
    at: UnixTime,
}

impl Rehearsals {
    /// Reads what is known; nothing if the file is missing or damaged.
    #[must_use]
    pub fn read(store: &Store) -> Self {
        let path = store.backup_dir().join(FILE);
        let read =
            || Some(serde_json::from_slice(&fs::read(&path).ok()?).inspect_err(|error| debug!(%error, "{FILE}")));
        read().and_then(Result::ok).unwrap_or_default()
    }

    /// Whether this backup is the newest that could be restored.
    #[must_use]
    pub fn is_last_good(&self, path: &Path) -> bool {
        self.last_good.as_ref().is_some_and(|name| path.file_name() == Some(OsStr::new(name)))
    }

    /// A backup that is there and could not be restored, and when that was found; `None` if there is none.
    #[must_use]
    pub fn bad(&self, store: &Store) -> Option<(PathBuf, UnixTime)> {
        let bad = self.bad.as_ref()?;
        let path = store.backup_dir().join(&bad.name);
        path.exists().then_some((path, bad.at))
    }

    /// Adds a result. `age` is the place of a backup among all, 0 for the newest.
    fn add(&mut self, name: &str, is_good: bool, at: UnixTime, age: impl Fn(&str) -> usize) {
        if !is_good {
            self.last_good.take_if(|good| good == name);
            self.bad = Some(BadBackup { name: name.to_owned(), at });
            return;
        }
        if self.last_good.as_ref().is_none_or(|good| age(name) <= age(good)) {
            self.last_good = Some(name.to_owned());
        }
        self.bad.take_if(|bad| age(name) <= age(&bad.name));
    }
}

/// Records whether a backup could be restored. Files that are no backups of the store are not recorded.
///
/// A directory that this process may not write to is left as it is.
///
/// # Errors
/// [`Error::File`] where the record cannot be written; those of listing the backups.
pub(super) fn record(store: &Store, path: &Path, is_good: bool) -> Result<()> {
    let (dir, now) = (store.backup_dir(), unix_now());
    let is_ours = path.parent().and_then(|parent| Some(fs::canonicalize(parent).ok()? == fs::canonicalize(&dir).ok()?));
    let list = store.backups(now)?;
    let names: Vec<_> = list.past.iter().chain(&list.future).filter_map(|path| path.file_name()?.to_str()).collect();
    let age = |name: &str| names.iter().position(|known| *known == name).unwrap_or(usize::MAX);
    let name = path.file_name().and_then(OsStr::to_str).filter(|name| names.contains(name));
    let Some(name) = name.filter(|_| is_ours == Some(true)) else { return Ok(()) };
    let mut rehearsals = Rehearsals::read(store);
    rehearsals.add(name, is_good, now, age);
    let path = dir.join(FILE);
    let write = || {
        let mut file = AtomicFile::beside(&path, &Permissions::from_mode(0o600))?;
        file.file().write_all(&serde_json::to_vec(&rehearsals)?)?;
        file.commit(Durability::Durable, || failpoint::hit(Failpoint::RehearsalRecorded))
    };
    match write() {
        Err(error) if is_refused(&error) => Ok(()),
        written => written.map_err(|error| Error::File(FileError::at(FileOp::Write, &path)(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Backups are named by their age here.
    fn after(results: &[(&str, bool)]) -> (Option<String>, Option<String>) {
        let mut rehearsals = Rehearsals::default();
        for (name, is_good) in results {
            rehearsals.add(name, *is_good, 5, |name| name.parse().unwrap());
        }
        (rehearsals.last_good, rehearsals.bad.map(|bad| bad.name))
    }

    #[test]
    fn newest_good_backup_and_unsettled_bad_one_are_known() {
        let (known, none) = (|name: &str| Some(name.to_owned()), None);
        assert_eq!(after(&[("2", true)]), (known("2"), none.clone()));
        assert_eq!(after(&[("2", true), ("1", true)]), (known("1"), none.clone()));
        assert_eq!(after(&[("1", true), ("2", true)]), (known("1"), none.clone()));
        assert_eq!(after(&[("2", true), ("1", false)]), (known("2"), known("1")));
        // An older backup that is good does not settle it, a newer one does.
        assert_eq!(after(&[("2", false), ("3", true)]), (known("3"), known("2")));
        assert_eq!(after(&[("2", false), ("1", true)]), (known("1"), none.clone()));
        assert_eq!(after(&[("2", true), ("2", false)]), (none.clone(), known("2")));
        assert_eq!(after(&[("2", false), ("2", true)]), (known("2"), none));
    }
}

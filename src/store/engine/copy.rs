//! A copy of a store that this process may not write: sled changes a database when it opens it.

use std::path::Path;
use std::time::Duration;

use tracing::debug;

use super::database::{SLED_LOCK_TIMEOUT, lock_to_read, wait_until_closed};
use super::layout::StoreLayout;
use super::lock::{LockName, Locks};
use super::recovery::{copy_files, has_damaged_snapshot};
use crate::store::error::{Error, Refusal, Result};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::private_dir;
use crate::util::private_temp::PrivateTempDir;

/// A copy in a private temporary directory, which is removed when this is dropped.
#[derive(Debug)]
pub struct StoreCopy {
    source: StoreLayout,
    locks: Locks,
    layout: StoreLayout,
    refusal: Refusal,
    dir: PrivateTempDir,
}

impl StoreCopy {
    /// Copies a store, while no other process has a session. Kept results are copied when they are needed.
    ///
    /// # Errors
    /// [`Error::Copy`]; [`Error::NoStore`]; [`Error::File`] where a file cannot be read; [`Error::Busy`].
    pub fn of(source: &StoreLayout, refusal: Refusal, timeout: Duration) -> Result<Self> {
        let dir =
            PrivateTempDir::create().map_err(|error| failed(FileError::at(FileOp::Copy, source.path())(error)))?;
        let locks = Locks::new(source.path(), timeout);
        let layout = StoreLayout::in_dir(dir.path());
        let copy = Self { source: source.clone(), locks, layout, refusal, dir };
        copy.locks.lock_to_copy(&[LockName::Entry, LockName::Use, LockName::Turn, LockName::Session], || {
            let database = source.database()?.ok_or_else(|| Error::NoStore { path: source.path().to_owned() })?;
            let copied = copy.dir.path().join(database.file_name().unwrap_or_default());
            copy_database(&database, &copied)?;
            copy.layout.set_current(&copied)
        })?;
        Ok(copy)
    }

    /// Where the copy is.
    pub fn layout(&self) -> &StoreLayout {
        &self.layout
    }

    /// Why this process may not write the store.
    pub fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// Copies the kept results, if there are any and they are not copied yet.
    ///
    /// # Errors
    /// As [`StoreCopy::of`].
    pub fn add_results(&self) -> Result<()> {
        let (results, copied) = (self.source.results(), self.layout.results());
        if copied.exists() || !results.exists() {
            return Ok(());
        }
        self.locks.lock_to_copy(&[LockName::Results], || copy_database(&results, &copied))
    }
}

/// Copies a database. If one of its snapshots is damaged, sled is to read the log from its beginning.
fn copy_database(from: &Path, to: &Path) -> Result<()> {
    // The process that had the last session may still write a snapshot.
    let _held = lock_to_read(from)?;
    let with_snapshots = !has_damaged_snapshot(from)?;
    let copy = || {
        private_dir(to).map_err(FileError::at(FileOp::Create, to))?;
        copy_files(from, to, with_snapshots)
    };
    copy().map_err(|error| match error.op {
        FileOp::Open | FileOp::List | FileOp::Read => Error::File(error),
        FileOp::Create => failed(FileError { path: from.to_owned(), ..error }),
        _ => failed(error),
    })?;
    debug!(copy = %to.display(), with_snapshots, "copied a database that this process may not write");
    Ok(())
}

fn failed(error: FileError) -> Error {
    Error::Copy { path: error.path, dir: PrivateTempDir::parent(), error: error.source }
}

impl Drop for StoreCopy {
    /// Waits for sled's threads, which may still write files. Then the directory is removed.
    fn drop(&mut self) {
        let databases = self.layout.database().ok().flatten().into_iter().chain([self.layout.results()]);
        for database in databases {
            let _ = wait_until_closed(&database, SLED_LOCK_TIMEOUT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::engine::database::open_database;
    use crate::store::engine::tail::{DB_FILE, snapshots};
    use rustix::io::Errno;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    /// A store whose database has one entry.
    fn layout(directory: &tempfile::TempDir) -> StoreLayout {
        let layout = StoreLayout::prepared(&directory.path().join("store")).unwrap();
        let staging = layout.staging_dir().unwrap();
        for _ in 0..2 {
            open_database(&staging).unwrap().insert("key", "value").unwrap();
            wait_until_closed(&staging, Duration::MAX).unwrap();
        }
        layout.activate(&staging, true).unwrap();
        layout
    }

    fn copy_of(layout: &StoreLayout, timeout: Duration) -> Result<StoreCopy> {
        let refusal = Refusal { store: "".into(), path: "".into(), errno: Errno::ROFS, owner: 0, caller: 0 };
        StoreCopy::of(layout, refusal, timeout)
    }

    fn value(copy: &StoreCopy) -> Option<sled::IVec> {
        let database = copy.layout().database().unwrap().unwrap();
        open_database(&database).unwrap().get("key").unwrap()
    }

    #[test]
    fn a_copy_can_be_written_and_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let layout = layout(&directory);
        let database = layout.database().unwrap().unwrap();
        let before = fs::read(database.join(DB_FILE)).unwrap();
        for (_, snapshot) in snapshots(&database).unwrap() {
            fs::set_permissions(snapshot, Permissions::from_mode(0o400)).unwrap();
        }
        fs::write(database.join("snap.00000000000000FF.generating"), "").unwrap();
        fs::set_permissions(database.join(DB_FILE), Permissions::from_mode(0o400)).unwrap();
        let copy = copy_of(&layout, Duration::ZERO).unwrap();
        let dir = copy.layout().path().to_owned();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(value(&copy).as_deref(), Some(&b"value"[..]));
        copy.add_results().unwrap();
        assert!(!copy.layout().results().exists());
        drop(copy);
        assert!(!dir.exists());
        assert!(fs::read(database.join(DB_FILE)).unwrap() == before, "the log has changed");
    }

    #[test]
    fn a_damaged_snapshot_is_not_copied() {
        let directory = tempfile::tempdir().unwrap();
        let layout = layout(&directory);
        for (_, snapshot) in snapshots(&layout.database().unwrap().unwrap()).unwrap() {
            fs::write(snapshot, "half").unwrap();
        }
        assert_eq!(value(&copy_of(&layout, Duration::ZERO).unwrap()).as_deref(), Some(&b"value"[..]));
    }

    #[test]
    fn a_session_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let layout = layout(&directory);
        let copied = Locks::new(layout.path(), Duration::ZERO)
            .lock_session(|| Ok::<_, Error>(copy_of(&layout, Duration::from_millis(20)).map(drop)));
        assert!(matches!(copied.unwrap(), Err(Error::Busy { .. })));
    }
}

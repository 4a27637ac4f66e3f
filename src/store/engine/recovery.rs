//! Opening a database that may be damaged.
//!
//! sled starts from a snapshot of its page table and replays its log from there. If a snapshot is damaged, a copy of
//! the database without snapshots is rebuilt from only the log. If the snapshots are whole, the log is damaged: a
//! rebuild would silently lose everything after the damage, so nothing is changed.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{debug, warn};

use super::database::{blame_system, check_readable, open_database, wait_until_closed};
use super::fsync_thread::panic_error;
use super::layout::{StoreLayout, names};
use super::tail::{DB_FILE, snapshots};
use super::trees::Trees;
use crate::store::error::{Damage, Error, Problem, Result};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{private_dir, private_file};

/// Why a database was not opened.
enum OpenError {
    Damaged(Damage),
    Other(Error),
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        match error {
            Error::Database { problem: Problem::Damaged { damage, .. }, .. } => Self::Damaged(damage),
            Error::Database { problem: Problem::Unreadable(item), .. } => Self::Damaged(Damage::Unreadable(item)),
            Error::Database { problem: Problem::Panicked(text), .. } => Self::Damaged(Damage::Reported(text)),
            error => Self::Other(error),
        }
    }
}

/// Opens a database and returns it with its directory, which is another one after a rebuild.
///
/// `prepare` checks what was opened; it is run on the thread that works on databases. After a rebuild the damaged
/// database is in `kept/`.
///
/// # Errors
/// [`Problem::Damaged`] where a rebuild is not possible; those of `prepare`, except what shows damage.
pub(super) fn open_or_rebuild<S>(
    layout: &StoreLayout,
    database: PathBuf,
    prepare: impl Fn(Trees) -> Result<S>,
) -> Result<(S, PathBuf)> {
    remove_incomplete_snapshots(&database)?;
    let damage = match open_twice(&database, &prepare) {
        Ok(session) => return Ok((session, database)),
        Err(OpenError::Other(error)) => return Err(error),
        Err(OpenError::Damaged(damage)) => damage,
    };
    let damaged = |rebuild_failed| Error::from(Problem::Damaged { damage: damage.clone(), rebuild_failed });
    let failed = |error, rebuild_failed| match error {
        OpenError::Other(error) => error,
        OpenError::Damaged(_) => damaged(rebuild_failed),
    };
    if !has_damaged_snapshot(&database)? {
        return Err(damaged(false));
    }
    let staging = layout.staging_dir()?;
    let rebuilt = copy_files(&database, &staging, false).map_err(Error::from).and_then(|()| {
        drop(open(&staging, &prepare).map_err(|error| failed(error, true))?);
        wait_until_closed(&staging, Duration::MAX)?;
        layout.activate(&staging, true)
    });
    match rebuilt {
        Ok(archived) => {
            for archived in archived {
                warn!(
                    "the store's database was damaged ({damage}) and has been rebuilt from its log; what was there is \
                     kept as {}; run `cxnpoll store check`",
                    archived.display()
                );
            }
        }
        Err(error) => {
            let _ = fs::remove_dir_all(&staging);
            return Err(error);
        }
    }
    let database = layout.database()?.ok_or_else(|| damaged(false))?;
    let session = open(&database, &prepare).map_err(|error| failed(error, false))?;
    Ok((session, database))
}

fn open<S>(database: &Path, prepare: &impl Fn(Trees) -> Result<S>) -> Result<S, OpenError> {
    let open = || {
        let trees = Trees::open(open_database(database)?)?;
        prepare(trees)
    };
    let opened = catch_unwind(AssertUnwindSafe(open));
    opened.unwrap_or_else(|panic| Err(blame_system(database, panic_error(&*panic)))).map_err(OpenError::from)
}

/// Opens a database, and tries it again if it seems damaged: a read may have failed only once.
///
/// A log that cannot be read is an error, and no damage.
fn open_twice<S>(database: &Path, prepare: &impl Fn(Trees) -> Result<S>) -> Result<S, OpenError> {
    let first = open(database, prepare);
    if !matches!(first, Err(OpenError::Damaged(_))) {
        return first;
    }
    check_readable(database).map_err(|error| OpenError::Other(error.into()))?;
    match open(database, prepare) {
        // The handles of a panic may have kept sled's lock.
        Err(OpenError::Other(Error::File(FileError { op: FileOp::Lock, .. }))) => first,
        second => second,
    }
}

/// Whether one of the snapshots that sled completed is damaged.
///
/// # Errors
/// The first one that cannot be read.
pub(super) fn has_damaged_snapshot(database: &Path) -> Result<bool, FileError> {
    let mut all_whole = true;
    for (_, snapshot) in snapshots(database)?.into_iter().filter(|(_, path)| !is_incomplete(path)) {
        all_whole &= is_whole(&snapshot)?;
    }
    Ok(!all_whole)
}

/// Whether sled was killed while it wrote a snapshot.
fn is_incomplete(snapshot: &Path) -> bool {
    snapshot.extension().is_some_and(|extension| extension == "generating")
}

/// Whether a snapshot's checksum is right. It ends with a length and a CRC-32 of everything before both.
fn is_whole(snapshot: &Path) -> Result<bool, FileError> {
    let bytes = fs::read(snapshot).map_err(FileError::at(FileOp::Read, snapshot))?;
    let parts = bytes.split_last_chunk::<4>().and_then(|(rest, crc)| Some((rest.split_last_chunk::<8>()?.0, crc)));
    Ok(parts.is_some_and(|(data, crc)| crc32fast::hash(data) == u32::from_le_bytes(*crc)))
}

/// Removes the snapshots that sled, killed while it wrote them, did not complete.
///
/// sled 0.34.7 reports a database with one of them as damaged.
///
/// # Errors
/// [`Error::File`].
pub fn remove_incomplete_snapshots(database: &Path) -> Result<()> {
    for (_, path) in snapshots(database)? {
        if is_incomplete(&path) {
            fs::remove_file(&path).map_err(FileError::at(FileOp::Remove, &path))?;
            debug!(file = %path.display(), "removed an incomplete snapshot");
        }
    }
    Ok(())
}

/// Copies a database: its log, its settings, the values in files of their own, and its snapshots.
///
/// # Errors
/// The first operation that failed. [`FileOp::Create`] and [`FileOp::Copy`] are about the copy.
pub(super) fn copy_files(from: &Path, to: &Path, with_snapshots: bool) -> Result<(), FileError> {
    copy_file(&from.join(DB_FILE), &to.join(DB_FILE))?;
    match copy_file(&from.join("conf"), &to.join("conf")) {
        // Former builds may have left a database of results without it.
        Err(FileError { op: FileOp::Open, source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        copied => copied?,
    }
    let (blobs, copied) = (from.join("blobs"), to.join("blobs"));
    private_dir(&copied).map_err(FileError::at(FileOp::Create, &copied))?;
    for name in names(&blobs)? {
        copy_file(&blobs.join(&name), &copied.join(&name))?;
    }
    let snapshots = if with_snapshots { snapshots(from)? } else { Vec::new() };
    for (_, snapshot) in snapshots.into_iter().filter(|(_, path)| !is_incomplete(path)) {
        copy_file(&snapshot, &to.join(snapshot.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

/// Copies a file. The copy can be written, whatever the mode of the file is.
fn copy_file(from: &Path, to: &Path) -> Result<(), FileError> {
    let mut source = File::open(from).map_err(FileError::at(FileOp::Open, from))?;
    let mut target = private_file(to).map_err(FileError::at(FileOp::Create, to))?;
    io::copy(&mut source, &mut target).map(drop).map_err(FileError::at(FileOp::Copy, from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::engine::trees::{Get, TreeName};
    use crate::store::error::Item;

    /// A store with one database of some entries, which is closed and has a snapshot.
    fn layout(directory: &tempfile::TempDir) -> (StoreLayout, PathBuf) {
        let layout = StoreLayout::prepared(&directory.path().join("store")).unwrap();
        let staging = layout.staging_dir().unwrap();
        for _ in 0..2 {
            let trees = Trees::open(open_database(&staging).unwrap()).unwrap();
            for number in 0..500_u32 {
                trees.tree(TreeName::Cxn).insert(number.to_be_bytes(), vec![7; 200]).unwrap();
            }
            trees.flush().unwrap();
            drop(trees);
            wait_until_closed(&staging, Duration::MAX).unwrap();
        }
        layout.activate(&staging, true).unwrap();
        let database = layout.database().unwrap().unwrap();
        (layout, database)
    }

    fn open_again(layout: &StoreLayout, database: &Path) -> Result<(usize, PathBuf)> {
        let (trees, database) = open_or_rebuild(layout, database.to_owned(), Ok)?;
        Ok((trees.tree(TreeName::Cxn).len(), database))
    }

    #[test]
    fn a_damaged_snapshot_is_rebuilt_from_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let (layout, database) = layout(&directory);
        for (_, snapshot) in snapshots(&database).unwrap() {
            assert!(is_whole(&snapshot).unwrap());
            let mut bytes = fs::read(&snapshot).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
            fs::write(&snapshot, bytes).unwrap();
            assert!(!is_whole(&snapshot).unwrap());
        }
        let (entries, rebuilt) = open_again(&layout, &database).unwrap();
        assert_eq!((entries, rebuilt), (500, layout.path().join("db-2")));
        assert_eq!(layout.archived().unwrap(), [layout.path().join("kept/db-1")]);
    }

    #[test]
    fn damage_with_whole_snapshots_is_reported_and_nothing_is_touched() {
        let directory = tempfile::tempdir().unwrap();
        let (layout, database) = layout(&directory);
        let before = fs::read(database.join(DB_FILE)).unwrap();
        let damaged = open_or_rebuild(&layout, database.clone(), |_| Err::<Trees, _>(Item::Version.into()));
        match damaged.map(|_| ()).unwrap_err() {
            Error::Database { problem: Problem::Damaged { damage, rebuild_failed: false }, .. } => {
                assert_eq!(damage, Damage::Unreadable(Item::Version));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(layout.database().unwrap(), Some(database.clone()));
        assert!(fs::read(database.join(DB_FILE)).unwrap() == before, "the log has changed");
        assert!(layout.archived().unwrap().is_empty());
    }

    #[test]
    fn a_rebuild_that_fails_is_reported_and_leaves_the_database() {
        let directory = tempfile::tempdir().unwrap();
        let (layout, database) = layout(&directory);
        for (_, snapshot) in snapshots(&database).unwrap() {
            fs::write(snapshot, "half").unwrap();
        }
        let damaged = open_or_rebuild(&layout, database.clone(), |_| Err::<Trees, _>(Item::Version.into()));
        let error = damaged.map(|_| ()).unwrap_err();
        assert!(
            matches!(error, Error::Database { problem: Problem::Damaged { rebuild_failed: true, .. }, .. }),
            "{error:?}"
        );
        assert_eq!(layout.database().unwrap(), Some(database));
        assert!(!layout.path().join("db-2.new").exists());
    }

    #[test]
    fn only_damage_is_taken_for_damage() {
        let other = |error: Error| matches!(OpenError::from(error), OpenError::Other(_));
        assert!(other(Error::NewerFormat { found: 3, known: 2 }));
        assert!(other(Problem::StorageFull.into()));
        assert!(!other(Item::Version.into()) && !other(Problem::Panicked("no".to_owned()).into()));
        let of_sled = |error: sled::Error| other(Error::from(error));
        let of_kind = |kind: io::ErrorKind| of_sled(sled::Error::Io(kind.into()));
        assert!(of_kind(io::ErrorKind::StorageFull) && of_kind(io::ErrorKind::PermissionDenied));
        assert!(of_sled(sled::Error::Io(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()))));
        assert!(!of_kind(io::ErrorKind::UnexpectedEof) && !of_kind(io::ErrorKind::InvalidData));
        assert!(!of_sled(sled::Error::Corruption { at: None, bt: () }));
        assert!(!of_sled(sled::Error::ReportableBug("no".to_owned())));
    }

    #[test]
    fn other_errors_never_lead_to_a_rebuild() {
        let directory = tempfile::tempdir().unwrap();
        let (layout, database) = layout(&directory);
        for (_, snapshot) in snapshots(&database).unwrap() {
            fs::write(snapshot, "half").unwrap();
        }
        // sled opens a database with a damaged snapshot only after a rebuild, so the error is that of opening its file.
        fs::remove_file(database.join(DB_FILE)).unwrap();
        fs::create_dir(database.join(DB_FILE)).unwrap();
        let error = open_or_rebuild(&layout, database.clone(), Ok).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::File(FileError { op: FileOp::Open, .. })), "{error:?}");
        assert_eq!(layout.database().unwrap(), Some(database));
        assert!(layout.archived().unwrap().is_empty());
    }

    #[test]
    fn an_incomplete_snapshot_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let (layout, database) = layout(&directory);
        let incomplete = database.join("snap.00000000000000FF.generating");
        fs::write(&incomplete, "").unwrap();
        assert_eq!(open_again(&layout, &database).unwrap(), (500, database));
        assert!(!incomplete.exists());
    }

    #[test]
    fn values_are_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let (layout, database) = layout(&directory);
        let (trees, _) = open_or_rebuild(&layout, database, Ok).unwrap();
        assert_eq!(trees.get(TreeName::Cxn, &7_u32.to_be_bytes()).unwrap().as_deref(), Some(&[7; 200][..]));
        assert!(!trees.has_written());
    }
}

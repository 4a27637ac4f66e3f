//! The files in the store's directory.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::lock::LockName;
use super::tail::DB_FILE;
use crate::store::error::{Error, Result};
use crate::store::failpoint::{self, Failpoint};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{ReplacedFile, durable_dirs, private_dir};

/// The directory of a store.
#[derive(Debug, Clone)]
pub struct StoreLayout(PathBuf);

/// Names the directory of the database. One rename of this file makes another database the current one.
const CURRENT: &str = "CURRENT";
const RUNS: &str = "runs";
const BACKUPS: &str = "backups";
const KEPT: &str = "kept";
const RESULTS: &str = "results";
const HISTORY: &str = "history";
const REGISTRATION: &str = "registration";
/// The file of what notifications reported. It is outside of `history/`, because a restore replaces that.
const NOTIFY: &str = "notify.json";
/// Other files of notifications.
const NOTIFY_FILES: [&str; 2] = ["notify.lock", "notify.sent"];
/// The due hint. Its name is part of the store's format.
const DUE_HINT: &str = "outlook";
/// The suffix of a database's directory while the database is built.
const STAGING_SUFFIX: &str = ".new";

impl StoreLayout {
    /// Finds a store that exists, whatever this process may do with it: see [`StoreLayout::access`].
    ///
    /// # Errors
    /// [`Error::NoStore`], [`Error::NotADirectory`], [`Error::WrongOwner`], or [`Error::File`] where it cannot be
    /// inspected.
    pub fn existing(path: &Path) -> Result<Self> {
        let layout = Self::in_dir(path);
        let inspect = |file: &Path| {
            fs::metadata(file).map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => Error::NoStore { path: path.to_owned() },
                _ => FileError::at(FileOp::Inspect, file)(source).into(),
            })
        };
        if !inspect(path)?.is_dir() {
            return Err(Error::NotADirectory { path: path.to_owned() });
        }
        // A directory of another user may hide it.
        inspect(&layout.current().path).or_else(|error| layout.access().and(Err(error)))?;
        Ok(layout)
    }

    /// Prepares the directory of a store that may not exist yet. Its mode becomes 0700, unless it belongs to root.
    ///
    /// # Errors
    /// As [`StoreLayout::existing`]; [`Error::NotWritable`]; [`Error::NotAStore`] for a directory that holds something else.
    pub fn prepared(path: &Path) -> Result<Self> {
        match durable_dirs(path) {
            // A file is in its place, which is reported below.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created.map_err(FileError::at(FileOp::Create, path))?,
        }
        let metadata = fs::metadata(path).map_err(FileError::at(FileOp::Inspect, path))?;
        if !metadata.is_dir() {
            return Err(Error::NotADirectory { path: path.to_owned() });
        }
        let layout = Self::in_dir(path);
        let is_store = layout.current().path.exists();
        let access = layout.access()?;
        // Before it is reported that it cannot be written, since the hint would harm a directory of the system.
        if !is_store && !names(path)?.iter().all(|name| is_ours(name) || is_of_file_system(name)) {
            return Err(Error::NotAStore { path: path.to_owned() });
        }
        access.check_writable()?;
        // Only its owner can change the mode. What is created in it is private in any case.
        if !is_store && metadata.uid() == rustix::process::geteuid().as_raw() {
            let private = fs::Permissions::from_mode(0o700);
            fs::set_permissions(path, private).map_err(FileError::at(FileOp::SetMode, path))?;
        }
        private_dir(&layout.runs()).map_err(FileError::at(FileOp::Create, &layout.runs()))?;
        failpoint::hit(Failpoint::StorePrepared);
        Ok(layout)
    }

    /// The layout of a store in a directory.
    pub(super) fn in_dir(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The directory of the store.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The directory of the runs' locks.
    pub fn runs(&self) -> PathBuf {
        self.0.join(RUNS)
    }

    /// The directory of the database of kept results.
    pub fn results(&self) -> PathBuf {
        self.0.join(RESULTS)
    }

    /// The directory of history.
    pub fn history(&self) -> PathBuf {
        self.0.join(HISTORY)
    }

    /// The directory of the backups.
    pub fn backups(&self) -> PathBuf {
        self.0.join(BACKUPS)
    }

    /// The directory of the requests of sites that wait to be applied.
    pub fn registration(&self) -> PathBuf {
        self.0.join(REGISTRATION)
    }

    /// The directory of databases that were replaced, and of what a repair removed.
    pub(in crate::store) fn kept(&self) -> PathBuf {
        self.0.join(KEPT)
    }

    /// The file of the due hint.
    pub fn due_hint(&self) -> ReplacedFile {
        ReplacedFile::new(&self.0, DUE_HINT)
    }

    /// The file that names the current database.
    pub(super) fn current(&self) -> ReplacedFile {
        ReplacedFile::new(&self.0, CURRENT)
    }

    /// Finds the directory of the current database; `None` if the store is not complete yet.
    ///
    /// # Errors
    /// [`Error::UnknownDatabase`], or [`Error::File`] where `CURRENT` cannot be read.
    pub fn database(&self) -> Result<Option<PathBuf>> {
        let current = self.current().path;
        let name = match fs::read_to_string(&current) {
            Ok(name) => name,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FileError::at(FileOp::Read, &current)(error).into()),
        };
        let name = OsStr::new(name.trim_end());
        let database = self.0.join(name);
        if database_number(name).is_some() && !is_staging(name) && database.is_dir() {
            return Ok(Some(database));
        }
        Err(Error::UnknownDatabase { path: current, newest_backup: None })
    }

    /// The size of the current database's file in bytes; 0 where there is no database yet.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be inspected; those of [`StoreLayout::database`].
    pub fn file_size(&self) -> Result<u64> {
        let Some(database) = self.database()? else { return Ok(0) };
        let file = database.join(DB_FILE);
        Ok(fs::metadata(&file).map_err(FileError::at(FileOp::Inspect, &file))?.len())
    }
}

/// Lists the names in a directory; none where it does not exist.
pub(super) fn names(path: &Path) -> Result<Vec<OsString>, FileError> {
    match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect())
            .map_err(FileError::at(FileOp::List, path)),
    }
}

/// The number in the name of a database's directory, also of a staging one; `None` for any other name.
pub fn database_number(name: &OsStr) -> Option<u32> {
    let number = name.to_str()?.strip_prefix("db-")?;
    let number = number.strip_suffix(STAGING_SUFFIX).unwrap_or(number);
    number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The name of a database's directory while the database is built.
pub(super) fn staging_name(number: u32) -> String {
    format!("db-{number}{STAGING_SUFFIX}")
}

/// Whether a directory's name is that of a database which is being built.
pub(super) fn is_staging(name: &OsStr) -> bool {
    name.to_string_lossy().ends_with(STAGING_SUFFIX)
}

/// Whether an earlier attempt to create a store may have left this name in its directory.
fn is_ours(name: &OsStr) -> bool {
    let ours = [RUNS, BACKUPS, KEPT, REGISTRATION]
        .into_iter()
        .chain(NOTIFY_FILES)
        .chain(LockName::ALL.map(LockName::file_name));
    let replaced = [CURRENT, DUE_HINT, RESULTS, HISTORY, NOTIFY].map(|name| ReplacedFile::new(Path::new(""), name));
    ours.into_iter().any(|ours| name == ours)
        || replaced.iter().any(|file| [&file.path, &file.staging].iter().any(|ours| name == ours.as_os_str()))
        || database_number(name).is_some()
}

/// Whether a file system has a directory of this name at its top, where the store of a volume is.
fn is_of_file_system(name: &OsStr) -> bool {
    ["lost+found", ".snapshot", ".zfs"].iter().any(|known| name == *known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_databases_have_a_number() {
        for (name, number) in [
            ("db-1", Some(1)),
            ("db-12.new", Some(12)),
            ("db-", None),
            ("db-+1", None),
            ("db-1.old", None),
            ("db", None),
            ("db-99999999999", None),
        ] {
            assert_eq!(database_number(OsStr::new(name)), number, "{name}");
        }
    }

    #[test]
    fn an_interrupted_creation_is_continued_and_other_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        fs::create_dir(&path).unwrap();
        for name in ["CURRENT.new", DUE_HINT, "entry.lock", "use.lock", "turn.lock", "store.lock", "results.lock"] {
            fs::write(path.join(name), "").unwrap();
        }
        for name in ["notify.json", "notify.json.new", "notify.lock", "notify.sent"] {
            fs::write(path.join(name), "").unwrap();
        }
        fs::write(ReplacedFile::new(&path, DUE_HINT).staging, "").unwrap();
        for name in [
            "runs",
            "backups",
            "kept",
            "results",
            "results.new",
            "db-3.new",
            "db-2",
            "history",
            "history.new",
            "registration",
            "lost+found",
        ] {
            fs::create_dir(path.join(name)).unwrap();
        }
        let layout = StoreLayout::prepared(&path).unwrap();
        assert!(layout.database().unwrap().is_none());
        assert!(matches!(StoreLayout::existing(&path), Err(Error::NoStore { .. })));
        fs::write(path.join("notes.txt"), "").unwrap();
        assert!(matches!(StoreLayout::prepared(&path), Err(Error::NotAStore { .. })));
        assert!(matches!(StoreLayout::prepared(&path.join("notes.txt")), Err(Error::NotADirectory { .. })));
    }

    #[test]
    fn current_must_name_a_database() {
        let directory = tempfile::tempdir().unwrap();
        let layout = StoreLayout::prepared(directory.path()).unwrap();
        fs::create_dir(directory.path().join("db-1")).unwrap();
        fs::create_dir(directory.path().join("db-2.new")).unwrap();
        for (name, is_database) in [("db-1\n", true), ("db-2.new", false), ("db-3", false), ("../db-1", false)] {
            fs::write(directory.path().join("CURRENT"), name).unwrap();
            match layout.database() {
                Ok(database) => assert!(is_database && database.is_some(), "{name}"),
                Err(error) => assert!(!is_database && matches!(error, Error::UnknownDatabase { .. }), "{name}"),
            }
        }
    }
}

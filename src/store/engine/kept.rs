//! The directory `kept/`: databases that were replaced, and entries that a repair removed. Its size is bounded.

use std::cmp::Reverse;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tracing::debug;

use super::layout::{StoreLayout, database_number, names};
use super::tail::DB_FILE;
use crate::store::error::Result;
use crate::store::failpoint::{self, Failpoint};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{private_dir, private_file, sync_dir};

/// The file of entries that a repair removed. Its name is part of the store's format.
const QUARANTINE: &str = "set-aside.jsonl";
/// Where these entries are moved once there are many.
const FORMER_QUARANTINE: &str = "set-aside.old.jsonl";
/// The size of the file at which it is moved, in bytes.
const MAX_QUARANTINE_BYTES: u64 = 16 << 20;
/// What the name of a replaced history begins with. The number of its database follows.
const HISTORY_PREFIX: &str = "history-";
/// How many replaced databases are kept…
const MAX_ARCHIVED: usize = 3;
/// …and how large they may be together, compared with the largest database of the store.
const MAX_ARCHIVED_FACTOR: u64 = 2;

impl StoreLayout {
    /// Moves what is no longer in use, such as a former database, to `kept/`, and returns its new path.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File).
    pub fn archive(&self, path: &Path, name: &OsStr) -> Result<PathBuf> {
        let dir = self.create_kept()?;
        let archived = dir.join(name);
        fs::rename(path, &archived).map_err(FileError::at(FileOp::Move, path))?;
        for dir in [&dir, self.path()] {
            sync_dir(dir).map_err(FileError::at(FileOp::Sync, dir))?;
        }
        Ok(archived)
    }

    /// Lists the databases in `kept/`.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File) where the directory cannot be read.
    pub fn archived(&self) -> Result<Vec<PathBuf>> {
        let dir = self.kept();
        let names = names(&dir)?.into_iter().filter(|name| database_number(name).is_some());
        Ok(names.map(|name| dir.join(name)).collect())
    }

    /// Removes the oldest databases in `kept/` that are beyond its limits, but none of `protected`.
    pub(super) fn prune_archived(&self, protected: &[PathBuf]) -> Result<()> {
        let bytes = |path: &Path| fs::metadata(path.join(DB_FILE)).map_or(0, |file| file.len());
        let mut archived = self.archived()?;
        archived.sort_by_key(|path| Reverse(path.file_name().and_then(database_number)));
        let largest = archived.iter().chain(&self.database()?).map(|path| bytes(path)).max().unwrap_or_default();
        let mut total = 0;
        for (number, path) in archived.iter().enumerate() {
            total += bytes(path);
            let is_beyond = number >= MAX_ARCHIVED || total > largest.saturating_mul(MAX_ARCHIVED_FACTOR);
            if is_beyond && !protected.contains(path) {
                debug!(database = %path.display(), "removing an old database from kept/");
                fs::remove_dir_all(path).map_err(FileError::at(FileOp::Remove, path))?;
            }
        }
        // The history of each goes with it.
        for name in names(&self.kept())? {
            let number = name.to_str().and_then(|name| name.strip_prefix(HISTORY_PREFIX)?.parse().ok());
            if number.is_some_and(|number: u32| !self.kept().join(format!("db-{number}")).exists()) {
                let path = self.kept().join(&name);
                fs::remove_dir_all(&path).map_err(FileError::at(FileOp::Remove, &path))?;
            }
        }
        Ok(())
    }

    /// Where the history is kept that was replaced together with a database.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File) where the directory cannot be created.
    pub fn archived_history(&self, database: Option<&Path>) -> Result<PathBuf> {
        let number = database.and_then(Path::file_name).and_then(database_number).unwrap_or_default();
        Ok(self.create_kept()?.join(format!("{HISTORY_PREFIX}{number}")))
    }

    /// Opens a file of removed bytes in `kept/`, to append to it. Returns its path too.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File) where it cannot be created.
    pub fn kept_file(&self, name: &str) -> Result<(PathBuf, File)> {
        let dir = self.create_kept()?;
        let path = dir.join(name);
        let open = || {
            let mut file = private_file(&path)?;
            file.seek(SeekFrom::End(0))?;
            sync_dir(&dir)?;
            Ok(file)
        };
        let file = open().map_err(FileError::at(FileOp::Create, &path))?;
        Ok((path, file))
    }

    /// Moves a damaged database of kept results to `kept/`, in place of an earlier one. Returns its new path.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File).
    pub fn quarantine_results(&self) -> Result<PathBuf> {
        let results = self.results();
        let archived = self.create_kept()?.join(results.file_name().unwrap_or_default());
        match fs::remove_dir_all(&archived) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(FileError::at(FileOp::Remove, &archived))?,
        }
        fs::rename(&results, &archived).map_err(FileError::at(FileOp::Move, &results))?;
        for dir in [&self.kept(), self.path()] {
            sync_dir(dir).map_err(FileError::at(FileOp::Sync, dir))?;
        }
        Ok(archived)
    }

    /// Appends entries, one per line, that are about to be removed from the database.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File) where they cannot be made durable.
    pub fn quarantine(&self, entries: &[Value]) -> Result<()> {
        let dir = self.create_kept()?;
        let path = dir.join(QUARANTINE);
        let write = || {
            if fs::metadata(&path).is_ok_and(|file| file.len() > MAX_QUARANTINE_BYTES) {
                fs::rename(&path, dir.join(FORMER_QUARANTINE))?;
            }
            let mut file = private_file(&path)?;
            let length = file.seek(SeekFrom::End(0))?;
            let mut last = *b"\n";
            if length > 0 {
                file.read_exact_at(&mut last, length - 1)?;
            }
            // A kill or a power cut may have left a part of a line.
            let separator = if last == *b"\n" { "" } else { "\n" };
            let lines: Vec<_> = entries.iter().map(|entry| format!("{entry}\n")).collect();
            file.write_all((separator.to_owned() + &lines.concat()).as_bytes())?;
            file.sync_all()?;
            sync_dir(&dir)
        };
        write().map_err(FileError::at(FileOp::Write, &path))?;
        failpoint::hit(Failpoint::Quarantined);
        Ok(())
    }

    fn create_kept(&self) -> Result<PathBuf> {
        let dir = self.kept();
        private_dir(&dir).map_err(FileError::at(FileOp::Create, &dir))?;
        // What is moved into it has no other name.
        sync_dir(self.path()).map_err(FileError::at(FileOp::Sync, self.path()))?;
        Ok(dir)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_oldest_databases_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let layout = StoreLayout::prepared(&directory.path().join("store")).unwrap();
        layout.activate(&layout.staging_dir().unwrap(), true).unwrap();
        fs::write(layout.database().unwrap().unwrap().join(DB_FILE), [7; 100]).unwrap();
        let kept = |protected: &[usize], bytes: &[usize]| {
            let _ = fs::remove_dir_all(layout.kept());
            let paths: Vec<_> =
                (8..).take(bytes.len()).map(|number| layout.kept().join(format!("db-{number}"))).collect();
            for (path, bytes) in paths.iter().zip(bytes) {
                fs::create_dir_all(path).unwrap();
                fs::write(path.join(DB_FILE), vec![7; *bytes]).unwrap();
            }
            let protected: Vec<_> = protected.iter().map(|at| paths[*at].clone()).collect();
            layout.prune_archived(&protected).unwrap();
            paths.iter().map(|path| path.exists()).collect::<Vec<_>>()
        };
        assert_eq!(kept(&[], &[1, 1, 1, 1, 1]), [false, false, true, true, true]);
        assert_eq!(kept(&[0], &[1, 1, 1, 1, 1]), [true, false, true, true, true]);
        // Together they may take twice the size of the largest database, here of the current one.
        assert_eq!(kept(&[], &[1, 100, 100]), [false, true, true]);
        assert_eq!(kept(&[], &[300, 1, 1]), [true, true, true]);
        assert_eq!(kept(&[0, 1, 2], &[90, 90, 90]), [true, true, true]);
    }

    #[test]
    fn the_file_of_removed_entries_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let layout = StoreLayout::prepared(&directory.path().join("store")).unwrap();
        let entry = [Value::from("x".repeat(10 << 20))];
        let bytes = |name: &str| fs::metadata(layout.kept().join(name)).map_or(0, |file| file.len() >> 20);
        for expected in [(10, 0), (20, 0), (10, 20), (20, 20), (10, 20)] {
            layout.quarantine(&entry).unwrap();
            assert_eq!((bytes(QUARANTINE), bytes(FORMER_QUARANTINE)), expected);
        }
    }

    #[test]
    fn an_incomplete_entry_does_not_damage_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let layout = StoreLayout::prepared(directory.path()).unwrap();
        layout.quarantine(&[json!(1), json!(2)]).unwrap();
        let path = layout.kept().join(QUARANTINE);
        fs::write(&path, "1\n2\n{\"tr").unwrap();
        layout.quarantine(&[json!(3)]).unwrap();
        layout.quarantine(&[json!(4)]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n2\n{\"tr\n3\n4\n");
    }
}

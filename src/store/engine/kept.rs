//! The directory `kept/`: databases that were replaced, and entries that a repair removed.

use std::ffi::OsStr;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::layout::{StoreLayout, database_number, names};
use crate::store::error::Result;
use crate::store::failpoint::{self, Failpoint};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{private_dir, private_file, sync_dir};

/// The file of entries that a repair removed. Its name is part of the store's format.
const QUARANTINE: &str = "set-aside.jsonl";

impl StoreLayout {
    /// Moves a database that is no longer the current one to `kept/`, and returns its new path.
    pub(super) fn archive(&self, database: &Path, name: &OsStr) -> Result<PathBuf> {
        let archived = self.create_kept()?.join(name);
        fs::rename(database, &archived).map_err(FileError::at(FileOp::Move, database))?;
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

    /// Appends entries, one per line, that are about to be removed from the database.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File) where they cannot be made durable.
    pub fn quarantine(&self, entries: &[Value]) -> Result<()> {
        let dir = self.create_kept()?;
        let path = dir.join(QUARANTINE);
        let write = || {
            let mut file = private_file(&path)?;
            file.seek(SeekFrom::End(0))?;
            entries.iter().try_for_each(|entry| writeln!(file, "{entry}"))?;
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

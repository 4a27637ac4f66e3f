//! The directory `kept/`: databases that were replaced, and entries that a repair removed.

use std::ffi::OsStr;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
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

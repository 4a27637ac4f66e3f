//! Putting another database in the place of the current one.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tracing::debug;

use super::layout::{StoreLayout, database_number, is_staging, names, staging_name};
use crate::store::error::{Error, Result};
use crate::store::failpoint::{self, Failpoint};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{Durability, private_dir, sync_dir, sync_tree};

impl StoreLayout {
    /// Creates an empty directory for a database that is to be built. Removes what an interrupted attempt left.
    ///
    /// Only for a process that holds the session's lock or the store exclusively.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn staging_dir(&self) -> Result<PathBuf> {
        let mut last = 0;
        for dir in [self.path(), &self.kept()] {
            for name in names(dir)? {
                let Some(number) = database_number(&name) else { continue };
                if is_staging(&name) {
                    let path = dir.join(&name);
                    fs::remove_dir_all(&path).map_err(FileError::at(FileOp::Remove, &path))?;
                } else {
                    last = last.max(number);
                }
            }
        }
        let path = self.path().join(staging_name(last + 1));
        private_dir(&path).map_err(FileError::at(FileOp::Create, &path))?;
        failpoint::hit(Failpoint::StagingCreated);
        Ok(path)
    }

    /// Makes a complete database the current one, and returns where the others are now.
    ///
    /// Moves the others to `kept/`; without `keep` it removes the one that was the current one until now. Only for a
    /// process that holds the session's lock.
    ///
    /// # Errors
    /// [`Error::File`]. Then one of the two databases is the current one, and whole. The new one is removed if it is
    /// not the current one.
    pub fn activate(&self, staging: &Path, keep: bool) -> Result<Vec<PathBuf>> {
        let previous = self.database().ok().flatten();
        let database = self.install(staging).inspect_err(|_| self.discard(staging))?;
        let mut archived = Vec::new();
        for name in names(self.path())? {
            let path = self.path().join(&name);
            if path == database || database_number(&name).is_none() {
                continue;
            }
            if !keep && previous.as_ref() == Some(&path) {
                fs::remove_dir_all(&path).map_err(FileError::at(FileOp::Remove, &path))?;
            } else {
                archived.push(self.archive(&path, &name)?);
            }
        }
        if let Err(error) = self.prune_archived(&archived) {
            debug!(%error, "an old database stays in kept/");
        }
        failpoint::hit(Failpoint::Archived);
        Ok(archived)
    }

    /// Removes a database that was built and did not become the current one.
    pub fn discard(&self, staging: &Path) {
        let database = staging.with_extension("");
        let is_unused = match self.database() {
            Ok(current) => current.as_ref() != Some(&database),
            Err(error) => !matches!(error, Error::File(_)),
        };
        for path in is_unused.then_some([staging, &database]).into_iter().flatten() {
            let _ = fs::remove_dir_all(path);
        }
    }

    /// Gives a complete database its name, and makes it the current one. Returns its directory.
    fn install(&self, staging: &Path) -> Result<PathBuf> {
        sync_tree(staging)?;
        failpoint::hit(Failpoint::DatabaseBuilt);
        let database = staging.with_extension("");
        fs::rename(staging, &database).map_err(FileError::at(FileOp::Move, staging))?;
        sync_dir(self.path()).map_err(FileError::at(FileOp::Sync, self.path()))?;
        failpoint::hit(Failpoint::DatabaseRenamed);
        self.set_current(&database)?;
        failpoint::hit(Failpoint::CurrentSwapped);
        Ok(database)
    }

    /// Writes the name of a database to `CURRENT`. Before the rename the old database is the current one, then the new one.
    pub(super) fn set_current(&self, database: &Path) -> Result<()> {
        let name = database.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let current = self.current();
        let write = || {
            let mut file = current.stage()?;
            writeln!(file.file(), "{name}")?;
            file.commit(Durability::Durable, || failpoint::hit(Failpoint::CurrentWritten))
        };
        write().map_err(FileError::at(FileOp::Write, &current.path))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(directory: &tempfile::TempDir) -> StoreLayout {
        StoreLayout::prepared(&directory.path().join("store")).unwrap()
    }

    fn file_names(paths: &[PathBuf]) -> Vec<&str> {
        paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect()
    }

    #[test]
    fn the_newest_database_is_current_and_the_others_are_archived_or_removed() {
        let directory = tempfile::tempdir().unwrap();
        let layout = layout(&directory);
        let activate = |keep| layout.activate(&layout.staging_dir().unwrap(), keep).unwrap();
        assert!(activate(true).is_empty());
        assert_eq!(file_names(&activate(true)), ["db-1"]);
        assert!(activate(false).is_empty(), "db-2 is removed");
        assert_eq!(layout.database().unwrap(), Some(layout.path().join("db-3")));
        // A database that CURRENT did not name is never removed.
        fs::create_dir(layout.path().join("db-9")).unwrap();
        assert_eq!(file_names(&activate(false)), ["db-9"]);
        assert_eq!(layout.database().unwrap(), Some(layout.path().join("db-10")));
        let mut archived = layout.archived().unwrap();
        archived.sort();
        assert_eq!(file_names(&archived), ["db-1", "db-9"]);
    }

    #[test]
    fn an_unfinished_database_is_removed_and_its_number_used_again() {
        let directory = tempfile::tempdir().unwrap();
        let layout = layout(&directory);
        let unfinished = layout.staging_dir().unwrap();
        fs::write(unfinished.join("db"), "half").unwrap();
        let staging = layout.staging_dir().unwrap();
        assert_eq!(staging, unfinished);
        assert_eq!(fs::read_dir(staging).unwrap().count(), 0);
    }
}

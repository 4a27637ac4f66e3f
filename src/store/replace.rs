//! Putting another database into the place of the one that is in use.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::folder::Folder;
use super::{Session, Store};
use crate::error::Result;

/// A store that nobody else is at work on.
pub struct Alone<'a>(&'a Store);

impl Store {
    /// Has a store alone, whether or not it has a database yet.
    ///
    /// # Errors
    /// As [`Store::create`], those of `work`, and [`crate::error::Kind::Declined`] while anybody else is at work on it.
    pub fn take_over<T>(
        path: &Path,
        wait: Duration,
        visitor: &'static str,
        work: impl FnOnce(&Alone) -> Result<T>,
    ) -> Result<T> {
        Self::at(Folder::prepared(path)?, wait).visited_by(visitor).alone(|store| work(&Alone(store)))
    }

    /// The folder of the backups.
    #[must_use]
    pub fn backup_folder(&self) -> PathBuf {
        self.folder.backups()
    }

    /// The backups that are there, the newest first.
    ///
    /// # Errors
    /// [`crate::error::Kind::Store`] where the folder can't be read.
    pub fn backups(&self) -> Result<Vec<PathBuf>> {
        self.folder.backup_files()
    }

    /// Databases that were replaced and kept.
    ///
    /// # Errors
    /// [`crate::error::Kind::Store`] where the folder can't be read.
    pub fn kept(&self) -> Result<Vec<PathBuf>> {
        self.folder.kept()
    }

    /// Bytes of the database's file, as it is in the file system.
    ///
    /// # Errors
    /// [`crate::error::Kind::Store`] where it can't be looked at.
    pub fn file_size(&self) -> Result<u64> {
        self.folder.file_size()
    }
}

impl Alone<'_> {
    /// The store, for reading.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.0
    }

    /// Fills a fresh database and puts it into the place of the one in use, by one rename. Until then nothing is changed,
    /// and whenever it is killed there is one of the two, whole. What was in use is moved to `kept/`, or with `keep` unset
    /// removed. Returns what `fill` returns, and where databases were moved to.
    ///
    /// # Errors
    /// Those of `fill`; [`crate::error::Kind::Store`] where the store can't be written.
    pub fn replace<T: Send>(
        &self,
        keep: bool,
        fill: impl FnOnce(&Session) -> Result<T> + Send,
    ) -> Result<(T, Vec<PathBuf>)> {
        let (building, filled) = self.0.found(fill)?;
        let kept = self.0.locked(|| self.0.folder.install(&building, keep))?;
        Ok((filled, kept))
    }
}

//! Where the store of a demo is, and whether it stays.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::cli::error::{Error, Result};

/// The directory of the store.
pub(super) enum StoreDir {
    /// A new directory, removed at the end unless it is kept.
    Temporary(TempDir),
    /// A directory that the user named. It stays.
    Named(PathBuf),
}

impl StoreDir {
    /// Makes a temporary directory.
    ///
    /// # Errors
    /// [`Error::DemoDir`].
    pub(super) fn temporary() -> Result<Self> {
        let failed = |error| Error::DemoDir { dir: tempfile::env::temp_dir(), error };
        Ok(Self::Temporary(tempfile::Builder::new().prefix("cxnpoll-demo-").tempdir().map_err(failed)?))
    }

    /// Takes a directory that is empty or does not exist yet.
    ///
    /// # Errors
    /// [`Error::DemoDirNotEmpty`].
    pub(super) fn named(path: PathBuf) -> Result<Self> {
        // What cannot be listed cannot become a store either, which then has a better error.
        match fs::read_dir(&path).map(|mut entries| entries.next().is_some()) {
            Ok(true) => Err(Error::DemoDirNotEmpty(path)),
            Ok(false) | Err(_) => Ok(Self::Named(path)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Named(path) => path,
        }
    }

    /// Keeps the directory, and returns its absolute path.
    pub(super) fn keep(self) -> PathBuf {
        let path = match self {
            Self::Temporary(dir) => dir.keep(),
            Self::Named(path) => path,
        };
        std::path::absolute(&path).unwrap_or(path)
    }
}

//! A history that takes the place of another, when a backup is restored.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::store::engine::StoreLayout;
use crate::store::error::Result;
use crate::store::failpoint::{self, Failpoint};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{private_dir, private_file, sync_dir, sync_tree};

/// A new history in a staging directory.
///
/// The directory is removed when this is dropped, unless the history became the current one.
#[derive(Debug)]
pub struct StagedHistory {
    layout: StoreLayout,
    dir: PathBuf,
    is_current: bool,
}

impl StagedHistory {
    /// Starts an empty history. Removes what an interrupted attempt left.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File).
    pub(in crate::store) fn create(layout: &StoreLayout) -> Result<Self> {
        let dir = layout.history().with_extension("new");
        remove(&dir)?;
        private_dir(&dir).map_err(FileError::at(FileOp::Create, &dir))?;
        Ok(Self { layout: layout.clone(), dir, is_current: false })
    }

    /// Appends bytes to a file, whose name must be one of history.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File).
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(name);
        let write = || {
            let file = private_file(&path)?;
            file.write_all_at(bytes, file.metadata()?.len())
        };
        Ok(write().map_err(FileError::at(FileOp::Write, &path))?)
    }

    /// Makes everything that was written durable.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File).
    pub(in crate::store) fn sync(&self) -> Result<()> {
        sync_tree(&self.dir)?;
        failpoint::hit(Failpoint::HistoryStaged);
        Ok(())
    }

    /// Makes this the current history. The former one is moved to `kept` if that is given, or else removed.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File).
    pub(in crate::store) fn activate(mut self, kept: Option<&Path>) -> Result<()> {
        let (current, store) = (self.layout.history(), self.layout.path());
        let moved = FileError::at(FileOp::Move, &self.dir);
        let replaced = match renameat_with(CWD, &self.dir, CWD, &current, RenameFlags::EXCHANGE) {
            Ok(()) => Some(self.dir.clone()),
            Err(Errno::NOENT) => None,
            // Few file systems cannot exchange two names.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                let old = current.with_extension("old");
                remove(&old)?;
                fs::rename(&current, &old).map_err(&moved)?;
                Some(old)
            }
            Err(error) => return Err(moved(error.into()).into()),
        };
        self.is_current = true;
        if replaced.as_ref() != Some(&self.dir) {
            fs::rename(&self.dir, &current).map_err(&moved)?;
        }
        sync_dir(store).map_err(FileError::at(FileOp::Sync, store))?;
        failpoint::hit(Failpoint::HistorySwapped);
        match (replaced, kept) {
            (Some(replaced), Some(kept)) => {
                remove(kept)?;
                fs::rename(&replaced, kept).map_err(FileError::at(FileOp::Move, &replaced))?;
                [store, kept.parent().unwrap_or(store)]
                    .into_iter()
                    .try_for_each(|dir| Ok(sync_dir(dir).map_err(FileError::at(FileOp::Sync, dir))?))
            }
            (Some(replaced), None) => remove(&replaced),
            (None, _) => Ok(()),
        }
    }
}

impl Drop for StagedHistory {
    fn drop(&mut self) {
        if !self.is_current {
            let _ = remove(&self.dir);
        }
    }
}

/// Removes a directory, if it exists.
fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => Ok(removed.map_err(FileError::at(FileOp::Remove, dir))?),
    }
}

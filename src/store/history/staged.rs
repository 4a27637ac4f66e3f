//! A history that takes the place of another, when a backup is restored.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::log::History;
use super::names::name_of;
use crate::store::engine::StoreLayout;
use crate::store::error::Result;
use crate::store::failpoint::{self, Failpoint};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{private_dir, private_file, sync_dir, sync_tree};

/// The files of notifications, which earlier builds kept in the directory of history. The state of all channels comes last.
const NOTIFICATIONS: [&str; 2] = ["notify.sent", "notify.json"];

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

    /// Makes everything that was written durable. Adds what readers of the current history need to know.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File), [`Error::Random`](crate::store::Error::Random).
    pub(in crate::store) fn sync(&self) -> Result<()> {
        let (staged, former) = (History::new(self.dir.clone()), History::new(self.layout.history()));
        staged.note_ends(&mut staged.ends())?;
        staged.note_restore(&former)?;
        former.release_notifications()?;
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

impl History {
    /// Moves what an earlier build has of notifications from the directory of history to that of the store.
    ///
    /// What is in the directory of the store already stays, and has to deliver at least as much. Only for a process that excludes
    /// others by the lock of notifications, or the whole store.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn release_notifications(&self) -> Result<()> {
        let [_, state] = NOTIFICATIONS;
        let store = self.dir().parent().unwrap_or(Path::new(""));
        if !self.dir().join(state).exists() {
            return Ok(());
        }
        let is_released = store.join(state).exists();
        for from in NOTIFICATIONS.map(|name| self.dir().join(name)) {
            let moved =
                if is_released { fs::remove_file(&from) } else { fs::rename(&from, store.join(name_of(&from))) };
            match moved {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                moved => moved.map_err(FileError::at(FileOp::Move, &from))?,
            }
            failpoint::hit(Failpoint::NotificationsMoved);
        }
        [store, self.dir()].into_iter().try_for_each(|dir| Ok(sync_dir(dir).map_err(FileError::at(FileOp::Sync, dir))?))
    }
}

/// Removes a directory, if it exists.
fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => Ok(removed.map_err(FileError::at(FileOp::Remove, dir))?),
    }
}

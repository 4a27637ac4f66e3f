//! Which user a store belongs to, and whether this process may write its files.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::fs::Access as Permission;
use rustix::io::Errno;

use super::layout::StoreLayout;
use super::lock::LockName;
use super::tail::DB_FILE;
use crate::store::error::{Error, Refusal, Result};

/// What this process may do with the files of a store.
#[derive(Debug)]
pub enum Access {
    /// It may read and write them.
    ReadWrite,
    /// It may only read them, and this is why it may not write.
    ReadOnly(Refusal),
}

impl Access {
    /// Checks that this process may write the files of the store.
    ///
    /// # Errors
    /// [`Error::NotWritable`].
    pub fn check_writable(self) -> Result<()> {
        match self {
            Self::ReadWrite => Ok(()),
            Self::ReadOnly(refusal) => Err(Error::NotWritable(refusal)),
        }
    }
}

impl StoreLayout {
    /// Finds out what this process may do with the files of the store.
    ///
    /// A process of another user (also root) may not write them, because it would leave files that their owner's cron
    /// cannot open. It may read them where it could not write in any case.
    ///
    /// # Errors
    /// [`Error::WrongOwner`], or [`Error::File`] where the directory cannot be inspected.
    pub fn access(&self) -> Result<Access> {
        let caller = rustix::process::geteuid().as_raw();
        let (of_dir, of_files) = (fs::metadata(self.path()), fs::metadata(self.current().path));
        let of_dir = of_dir.ok().map(|dir| dir.uid());
        let of_files = match of_files {
            Ok(file) => Some(file.uid()),
            // What a directory hides is its owner's.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => of_dir,
            Err(_) => None,
        };
        let (store, owner) = (self.path().to_owned(), of_files.or(of_dir).unwrap_or(caller));
        let refusal = |(path, errno)| Refusal { store: store.clone(), path, errno, owner, caller };
        let refused = self.first_refused(Permission::WRITE_OK).map(refusal);
        match (foreign_owner(of_dir, of_files, caller), refused) {
            (None, None) => Ok(Access::ReadWrite),
            (None, Some(refusal)) => Ok(Access::ReadOnly(refusal)),
            (Some(_), Some(refusal)) if self.first_refused(Permission::READ_OK).is_none() => {
                Ok(Access::ReadOnly(refusal))
            }
            (Some(owner), _) => Err(Error::WrongOwner { path: store, owner, caller }),
        }
    }

    /// The first file of the store that this process may not use in this way; `None` if it may use all.
    fn first_refused(&self, permission: Permission) -> Option<(PathBuf, Errno)> {
        let database = self.database().ok().flatten();
        let in_database = database.into_iter().flat_map(|dir| [dir.join(DB_FILE), dir.join("blobs"), dir]);
        // CURRENT is not written, but replaced.
        let current = (permission == Permission::READ_OK).then(|| self.current().path);
        let in_store = [self.path().to_owned(), self.runs()].into_iter().chain(current);
        let locks = LockName::ALL.map(|lock| self.path().join(lock.file_name()));
        in_store.chain(in_database).chain(locks).find_map(|path| {
            let search = if path.is_dir() { Permission::EXEC_OK } else { Permission::empty() };
            match rustix::fs::access(&path, permission | search) {
                Ok(()) | Err(Errno::NOENT) => None,
                Err(errno) => Some((path, errno)),
            }
        })
    }
}

/// The owner of a store that is not the caller's; `None` if it is the caller's.
///
/// A store belongs to the owner of its files. Its directory may belong to root, as that of a volume does.
fn foreign_owner(of_dir: Option<u32>, of_files: Option<u32>, caller: u32) -> Option<u32> {
    let of_dir = of_dir.filter(|uid| *uid != 0);
    [of_dir, of_files].into_iter().flatten().find(|uid| *uid != caller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_belongs_to_the_owner_of_its_files() {
        for (of_dir, of_files, caller, expected) in [
            (1000, Some(1000), 1000, None),
            (1000, None, 1000, None),
            // A volume.
            (0, Some(1000), 1000, None),
            (0, None, 1000, None),
            (0, None, 0, None),
            (0, Some(1000), 0, Some(1000)),
            (0, Some(0), 1000, Some(0)),
            (1000, Some(0), 1000, Some(0)),
            // Its owner could replace all files.
            (2000, Some(1000), 1000, Some(2000)),
            (1000, Some(1000), 0, Some(1000)),
            (1000, None, 0, Some(1000)),
        ] {
            assert_eq!(foreign_owner(Some(of_dir), of_files, caller), expected, "{of_dir} {of_files:?} {caller}");
        }
        assert_eq!(foreign_owner(None, None, 1000), None);
    }
}

//! Files that are either old or new after a crash, and files that only their owner can read.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::file_error::{FileError, FileOp};
use super::staging;

/// Opens a file, mode 0600, for reading and writing; creates it where it is missing.
///
/// # Errors
/// Those of opening the file.
pub fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Creates a directory with mode 0700, and makes its name durable. An existing one is left as it is.
///
/// # Errors
/// Those of creating it and of syncing the directory above it.
pub fn private_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        created => created.and_then(|()| sync_dir(dir_of(path))),
    }
}

/// Creates a directory and all missing ones above it, mode 0700, and makes their names durable.
///
/// # Errors
/// Those of creating and syncing them.
pub fn durable_dirs(path: &Path) -> io::Result<()> {
    let missing = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).count();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    path.ancestors()
        .skip(1)
        .take(missing)
        .try_for_each(|parent| sync_dir(if parent.as_os_str().is_empty() { Path::new(".") } else { parent }))
}

/// Makes the names in a directory durable.
///
/// # Errors
/// Those of opening and syncing it.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a directory and everything in it durable.
///
/// # Errors
/// The first operation that failed, with its path.
pub fn sync_tree(path: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(path).map_err(FileError::at(FileOp::List, path))? {
        let entry = entry.map_err(FileError::at(FileOp::List, path))?.path();
        if entry.is_dir() {
            sync_tree(&entry)?;
        } else {
            File::open(&entry).and_then(|file| file.sync_all()).map_err(FileError::at(FileOp::Sync, &entry))?;
        }
    }
    sync_dir(path).map_err(FileError::at(FileOp::Sync, path))
}

/// The directory of a file; `.` for a bare name.
pub(super) fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether a replaced file survives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The file and its name are synced.
    Durable,
    /// The file is synced, its name is not: after a power cut the old file may be back.
    Contents,
    /// Nothing is synced.
    None,
}

/// A file that is only ever replaced as a whole, with the fixed name that it has while it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplacedFile {
    /// The file.
    pub path: PathBuf,
    /// The same with `.new` at its end.
    pub staging: PathBuf,
}

impl ReplacedFile {
    /// The file of this name in a directory.
    #[must_use]
    pub fn new(dir: &Path, name: &str) -> Self {
        Self { path: dir.join(name), staging: dir.join(format!("{name}.new")) }
    }

    /// Starts to replace the file: see [`AtomicFile::staged_as`].
    ///
    /// # Errors
    /// Those of creating the staging file.
    pub fn stage(&self) -> io::Result<AtomicFile> {
        AtomicFile::staged_as(&self.staging, &self.path)
    }
}

/// A file that is written under another name, or without one, and then renamed. So its path always names a whole file.
///
/// One that is dropped before [`AtomicFile::commit`] is removed.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    /// `None` while the file has no name.
    staging: Option<TempPath>,
    path: PathBuf,
}

impl AtomicFile {
    /// Stages a file, mode 0600, under a fixed name. What a killed process left there is overwritten.
    ///
    /// Only for a process that excludes others by a lock.
    ///
    /// # Errors
    /// Those of creating the staging file.
    pub fn staged_as(staging: &Path, path: &Path) -> io::Result<Self> {
        let file = private_file(staging)?;
        file.set_len(0)?;
        Ok(Self { file, staging: Some(TempPath::try_from_path(staging)?), path: path.to_owned() })
    }

    /// Stages a file in the directory of `path`, without a name if the system can do that. The umask does not count.
    ///
    /// Removes what killed processes left there.
    ///
    /// # Errors
    /// Those of creating the staging file.
    pub fn beside(path: &Path, permissions: &Permissions) -> io::Result<Self> {
        let dir = dir_of(path);
        // The error of a missing directory would name the staging file.
        fs::metadata(dir)?;
        staging::remove_abandoned(dir);
        let (file, staging) = staging::create(dir, permissions)?;
        if file.metadata()?.permissions().mode() & permissions.mode() != permissions.mode() {
            // A file system may have no modes.
            let _ = file.set_permissions(permissions.clone());
        }
        Ok(Self { file, staging, path: path.to_owned() })
    }

    /// The same file, to be put in another place.
    #[must_use]
    pub fn with_path(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }

    /// The file to write to.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Puts the file in the place of its path. `before_rename` runs once its contents are durable.
    ///
    /// # Errors
    /// Those of syncing and renaming. Before the rename the old file is untouched.
    pub fn commit(self, durability: Durability, before_rename: impl FnOnce()) -> io::Result<()> {
        self.install(durability, before_rename, |staging, path| staging.persist(path).map_err(|error| error.error))
    }

    /// Puts the file durably at its path, where no file is. `before_rename` runs once its contents are durable.
    ///
    /// # Errors
    /// As [`AtomicFile::commit`]; [`io::ErrorKind::AlreadyExists`] where there is a file, which is untouched.
    pub fn commit_new(self, before_rename: impl FnOnce()) -> io::Result<()> {
        self.install(Durability::Durable, before_rename, |staging, path| {
            staging.persist_noclobber(path).map_err(|error| error.error)
        })
    }

    fn install(
        self,
        durability: Durability,
        before_rename: impl FnOnce(),
        rename: impl FnOnce(TempPath, &Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let dir = dir_of(&self.path);
        if durability != Durability::None {
            self.file.sync_all()?;
        }
        before_rename();
        let staging = self.staging.map_or_else(|| staging::link(&self.file, dir), Ok)?;
        rename(staging, &self.path)?;
        if durability != Durability::Durable {
            return Ok(());
        }
        match sync_dir(dir) {
            // The directory of an export may be writable and not readable, or on a file system that syncs no names.
            Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput) => {
                Ok(())
            }
            synced => synced,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_replaced_completely_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let (path, staging) = (directory.path().join("file"), directory.path().join("file.new"));
        fs::write(&path, "old").unwrap();
        fs::write(&staging, "left over by a killed process").unwrap();
        let mut aborted = AtomicFile::staged_as(&staging, &path).unwrap();
        aborted.file().write_all(b"half").unwrap();
        drop(aborted);
        assert!(!staging.exists());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");

        let mut file = AtomicFile::staged_as(&staging, &path).unwrap();
        file.file().write_all(b"new").unwrap();
        file.commit(Durability::Durable, || assert_eq!(fs::read_to_string(&path).unwrap(), "old")).unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("new", 0o600));
        assert!(!staging.exists());
    }

    #[test]
    fn a_file_beside_has_the_mode_that_is_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for text in ["old", "new"] {
            let mut file = AtomicFile::beside(&path, &Permissions::from_mode(0o644)).unwrap();
            file.file().write_all(text.as_bytes()).unwrap();
            file.commit(Durability::None, || ()).unwrap();
            assert_eq!((mode(&path), fs::read_to_string(&path).unwrap().as_str()), (0o644, text));
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_file_never_replaces_another() {
        let directory = tempfile::tempdir().unwrap();
        let (path, staging) = (directory.path().join("file"), directory.path().join("file.new"));
        AtomicFile::staged_as(&staging, &path).unwrap().commit_new(|| ()).unwrap();
        fs::write(&path, "old").unwrap();
        let error = AtomicFile::staged_as(&staging, &path).unwrap().commit_new(|| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), staging.exists()), ("old", false));
    }

    #[test]
    fn a_private_directory_may_exist_but_not_as_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        durable_dirs(&path).unwrap();
        private_dir(&path).unwrap();
        assert_eq!((mode(&path), mode(&directory.path().join("a"))), (0o700, 0o700));
        fs::write(path.join("file"), "").unwrap();
        assert_eq!(private_dir(&path.join("file")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        sync_tree(directory.path()).unwrap();
    }
}

//! Failed operations on files, with what was done and where.

use std::io;
use std::path::{Path, PathBuf};

/// An operation on a file or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileOp {
    /// Reading an entry of the file system, such as its owner.
    Inspect,
    /// Opening a file.
    Open,
    /// Reading a file.
    Read,
    /// Listing a directory.
    List,
    /// Creating a file or a directory.
    Create,
    /// Writing a file.
    Write,
    /// Syncing a file or a directory.
    Sync,
    /// Copying a file.
    Copy,
    /// Renaming a file or a directory, or moving it.
    Move,
    /// Removing a file or a directory.
    Remove,
    /// Changing permissions.
    SetMode,
    /// Locking a file.
    Lock,
    /// Making a directory the working directory.
    Enter,
    /// Executing a program.
    Execute,
}

/// A failed operation on a file.
#[derive(Debug)]
pub struct FileError {
    /// The operation.
    pub op: FileOp,
    /// The file or directory.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

impl FileError {
    /// Adds the operation and the path to an I/O error. Made for `map_err`.
    pub fn at(op: FileOp, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self { op, path: path.to_owned(), source }
    }
}

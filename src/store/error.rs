//! What can go wrong in the store, with the data that a message needs.
//!
//! Messages, hints and exit codes are made in `cli/error/store.rs`. Only [`Damage`] and [`Item`] have their texts here,
//! because the warning about a rebuild needs them too.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;

use crate::model::CxnId;
use crate::util::file_error::FileError;

/// An error of the store.
#[derive(Debug)]
pub enum Error {
    /// There is no store in this directory.
    NoStore {
        /// The directory.
        path: PathBuf,
    },
    /// The directory is neither a store nor empty, so that no store is created in it.
    NotAStore {
        /// The directory.
        path: PathBuf,
    },
    /// The path of the store is not a directory.
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The store belongs to another user.
    WrongOwner {
        /// The directory.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
        /// The user id of this process.
        caller: u32,
    },
    /// The files of the store cannot be written.
    NotWritable(Refusal),
    /// The store cannot be copied to a temporary directory, because it can only be read.
    Copy {
        /// What was copied.
        path: PathBuf,
        /// The directory of temporary files.
        dir: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// `CURRENT` does not name a database of the store.
    UnknownDatabase {
        /// The file `CURRENT`.
        path: PathBuf,
        /// The newest backup, if there is one.
        newest_backup: Option<PathBuf>,
    },
    /// A file of the store cannot be read or written.
    File(FileError),
    /// The due hint of the previous session cannot be removed.
    DueHint(FileError),
    /// Another command held the store for too long.
    Busy {
        /// The directory.
        path: PathBuf,
        /// How long this process waited.
        waited: Duration,
        /// What the process that holds the lock wrote about itself, if anything.
        owner: Option<String>,
    },
    /// The wait for the store was cancelled.
    Cancelled,
    /// A run or another command used the store for too long, which is needed exclusively.
    InUse {
        /// The directory.
        path: PathBuf,
        /// How long this process waited.
        waited: Duration,
        /// What the process that had the last session wrote about itself, if anything.
        last_session: Option<String>,
    },
    /// The store was written by a newer version.
    NewerFormat {
        /// The version of the store.
        found: u32,
        /// The newest version that this program reads.
        known: u32,
    },
    /// The database failed.
    Database {
        /// What is wrong with it.
        problem: Problem,
        /// The newest backup, if there is one.
        newest_backup: Option<PathBuf>,
    },
    /// The database of kept results failed; the store itself works.
    Results {
        /// What is wrong with it.
        problem: Problem,
        /// Its directory.
        path: PathBuf,
    },
    /// A file of the database of kept results cannot be read or written; the store itself works.
    ResultsFile {
        /// The operation that failed.
        error: FileError,
        /// The directory of the database.
        dir: PathBuf,
    },
    /// A kept result cannot be compressed.
    Compress(io::Error),
    /// The system has no random numbers.
    Random(getrandom::Error),
    /// The threads that work on databases cannot be started.
    NoThread(String),
    /// All numbers of a kind are used up.
    NumbersExhausted,
    /// A record is too large to be read again, so it is not written.
    RecordTooLarge(Item),
}

/// A file of a store that this process may not write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The directory of the store.
    pub store: PathBuf,
    /// The file or directory.
    pub path: PathBuf,
    /// Why the system refuses it.
    pub errno: Errno,
    /// The user id of the store's owner.
    pub owner: u32,
    /// The user id of this process.
    pub caller: u32,
}

/// What is wrong with a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The database is damaged.
    Damaged {
        /// How the damage shows.
        damage: Damage,
        /// Whether a rebuild from the log failed too, so that the log is damaged.
        rebuild_failed: bool,
    },
    /// The disk is full.
    StorageFull,
    /// A file of the database would exceed the limit of file sizes.
    FileTooLarge,
    /// The disk failed to write or sync the database.
    NotWritten,
    /// The system refused an operation of the database, with this error number.
    System(i32),
    /// An operation of the database failed, with sled's text.
    Failed(String),
    /// The database panicked, with sled's text.
    Panicked(String),
    /// Something that is stored cannot be decoded.
    Unreadable(Item),
    /// A cxnId leads to no connection.
    MissingCxn(CxnId),
}

/// How the damage of a database shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// A checksum is wrong.
    Checksum,
    /// The database reports an error or panics, with sled's text.
    Reported(String),
    /// Something that every store has cannot be decoded.
    Unreadable(Item),
}

/// Something that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A record of the tree of this name.
    Record(&'static str),
    /// A key of a tree.
    Key,
    /// The version of the store.
    Version,
    /// A number in the tree `meta`.
    Number,
    /// An appId.
    AppId,
    /// A job.
    Job,
    /// The name of a job.
    JobName,
    /// The values that connections share.
    Shared,
    /// A `perm`.
    Perm,
    /// A cxnId.
    CxnId,
    /// A `viaPort`.
    ViaPort,
    /// A kept result.
    StoredResult,
    /// An entry of history.
    HistoryEntry,
}

/// The result of an operation of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Database { problem, newest_backup: None }
    }
}

impl From<Item> for Error {
    fn from(item: Item) -> Self {
        Problem::Unreadable(item).into()
    }
}

/// Whether sled's I/O error of this kind is about what the files contain. Others are about the access to them.
fn is_damage(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}

impl From<sled::Error> for Problem {
    fn from(error: sled::Error) -> Self {
        let damaged = |text| Self::Damaged { damage: Damage::Reported(text), rebuild_failed: false };
        match error {
            sled::Error::Corruption { .. } => Self::Damaged { damage: Damage::Checksum, rebuild_failed: false },
            sled::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => Self::StorageFull,
            sled::Error::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => Self::FileTooLarge,
            sled::Error::Io(error) if is_damage(error.kind()) => damaged(error.to_string()),
            sled::Error::Io(error) => match error.raw_os_error() {
                Some(number) => Self::System(number),
                None if error.kind() == io::ErrorKind::Other => Self::Failed(error.to_string()),
                // A write failed on a thread of sled. Each later call returns a copy of that error, without its number.
                None => Self::NotWritten,
            },
            other => damaged(other.to_string()),
        }
    }
}

impl From<sled::Error> for Error {
    fn from(error: sled::Error) -> Self {
        Problem::from(error).into()
    }
}

/// `None` in place of the error that something cannot be read.
///
/// # Errors
/// Every other error.
pub(super) fn if_readable<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Err(Error::Database { problem: Problem::Unreadable(_) | Problem::MissingCxn(_), .. }) => Ok(None),
        read => read.map(Some),
    }
}

impl Error {
    /// Adds the newest backup to an error that a restore may help against.
    #[must_use]
    pub(super) fn with_newest_backup(mut self, find: impl FnOnce() -> Option<PathBuf>) -> Self {
        if let Self::Database { newest_backup, .. } | Self::UnknownDatabase { newest_backup, .. } = &mut self {
            *newest_backup = find();
        }
        self
    }
}

impl fmt::Display for Error {
    /// Names the variant and its data. The text for people is in `cli/error/store.rs`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checksum => f.write_str("its checksums are wrong"),
            Self::Reported(text) => f.write_str(text),
            Self::Unreadable(item) => write!(f, "{item} cannot be read"),
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Record(tree) => return write!(f, "a record of the tree {tree}"),
            Self::Key => "a key of the store",
            Self::Version => "the store's version",
            Self::Number => "a number of the store",
            Self::AppId => "an appId of the store",
            Self::Job => "a job",
            Self::JobName => "the name of a job",
            Self::Shared => "what connections share",
            Self::Perm => "a stored perm",
            Self::CxnId => "the cxnId of a stored connection",
            Self::ViaPort => "the viaPort of a stored connection",
            Self::StoredResult => "a kept result",
            Self::HistoryEntry => "an entry of history",
        })
    }
}

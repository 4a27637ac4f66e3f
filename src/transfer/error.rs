//! What can go wrong with imports, exports and backups, with the data that a message needs.

use std::io;
use std::path::PathBuf;

use crate::model::{CxnId, InvalidId};
use crate::store;
use crate::util::file_error::FileError;

/// An error of an import, an export or a backup.
#[derive(Debug)]
pub enum Error {
    /// The store failed.
    Store(store::Error),
    /// The input cannot be read any further.
    ReadInput(io::Error),
    /// The input as a whole is not valid JSON.
    InvalidJson {
        /// The line where reading stopped, from 1.
        line: usize,
        /// What is wrong there.
        problem: Problem,
    },
    /// A line that is not UTF-8 in a table in which later rows depend on earlier ones.
    InvalidLine {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The first line of a table does not name its columns.
    NoHeader,
    /// A quote in a CSV file is not closed.
    UnclosedQuote,
    /// A file of a backup cannot be written.
    File(FileError),
    /// A backup cannot be opened or examined.
    OpenBackup(FileError),
    /// The file is not a complete backup.
    InvalidBackup {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: BackupProblem,
        /// The backup before it, if it was chosen as the newest and there is another.
        older: Option<PathBuf>,
    },
}

/// The result of an import, an export or a backup.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

/// What is wrong with one record of an input. No problem holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The bytes are not UTF-8.
    NotUtf8,
    /// The value is not a JSON object.
    NotAnObject,
    /// A key is not known.
    UnknownKey {
        /// The key; `None` if it may be a secret in the wrong place.
        ///
        /// That is a key which is long or has special characters.
        key: Option<String>,
        /// The keys that are known: ``one of `cxnId`, `secret` ``.
        expected: String,
        /// The column in the line, from 1.
        column: usize,
    },
    /// A value has another type than expected.
    WrongType {
        /// What was expected: `a boolean`.
        expected: String,
        /// The column in the line, from 1.
        column: usize,
    },
    /// A value has the right type and is out of range.
    WrongValue {
        /// What was expected: `u16`.
        expected: String,
        /// The column in the line, from 1.
        column: usize,
    },
    /// Any other problem of JSON: its syntax, a missing key, or a value that its domain type rejects.
    Json {
        /// The reason, which quotes no value of the input.
        reason: String,
        /// The column in the line, from 1.
        column: usize,
    },
    /// The secret is not the base64 of 32 bytes.
    InvalidSecret,
    /// A URL is empty, longer than [`super::MAX_URL_BYTES`], or has control characters.
    InvalidUrl {
        /// Its key.
        key: &'static str,
    },
    /// A URL is not of `http` or `https`, or has invisible characters. Former builds accepted it.
    NotAWebUrl {
        /// Its key.
        key: &'static str,
    },
    /// A cxnId or the name of a job breaks the rule for new ones. Former builds accepted it.
    InvalidName(InvalidId),
    /// A perm is larger than [`super::MAX_PERM_BYTES`].
    PermTooLarge,
    /// A failure class in a poll status is not known.
    UnknownFailureClass,
    /// A time in a poll status is not between 1970 and 9999.
    TimeOutOfRange,
    /// The level of a poll status is above [`super::MAX_POLL_LEVEL`].
    LevelTooHigh,
    /// A row has another number of columns than the header.
    WrongColumnCount {
        /// Columns of the row.
        found: usize,
        /// Columns of the header.
        expected: usize,
    },
    /// A field of a table is not a number.
    NotANumber {
        /// The name of its column.
        column: String,
    },
    /// A field of a table is neither 0 nor 1.
    NotAFlag {
        /// The name of its column.
        column: String,
    },
    /// A field of a table is not JSON.
    NotJson {
        /// The name of its column.
        column: String,
    },
    /// A field of a table has several lines, perhaps because a quote is not closed.
    SeveralLines {
        /// The name of its column, as the input has it.
        column: String,
    },
    /// A backslash is not followed by `n`, `t`, `0` or another backslash.
    InvalidEscape,
    /// The cxnId of an entry differs from the key that the entry has.
    CxnIdDiffers,
    /// The connection occurs a second time.
    DuplicateCxn(CxnId),
    /// A poll status belongs to a connection that is neither in the input nor in the store.
    UnknownCxn(CxnId),
}

/// Why a file is not a complete backup.
#[derive(Debug)]
pub enum BackupProblem {
    /// It cannot be read or decompressed to its end.
    Unreadable(io::Error),
    /// It ends without the last line of a backup.
    NoEnd,
    /// It has another version of the format.
    UnknownVersion {
        /// The version of the backup.
        found: u32,
        /// The version that this program reads.
        known: u32,
    },
    /// A line is neither a connection nor one of the other lines of a backup.
    UnknownLine {
        /// The line, from 1.
        line: usize,
    },
    /// A connection cannot be restored.
    InvalidLine {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The number of connections or the checksum at the end does not match the content.
    WrongChecksum,
    /// Something follows the last line.
    TrailingData,
}

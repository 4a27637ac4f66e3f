//! What can go wrong with imports, exports and backups, with the data that a message needs.

use std::io;
use std::path::{Path, PathBuf};

use crate::model::{CxnId, InvalidId};
use crate::store;
use crate::util::encryption::InvalidIdentities;
use crate::util::file_error::FileError;

/// An error of an import, an export or a backup.
#[derive(Debug)]
pub enum Error {
    /// The store failed.
    Store(store::Error),
    /// The input cannot be read any further.
    ReadInput(io::Error),
    /// The input is in no format that can be read.
    Foreign(Foreign),
    /// The input should be one JSON object, and does not begin with `{`.
    NotAnObject {
        /// The line where something else is, from 1.
        line: usize,
    },
    /// A record that was accepted cannot be read again.
    InvalidRecord {
        /// Its number, from 1.
        number: usize,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A record is longer than [`super::MAX_RECORD_BYTES`].
    RecordTooLong {
        /// The line where it begins, from 1.
        line: usize,
    },
    /// The first line of a table does not name its columns.
    NoHeader,
    /// A header names a column twice.
    DuplicateColumn {
        /// The line of the header, from 1.
        line: usize,
        /// The column, as the input has it.
        column: String,
    },
    /// A file of a backup cannot be written.
    File(FileError),
    /// A backup cannot be opened or examined.
    OpenBackup(FileError),
    /// A backup cannot be decrypted with the keys that were given.
    Undecryptable {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: KeyProblem,
    },
    /// A file of private keys cannot be read.
    OpenIdentity(FileError),
    /// A file of private keys holds something else.
    InvalidIdentity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: InvalidIdentities,
    },
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

impl Error {
    /// The error of a file that is not a complete backup.
    pub(super) fn invalid_backup(path: &Path, problem: BackupProblem) -> Self {
        Self::InvalidBackup { path: path.to_owned(), problem, older: None }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

/// What an input is that cannot be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// Text in UTF-16, with or without a byte order mark.
    Utf16,
    /// Compressed by a program other than gzip, with this name.
    Compressed(&'static str),
    /// A ZIP archive, such as a spreadsheet.
    Zip,
    /// A backup of a store.
    Backup,
    /// Encrypted with age.
    Encrypted,
}

/// What is wrong with one record of an input. No problem holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The bytes are not UTF-8.
    NotUtf8,
    /// The record ends early.
    Incomplete,
    /// The last row of a table has no line end, so that its last field may have lost its end.
    NoLineEnd,
    /// A quote in a CSV file is not closed.
    UnclosedQuote,
    /// Text follows a closing quote in a CSV file.
    TextAfterQuote,
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
    },
    /// A value has another type than expected.
    WrongType {
        /// What was expected: `a boolean`.
        expected: String,
    },
    /// A value has the right type and is out of range.
    WrongValue {
        /// What was expected: `u16`.
        expected: String,
    },
    /// Any other problem of JSON: its syntax, a missing key, or a value that its domain type rejects.
    Json {
        /// The reason, which quotes no value of the input.
        reason: String,
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
    /// A field of a table is no word for true or false.
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

/// Why a backup cannot be decrypted with the keys that were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyProblem {
    /// None was given.
    NoKey,
    /// It is encrypted to other keys.
    OtherKey,
    /// It is encrypted only to keys of other kinds, such as those of SSH.
    OtherKind,
    /// It is written as lines of text.
    Armored,
    /// It is encrypted with a passphrase.
    Passphrase,
}

/// Why a file is not a complete backup.
#[derive(Debug)]
pub enum BackupProblem {
    /// It cannot be read, decrypted or decompressed to its end.
    Unreadable(io::Error),
    /// The header of an encrypted backup is damaged, or of a newer version.
    DamagedHeader,
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
    /// The store that was restored from it has faults.
    Faults {
        /// How many.
        count: u64,
        /// The first of them, as `store check` prints it.
        first: String,
    },
    /// A connection is restored with other values.
    CxnDiffers(CxnId),
    /// This many connections are not restored.
    CxnsMissing(usize),
    /// The jobs are restored with other values.
    JobsDiffer,
    /// The files of history are restored with other content.
    HistoryDiffers,
}

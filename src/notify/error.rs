//! What can go wrong with notifications.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::config;
use crate::model::Failure;
use crate::store;
use crate::util::file_error::FileError;

/// Why a run could not make or note a message.
#[derive(Debug)]
pub enum Error {
    /// An operation on the file of the notifications.
    File(FileError),
    /// An error of the store.
    Store(store::Error),
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

/// Why a channel did not accept a message.
#[derive(Debug)]
pub enum DeliveryError {
    /// The process was asked to end.
    Stopped,
    /// The program cannot be started.
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The program failed.
    Exit {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last line that it wrote to standard error, made safe to show; empty if there is none.
        last_line: String,
    },
    /// The program was killed after this time.
    Timeout {
        /// The program.
        program: String,
        /// The limit.
        limit: Duration,
    },
    /// The system starts no thread.
    NoThread(io::Error),
    /// The webhook failed.
    Webhook(Failure),
    /// A file cannot be used.
    File(FileError),
    /// All users may read the file of the key.
    ExposedKey(PathBuf),
    /// The file has no key, or what follows `whsec_` is no base64.
    NoKey(PathBuf),
    /// The client for the webhook cannot be made.
    Client(config::Error),
    /// A mail cannot be made.
    Mail(io::Error),
}

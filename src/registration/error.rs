//! What can be wrong on this side. No site is at fault for it.

use super::reply::Reply;
use crate::config::{self, MissingMetadata};
use crate::listener;
use crate::model::AppId;
use crate::store;
use crate::util::file_error::FileError;

/// A fault on this side.
#[derive(Debug)]
pub enum Error {
    /// No web server has started this process.
    NoWebServer,
    /// The configuration, or a file that it names, cannot be used.
    Config(config::Error),
    /// The app has no private key, which opens requests.
    NoKey(AppId),
    /// The certificate of the app is that of another key. What is sealed with it cannot be opened.
    OtherKey(AppId),
    /// The metadata of the app lacks what it must have.
    NoMetadata {
        /// The app.
        app_id: AppId,
        /// What is missing.
        missing: MissingMetadata,
    },
    /// The store cannot be used.
    Store(store::Error),
    /// The file of recent requests cannot be used.
    RateFile(FileError),
    /// A listener does not work.
    Listener(listener::Error),
    /// The system has no random numbers.
    Random(getrandom::Error),
}

/// The result of a step on the way to a reply.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// When a site may try again if the store was busy.
const BUSY_RETRY_S: u64 = 30;

impl Error {
    /// The reply that a site gets. Its text names no reason.
    #[must_use]
    pub fn reply(&self) -> Reply {
        match self {
            Self::Store(store::Error::Busy { .. } | store::Error::Cancelled) => Reply::unavailable(Some(BUSY_RETRY_S)),
            Self::Store(store::Error::NoStore { .. })
            | Self::NoMetadata { missing: MissingMetadata::Certificate | MissingMetadata::AppUrl, .. }
            | Self::Config(config::Error::NoCertificate { .. }) => Reply::unavailable(None),
            _ => Reply::own_fault(),
        }
    }
}

impl From<config::Error> for Error {
    fn from(error: config::Error) -> Self {
        Self::Config(error)
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        Self::RateFile(error)
    }
}

impl From<listener::Error> for Error {
    fn from(error: listener::Error) -> Self {
        Self::Listener(error)
    }
}

impl From<getrandom::Error> for Error {
    fn from(error: getrandom::Error) -> Self {
        Self::Random(error)
    }
}

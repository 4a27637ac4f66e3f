//! Errors of runs. Their texts and exit codes are in `cli/error/run.rs`.

use std::fmt;
use std::ops::RangeInclusive;

use crate::listener::{self, ProgramError};
use crate::model::{AppId, BatchCode, CxnId, JobName};
use crate::store;
use crate::util::file_error::FileError;

/// An error of a run.
#[derive(Debug)]
pub enum Error {
    /// Another run of the same app and job covers some of the batch codes.
    Declined {
        /// The app.
        app_id: AppId,
        /// The job.
        job: JobName,
        /// The batch codes of this run.
        range: RangeInclusive<BatchCode>,
    },
    /// The locks of runs cannot be used.
    Lock(FileError),
    /// The requested connection does not exist.
    NoSuchCxn(CxnId),
    /// The requested connection belongs to another app.
    CxnOfOtherApp {
        /// The connection.
        cxn_id: CxnId,
        /// The app that it belongs to.
        app_id: AppId,
        /// The app of this run.
        polled: AppId,
    },
    /// The requested connection is disabled.
    CxnDisabled(CxnId),
    /// The maximum runtime was over before it was known what is due.
    OutOfTime,
    /// A thread that the run needs cannot be started; with the system's error message.
    NoThread(String),
    /// A listener cannot be used, which is not the fault of a site.
    Listener(listener::Error),
    /// The store cannot be used.
    Store(store::error::Error),
    /// Outcomes could not be recorded at the end of the run. Their sites are polled again by the next run.
    NotRecorded {
        /// How many outcomes.
        outcomes: usize,
        /// Why.
        error: store::error::Error,
    },
}

impl Error {
    /// Whether a listener program exceeded its limit of time.
    pub(super) fn is_program_timeout(&self) -> bool {
        let Self::Listener(listener::Error::Program(failure)) = self else { return false };
        matches!(failure.error, ProgramError::Timeout(_) | ProgramError::Silent(_))
    }
}

impl From<store::error::Error> for Error {
    fn from(error: store::error::Error) -> Self {
        Self::Store(error)
    }
}

impl From<listener::Error> for Error {
    fn from(error: listener::Error) -> Self {
        Self::Listener(error)
    }
}

impl fmt::Display for Error {
    /// Names the variant and its data. The text for people is in `cli/error/run.rs`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Error {}

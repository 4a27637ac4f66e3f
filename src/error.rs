//! The one error that reaches a person: a kind, a sentence, and a hint where we know what helps.

use std::fmt;

use crate::exit;

/// What kind of thing went wrong; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A bug, or an operation of the system that should not fail.
    Internal,
    /// The command line is wrong.
    Usage,
    /// The site failed.
    Site,
    /// Bad records in an import.
    BadData,
    /// Store, app, connection or file not found.
    NotFound,
    /// The store can't be opened or read, or has faults.
    Store,
    /// Another runner has the batch.
    Declined,
    /// The store stayed busy.
    Busy,
    /// The configuration is wrong.
    Config,
}

impl Kind {
    /// The exit code of this kind.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Internal => exit::INTERNAL,
            Self::Usage => exit::USAGE,
            Self::Site => exit::SITE_FAILED,
            Self::BadData => exit::BAD_DATA,
            Self::NotFound => exit::NOT_FOUND,
            Self::Store => exit::STORE,
            Self::Declined | Self::Busy => exit::DECLINED,
            Self::Config => exit::CONFIG,
        }
    }
}

/// An error for a person.
#[derive(Debug, Clone)]
pub struct Error {
    /// What kind of thing went wrong.
    pub kind: Kind,
    /// What failed, on what: a sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Error {
    /// An error without a hint.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Error {
    /// `message`, and on a line of its own `hint: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for Error {}

/// What a caught panic says, in one line.
#[must_use]
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    crate::model::safe_text(text.unwrap_or("it stopped without a word"))
}

/// The result of what a person asked for.
pub type Result<T, E = Error> = std::result::Result<T, E>;

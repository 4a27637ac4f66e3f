//! The outcome of one poll: success, or a failure with its class.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{Cause, Fault};
use crate::util::text::sanitize;

/// The kinds of failure. Their names are part of the command line's contract; their numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum FailureClass {
    /// The host's name has no address.
    Dns = 1,
    /// The connection was refused, or the host is unreachable.
    Connect = 2,
    /// TLS failed: a wrong name, an expired or untrusted certificate, or an aborted handshake.
    Tls = 3,
    /// A timeout; the message names the phase.
    Timeout = 4,
    /// The connection was closed or reset before the reply was complete.
    Disconnected = 5,
    /// Status 400 and above, with any body.
    Http = 6,
    /// Status 410: the site no longer exists.
    Gone = 7,
    /// A redirect that is not followed; the message holds its target.
    Redirect = 8,
    /// The reply is too large.
    TooLarge = 9,
    /// The egress policy refuses the URL, the address or the port.
    Blocked = 10,
    /// The reply is not a message.
    Garbled = 11,
    /// The reply is a message that breaks a rule of the protocol.
    Protocol = 12,
    /// The site's API returned an error.
    Api = 13,
    /// The logic of the job failed.
    Listener = 14,
    /// This machine could not try: it has no port, no file handle, no route, no CA certificates. Never counted.
    Local = 15,
}

impl FailureClass {
    /// All classes, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Disconnected,
        Self::Http,
        Self::Gone,
        Self::Redirect,
        Self::TooLarge,
        Self::Blocked,
        Self::Garbled,
        Self::Protocol,
        Self::Api,
        Self::Listener,
        Self::Local,
    ];

    /// The name that is shown, stored in files and used by scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Disconnected => "disconnected",
            Self::Http => "http",
            Self::Gone => "gone",
            Self::Redirect => "redirect",
            Self::TooLarge => "too-large",
            Self::Blocked => "blocked",
            Self::Garbled => "garbled",
            Self::Protocol => "protocol",
            Self::Api => "api",
            Self::Listener => "listener",
            Self::Local => "local",
        }
    }

    /// The class of a stored number; `None` for an unknown number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| *class as u8 == number)
    }

    /// The class of a name; `None` for an unknown name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for FailureClass {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Why a poll failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{class}: {message}")]
pub struct Failure {
    /// The kind of failure.
    pub class: FailureClass,
    /// One sentence that is safe to show, see [`sanitize`].
    pub message: String,
    /// The seconds that the site asked to wait (`Retry-After` with status 429 or 503), at most a day.
    ///
    /// `None` if it asked for nothing. A failure with a value is a deferral.
    pub retry_after: Option<u32>,
    /// What the failure has in common with others of the same cause. It is not stored.
    pub cause: Cause,
}

impl Failure {
    /// The longest `retry_after`, in seconds: a day.
    pub const MAX_RETRY_AFTER_S: u32 = 86_400;

    /// Makes a failure. The message is made safe to show.
    ///
    /// In the classes `api` and `listener` the message is the cause as well.
    #[must_use]
    pub fn new(class: FailureClass, message: impl AsRef<str>) -> Self {
        let message = sanitize(message.as_ref());
        let cause = match class {
            FailureClass::Api | FailureClass::Listener => Cause::Text(message.clone()),
            _ => Cause::Message,
        };
        Self { class, message, retry_after: None, cause }
    }

    /// Makes a failure of class `local`.
    #[must_use]
    pub fn local(fault: Fault, message: impl AsRef<str>) -> Self {
        Self { cause: Cause::Local(fault), ..Self::new(FailureClass::Local, message) }
    }
}

impl From<String> for Failure {
    /// Makes a failure of class `listener`.
    fn from(message: String) -> Self {
        Self::new(FailureClass::Listener, message)
    }
}

impl From<&str> for Failure {
    /// Makes a failure of class `listener`.
    fn from(message: &str) -> Self {
        Self::new(FailureClass::Listener, message)
    }
}

/// The outcome of one poll.
pub type Outcome = Result<(), Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_found_by_its_name_and_number() {
        for class in FailureClass::ALL {
            assert_eq!(FailureClass::from_number(class as u8), Some(class));
            assert_eq!(FailureClass::from_name(class.name()), Some(class));
        }
        assert_eq!(FailureClass::from_number(0), None);
    }
}

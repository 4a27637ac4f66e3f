//! What one poll ended in.

use std::fmt;

use serde::{Serialize, Serializer};

/// The kinds of failure. Their names are part of the command line's contract; their numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum FailureClass {
    /// The host's name has no address.
    Dns = 1,
    /// Refused or unreachable.
    Connect = 2,
    /// No secure channel: wrong name, expired or untrusted certificate, handshake broken off.
    Tls = 3,
    /// A limit of time ran out; the message names the phase.
    Timeout = 4,
    /// Closed or reset before the reply was whole.
    Disconnected = 5,
    /// Status 400 and above, whatever the body.
    Http = 6,
    /// Status 410: the site says that it is no more.
    Gone = 7,
    /// A redirect that is not followed; the message says where to.
    Redirect = 8,
    /// The reply is larger than we take.
    TooLarge = 9,
    /// Our network policy forbids the address.
    Blocked = 10,
    /// Not a message at all.
    Garbled = 11,
    /// A message that breaks a rule of the protocol.
    Protocol = 12,
    /// The site's API answered with an error.
    Api = 13,
    /// The job's own logic failed.
    Listener = 14,
}

impl FailureClass {
    /// All classes, in the order of their numbers.
    pub const ALL: [Self; 14] = [
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
    ];

    /// The name that people and scripts see.
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
        }
    }

    /// The class of a stored number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| *class as u8 == number)
    }

    /// The class of a name, if there is one.
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
    /// The kind.
    pub class: FailureClass,
    /// One sentence that can be shown anywhere, see [`safe_text`].
    pub message: String,
    /// For how many seconds the site asked to be left alone (`Retry-After` with status 429 or 503), at most a day.
    pub retry_after: Option<u32>,
    /// Whether nothing was heard of the site: no address, no connection, no TLS, or no time left to get that far. Only
    /// such failures can be an outage of our own.
    pub unreached: bool,
}

impl Failure {
    /// A failure with a message that is made safe to show.
    #[must_use]
    pub fn new(class: FailureClass, message: impl AsRef<str>) -> Self {
        Self { class, message: safe_text(message.as_ref()), retry_after: None, unreached: false }
    }
}

/// What one poll ended in.
pub type Outcome = Result<(), Failure>;

/// The longest message of a failure, in characters.
const MESSAGE_CHARS: usize = 200;

/// Text from a site as it may be shown and kept: no control or direction-changing characters, blanks folded, at
/// most 200 characters.
#[must_use]
pub fn safe_text(text: &str) -> String {
    let mut safe = String::new();
    let mut chars = 0;
    for c in text.chars() {
        let c = if c.is_control() || c.is_whitespace() { ' ' } else { c };
        if is_invisible(c) || (c == ' ' && (safe.is_empty() || safe.ends_with(' '))) {
            continue;
        }
        if chars == MESSAGE_CHARS - 1 {
            safe.push('…');
            break;
        }
        safe.push(c);
        chars += 1;
    }
    safe.truncate(safe.trim_end().len());
    safe
}

/// Characters that change the order of what stands around them, or that nobody sees.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_numbers_lead_back() {
        for class in FailureClass::ALL {
            assert_eq!(FailureClass::from_number(class as u8), Some(class));
            assert_eq!(FailureClass::from_name(class.name()), Some(class));
        }
        assert_eq!(FailureClass::from_number(0), None);
    }

    #[test]
    fn terminal_escapes_do_not_pass() {
        assert_eq!(safe_text("\u{1b}[2Jgone\r\n  \u{202e}x\u{9b}31m "), "[2Jgone x 31m");
    }

    proptest! {
        #[test]
        fn any_text_becomes_safe(text in "\\PC{0,300}|.{0,300}") {
            let safe = safe_text(&text);
            prop_assert!(safe.chars().count() <= MESSAGE_CHARS);
            prop_assert!(!safe.chars().any(|c| c.is_control() || is_invisible(c)));
            prop_assert_eq!(safe_text(&safe), safe);
        }
    }
}

//! Identifiers: app, connection, job, batch code.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::util::text::{escape, is_printable};

/// Text that is not a valid identifier, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}")]
pub struct InvalidId {
    what: &'static str,
    problem: &'static str,
}

/// Checks what holds for all identifiers.
///
/// To the PHP library they are "completely arbitrary". Here they must fit into a message (whose parts 0x01 separates),
/// a line of a log and a key of the store.
fn check(what: &'static str, text: &str) -> Result<(), InvalidId> {
    let problem = if text.is_empty() {
        "is empty"
    } else if text.len() > 255 {
        "is longer than 255 bytes"
    } else if text.chars().any(char::is_control) {
        "holds a control character"
    } else if text.trim() != text {
        "begins or ends with a blank"
    } else {
        return Ok(());
    };
    Err(InvalidId { what, problem })
}

macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// The exact text of the identifier. It may not be printable.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            /// Writes the identifier for people, with escapes for what is not printable.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&escape(&self.0))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.to_string()
            }
        }
    };
}

/// An application that polls: `app:org.civicrm.profile`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppId(Arc<str>);

text_type!(AppId);

impl AppId {
    const PREFIX: &'static str = "app:";

    /// Parses the id of an app as it is typed: `app:` may be omitted.
    ///
    /// # Errors
    /// [`InvalidId`] where the text is not the id of an app.
    pub fn from_argument(text: &str) -> Result<Self, InvalidId> {
        if text.starts_with(Self::PREFIX) { text.parse() } else { format!("{}{text}", Self::PREFIX).parse() }
    }

    /// The id without `app:`. The directory of the app in cxnapp has this name.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[Self::PREFIX.len()..]
    }
}

impl FromStr for AppId {
    type Err = InvalidId;

    /// `app:` and then letters, digits, `.`, `-`, `_`. The id names a directory and is a part of event names.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let what = "appId";
        check(what, text)?;
        let Some(short) = text.strip_prefix(Self::PREFIX) else {
            return Err(InvalidId { what, problem: "does not begin with 'app:'" });
        };
        if short.is_empty() || short.starts_with('.') {
            return Err(InvalidId { what, problem: "has no name after 'app:'" });
        }
        if !short.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)) {
            return Err(InvalidId { what, problem: "may hold only letters, digits, '.', '-' and '_' after 'app:'" });
        }
        Ok(Self(text.into()))
    }
}

/// One connection of a site to an app, unique in a store: `cxn:0123456789abcdef…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CxnId(Arc<str>);

text_type!(CxnId);

impl CxnId {
    /// Checks the rule for new connections: a letter, followed by ASCII characters without blanks.
    ///
    /// Former builds accepted more, so a store, a backup or an export may have other ids.
    ///
    /// # Errors
    /// [`InvalidId`] where the id breaks the rule.
    pub fn check_new(&self) -> Result<(), InvalidId> {
        let problem = if !self.0.starts_with(|c: char| c.is_ascii_alphabetic()) {
            "does not begin with a letter"
        } else if !self.0.bytes().all(|b| b.is_ascii_graphic()) {
            "holds a blank or a character outside of ASCII"
        } else {
            return Ok(());
        };
        Err(InvalidId { what: "cxnId", problem })
    }
}

impl FromStr for CxnId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        check("cxnId", text)?;
        Ok(Self(text.into()))
    }
}

/// The name of a periodic task of an app. Jobs of different apps are independent, also with the same name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobName(Arc<str>);

text_type!(JobName);

impl JobName {
    /// Checks the rule for names in an import: printable, and not like an option.
    ///
    /// # Errors
    /// [`InvalidId`] where the name breaks the rule.
    pub fn check_new(&self) -> Result<(), InvalidId> {
        let problem = if self.0.starts_with('-') {
            "begins with '-'"
        } else if !is_printable(&self.0) {
            "holds an invisible character"
        } else {
            return Ok(());
        };
        Err(InvalidId { what: "job name", problem })
    }
}

impl Default for JobName {
    /// The name of the job if none is given: `default`.
    fn default() -> Self {
        Self("default".into())
    }
}

impl FromStr for JobName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        check("job name", text)?;
        Ok(Self(text.into()))
    }
}

/// A number, 0..=10000, that decides which batch a connection belongs to.
///
/// It is drawn at random when the connection is first stored, and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct BatchCode(u16);

impl BatchCode {
    /// The lowest code.
    pub const MIN: Self = Self(0);
    /// The highest code.
    pub const MAX: Self = Self(10_000);

    /// The number, 0..=10000.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for BatchCode {
    type Error = InvalidId;

    fn try_from(code: u16) -> Result<Self, InvalidId> {
        if code > Self::MAX.0 {
            return Err(InvalidId { what: "batchCode", problem: "is above 10000" });
        }
        Ok(Self(code))
    }
}

impl From<BatchCode> for u16 {
    fn from(code: BatchCode) -> u16 {
        code.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_of_an_app_may_be_omitted() {
        let app = AppId::from_argument("org.civicrm.profile").unwrap();
        assert_eq!(app, "app:org.civicrm.profile".parse().unwrap());
        assert_eq!(app.short(), "org.civicrm.profile");
    }

    #[test]
    fn invalid_ids_are_refused() {
        for text in ["", "app:", "org.x", "app:../etc", "app:a/b", "app:a b", "app:.hidden", "app:a\n"] {
            assert!(text.parse::<AppId>().is_err(), "{text:?}");
        }
        for text in ["", "cxn:a\u{1}b", " cxn:a", "cxn:a\r"] {
            assert!(text.parse::<CxnId>().is_err(), "{text:?}");
        }
        assert!("x".repeat(256).parse::<JobName>().is_err());
        assert!(BatchCode::try_from(10_001).is_err());
    }

    #[test]
    fn a_new_cxn_id_is_a_letter_and_printable_ascii() {
        let check = |text: &str| text.parse::<CxnId>().unwrap().check_new().map_err(|error| error.problem);
        for text in ["cxn:0123456789abcdef0123456789abcdef", "x", "CXN-1~!", &format!("c{}", "'".repeat(254))] {
            assert_eq!(check(text), Ok(()), "{text:?}");
        }
        for text in ["--all", "-", "=1+1", "+1", "@SUM(A1)", "'x", "0123", "ü1", "\u{202e}cxn:1"] {
            assert_eq!(check(text), Err("does not begin with a letter"), "{text:?}");
        }
        for text in ["cxn:1 2", "cxn:\u{202e}1", "cxn:\u{3164}", "cxn:é", "cxn:\u{a0}1"] {
            assert_eq!(check(text), Err("holds a blank or a character outside of ASCII"), "{text:?}");
        }
    }

    #[test]
    fn a_new_job_name_is_printable_and_no_option() {
        let check = |text: &str| text.parse::<JobName>().unwrap().check_new().map_err(|error| error.problem);
        for text in ["default", "get_site_info", "2nd", "täglich um 5", "_a"] {
            assert_eq!(check(text), Ok(()), "{text:?}");
        }
        assert_eq!(check("--all"), Err("begins with '-'"));
        assert_eq!(check("a\u{202e}b"), Err("holds an invisible character"));
    }

    #[test]
    fn what_is_shown_of_an_id_is_printable_and_its_text_stays() {
        let id: CxnId = "cxn:\u{202e}\u{3164}é".parse().unwrap();
        assert_eq!((id.to_string().as_str(), id.as_str()), ("cxn:\\u202e\\u3164é", "cxn:\u{202e}\u{3164}é"));
        assert_eq!(String::from(id.clone()), id.as_str());
        assert_eq!(serde_json::to_value(&id).unwrap(), id.as_str());
    }
}

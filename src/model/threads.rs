//! How many sites a run polls at a time.

use std::fmt;

use serde::Deserialize;

/// The largest number of workers that can be given.
pub const MAX_WORKERS: usize = 4096;

/// How many workers a run has, and so how many sites it polls at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "Written")]
pub enum Threads {
    /// As many as it pays to have: they are added while sites wait and the processors do not.
    #[default]
    Auto,
    /// This many, at least 1.
    Fixed(usize),
}

/// A value of the configuration.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected \"auto\", or a number from 1 to 4096")]
enum Written {
    Number(usize),
    Word(String),
}

/// A number out of range, or another word than `auto`.
#[derive(Debug, thiserror::Error)]
#[error("expected \"auto\", or a number from 1 to {MAX_WORKERS}")]
struct InvalidThreads;

impl TryFrom<Written> for Threads {
    type Error = InvalidThreads;

    fn try_from(written: Written) -> Result<Self, InvalidThreads> {
        match written {
            Written::Word(word) if word == "auto" => Ok(Self::Auto),
            Written::Number(workers @ 1..=MAX_WORKERS) => Ok(Self::Fixed(workers)),
            Written::Number(_) | Written::Word(_) => Err(InvalidThreads),
        }
    }
}

impl fmt::Display for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Fixed(workers) => write!(f, "{workers}"),
        }
    }
}

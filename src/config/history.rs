//! The table `[history]`.

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer};

const MAX_DAYS: u32 = 3650;

/// How long history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct HistoryTable {
    /// A month of which all is older than this, in days, is removed; 1 to 3650.
    #[serde(deserialize_with = "days")]
    pub days: u32,
}

impl Default for HistoryTable {
    /// A year and some weeks, so that a month can be compared with that of the year before.
    fn default() -> Self {
        Self { days: 400 }
    }
}

fn days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let days = u32::deserialize(deserializer)?;
    let refused = || D::Error::invalid_value(Unexpected::Unsigned(days.into()), &"a number of days from 1 to 3650");
    if (1..=MAX_DAYS).contains(&days) { Ok(days) } else { Err(refused()) }
}

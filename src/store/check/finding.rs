//! Something in the store that is wrong.

use serde_json::{Value, json};

use crate::store::engine::{TreeName, Write};
use crate::store::error::Result;
use crate::store::schema::ReadSession;

/// Checks one entry, given its key and its value; `None` means that it is right.
pub type Rule = fn(&ReadSession, &[u8], &[u8]) -> Result<Option<Finding>>;

/// Something that is wrong, and its repair.
pub struct Finding {
    /// What is wrong: a sentence without a full stop.
    pub what: String,
    /// What the repair does, for people.
    pub repair: &'static str,
    /// What the repair writes; nothing where there is no repair.
    pub writes: Vec<Write>,
    /// Entries that the repair removes and that cannot be made again.
    pub quarantine: Vec<Value>,
}

/// A finding as it is reported.
pub struct Reported {
    /// What is wrong, and with what it was repaired.
    pub what: String,
    /// Whether it was repaired.
    pub repaired: bool,
}

impl Finding {
    /// Something that only a backup helps against.
    pub fn unrepairable(what: impl Into<String>) -> Self {
        let what = what.into() + ": only a backup brings it back";
        Self { what, repair: "", writes: Vec::new(), quarantine: Vec::new() }
    }

    /// Something that a few writes repair.
    pub fn repairable(what: impl Into<String>, repair: &'static str, writes: Vec<Write>) -> Self {
        Self { what: what.into(), repair, writes, quarantine: Vec::new() }
    }

    /// An entry that is removed, with a copy in quarantine.
    pub fn unreadable(what: impl Into<String>, tree: TreeName, key: &[u8], value: &[u8]) -> Self {
        let remove = vec![Write::remove(tree, key)];
        Self::repairable(what, "moved to quarantine", remove).with_quarantine(tree, key, value)
    }

    /// Adds an entry to those that are copied to quarantine.
    pub fn with_quarantine(mut self, tree: TreeName, key: &[u8], value: &[u8]) -> Self {
        // The names are part of the file's format.
        self.quarantine.push(entry_json(&format!("{tree:?}"), key, value));
        self
    }
}

/// An entry as a line of quarantine.
pub fn entry_json(tree: &str, key: &[u8], value: &[u8]) -> Value {
    json!({"tree": tree, "key": hex::encode(key), "value": hex::encode(value)})
}

//! A backup as text and as JSON.

use indicatif::HumanBytes;
use serde_json::{Value, json};

use crate::transfer::backup::Backup;
use crate::util::text::count;

/// The size of a backup: `7 connections, 1.5 KiB`.
pub(super) fn size(backup: &Backup) -> String {
    format!("{}, {}", count(backup.cxns, "connection"), HumanBytes(backup.bytes))
}

/// The object that scripts get.
pub(super) fn json(backup: &Backup) -> Value {
    json!({"path": backup.path.display().to_string(), "cxns": backup.cxns, "bytes": backup.bytes, "lacks": backup.lacks})
}

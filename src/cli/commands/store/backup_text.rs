//! A backup as text and as JSON.

use indicatif::HumanBytes;
use serde_json::{Value, json};

use crate::transfer::backup::Backup;
use crate::util::text::count;

/// The size of a backup: `7 connections, 1.5 KiB`.
pub(super) fn size(backup: &Backup) -> String {
    format!("{}, {}", count(backup.cxns, "connection"), HumanBytes(backup.bytes))
}

/// The object that scripts get. `verified` is whether the backup was restored to check it.
pub(super) fn json(backup: &Backup, verified: bool) -> Value {
    let Backup { path, cxns, bytes, lacks, .. } = backup;
    json!({"path": path.display().to_string(), "cxns": cxns, "bytes": bytes, "lacks": lacks, "verified": verified})
}

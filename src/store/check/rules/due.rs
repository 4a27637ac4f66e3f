//! The rule of the tree `due`.

use super::cxn::readable_cxn;
use crate::model::PollStatus;
use crate::store::check::finding::Finding;
use crate::store::engine::{TreeName, Write};
use crate::store::error::Result;
use crate::store::schema::{CxnKey, DueKey, ReadSession, Record, StatusRecord, status_key};

/// An entry of the due index is the one of its status.
pub fn due(session: &ReadSession, key: &[u8], _: &[u8]) -> Result<Option<Finding>> {
    let finding =
        |what: String| Ok(Some(Finding::repairable(what, "removed", vec![Write::remove(TreeName::Due, key)])));
    let Some(due) = DueKey::parse(key) else { return finding("an entry of the index has no valid key".to_owned()) };
    let seq = due.locator.seq;
    let Some(bytes) = session.get(TreeName::Status, status_key(due.job, due.locator))? else {
        return finding(format!("the entry of number {seq} in the index has no poll status"));
    };
    // What cannot be read, and an entry whose value is wrong, are faults of the status.
    let Ok(status) = StatusRecord::from_bytes(&bytes).and_then(PollStatus::try_from) else { return Ok(None) };
    let Ok(app) = session.job_by_no(due.job).map(|job| job.app) else { return Ok(None) };
    let Some(cxn) = readable_cxn(session, CxnKey { app, locator: due.locator })? else { return Ok(None) };
    if DueKey::of(due.job, due.locator, &status, cxn.disabled) == due {
        return Ok(None);
    }
    finding(format!("the entry of number {seq} in the index is not that of its poll status"))
}

//! The rule of the tree `status`.

use super::cxn::readable_cxn;
use crate::model::PollStatus;
use crate::store::check::finding::Finding;
use crate::store::engine::TreeName;
use crate::store::error::Result;
use crate::store::schema::{
    CxnKey, DueFacts, DueRecord, ReadSession, Record, StatusRecord, due_write, host_of, parse_status_key, status_writes,
};

/// A status can be read, and has its job, its connection and its entry in the due index.
pub fn status(session: &ReadSession, key: &[u8], value: &[u8]) -> Result<Option<Finding>> {
    let unreadable = |what: String| Ok(Some(Finding::unreadable(what, TreeName::Status, key, value)));
    let Some((job, locator)) = parse_status_key(key) else {
        return unreadable("a poll status has no valid key".to_owned());
    };
    let Ok(app) = session.job_by_no(job).map(|job| job.app) else {
        return unreadable(format!("the poll status of number {} belongs to no job", locator.seq));
    };
    let at = CxnKey { app, locator };
    if !session.trees.contains(TreeName::Cxn, &at.to_bytes())? {
        return unreadable(format!("the poll status of number {} belongs to no connection", locator.seq));
    }
    // A connection that cannot be read is a fault of its own.
    let Some(cxn) = readable_cxn(session, at)? else { return Ok(None) };
    let facts = DueFacts::new(session.host_key, &cxn);
    let Ok(status) = StatusRecord::from_bytes(value).and_then(PollStatus::try_from) else {
        let what = format!("a poll status of {} cannot be read", cxn.cxn_id);
        let writes = status_writes(job, locator, &PollStatus::default(), facts)?.to_vec();
        let finding = Finding::repairable(what, "it counts as new", writes);
        return Ok(Some(finding.with_quarantine(TreeName::Status, key, value)));
    };
    let entry = due_write(job, locator, &status, facts)?;
    let stored = session.get(TreeName::Due, &entry.key)?.and_then(|bytes| DueRecord::from_bytes(&bytes).ok());
    if let Some(mut stored) = stored {
        stored.host = host_of(&session.trees, session.host_key, at, stored.host)?;
        if entry.value == Some(stored.to_bytes()?) {
            return Ok(None);
        }
    }
    let what = format!("the poll status of {} is not in the index of what is due", cxn.cxn_id);
    Ok(Some(Finding::repairable(what, "entered", vec![entry])))
}

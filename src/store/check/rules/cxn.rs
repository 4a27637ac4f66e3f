//! The rule of the tree `cxn`.

use crate::model::PollStatus;
use crate::store::check::finding::Finding;
use crate::store::engine::{TreeName, Write};
use crate::store::error::{Result, if_readable};
use crate::store::schema::{
    CxnKey, CxnRecord, DueFacts, IdRecord, ReadSession, Record, counters, decode_cxn, status_key, status_writes,
    write_counters,
};

/// A connection can be read, and is found by its cxnId.
///
/// It has a status for each job whose backfill has passed it.
pub fn cxn(session: &ReadSession, key: &[u8], value: &[u8]) -> Result<Option<Finding>> {
    let unreadable = |what: &str| Ok(Some(Finding::unreadable(what, TreeName::Cxn, key, value)));
    let Some(at) = CxnKey::parse(key) else { return unreadable("a connection has no valid key") };
    let Ok(cxn) = CxnRecord::from_bytes(value) else { return unreadable("a connection cannot be read") };
    let id = &cxn.cxn_id;
    if session.app_id(at.app).is_err() || session.shared(cxn.shared).is_err() {
        let what = format!("the app of {id}, or what it shares with others, cannot be read");
        return Ok(Some(Finding::unrepairable(what)));
    }
    if decode_cxn(session, at, value).is_err() {
        return unreadable("the cxnId or viaPort of a connection cannot be read");
    }
    // Counters that cannot be read are a fault of their own.
    if let Some(mut numbers) = if_readable(counters(&session.trees))?
        && numbers.cxn <= at.locator.seq
    {
        numbers.cxn = at.locator.seq.saturating_add(1);
        let what = format!("{id} has a number that was never assigned");
        return Ok(Some(Finding::repairable(what, "counted", vec![write_counters(&numbers)?])));
    }
    if let Some(finding) = misplaced(session, at, &cxn, value)? {
        return Ok(Some(finding));
    }
    let mut writes = Vec::new();
    for job in session.jobs(Some(at.app))? {
        let has_status = session.trees.contains(TreeName::Status, &status_key(job.no, at.locator))?;
        if job.has_backfilled(at.locator) && !has_status {
            let facts = DueFacts::new(session.host_key, &cxn);
            writes.extend(status_writes(job.no, at.locator, &PollStatus::default(), facts)?);
        }
    }
    if writes.is_empty() {
        return Ok(None);
    }
    Ok(Some(Finding::repairable(format!("{id} lacks a poll status"), "it counts as new", writes)))
}

/// A connection that is not the one to which its cxnId leads.
fn misplaced(session: &ReadSession, at: CxnKey, cxn: &CxnRecord, value: &[u8]) -> Result<Option<Finding>> {
    let id = &cxn.cxn_id;
    let found = key_of(session, id)?;
    if found == Some(at) {
        return Ok(None);
    }
    let entry = Write::put(TreeName::Id, id.as_bytes(), IdRecord::from(at).to_bytes()?);
    let twin = match found {
        Some(other) => readable_cxn(session, other)?.filter(|twin| twin.cxn_id == *id).map(|twin| (other, twin)),
        None => None,
    };
    let stored_twice = || format!("{id} is stored twice");
    // Numbers are never used again. Of two connections, the one with the lower number was replaced.
    Ok(Some(match twin {
        None => Finding::repairable(format!("{id} is not found by its cxnId"), "entered", vec![entry]),
        Some((other, _)) if other.locator.seq > at.locator.seq => {
            Finding::unreadable(stored_twice(), TreeName::Cxn, &at.to_bytes(), value)
        }
        Some((other, twin)) => {
            let writes = vec![Write::remove(TreeName::Cxn, other.to_bytes()), entry];
            Finding::repairable(stored_twice(), "the older is moved to quarantine", writes).with_quarantine(
                TreeName::Cxn,
                &other.to_bytes(),
                &twin.to_bytes()?,
            )
        }
    }))
}

/// The record of a connection; `None` if there is none that can be read.
pub fn readable_cxn(session: &ReadSession, key: CxnKey) -> Result<Option<CxnRecord>> {
    Ok(session.get(TreeName::Cxn, key.to_bytes())?.and_then(|bytes| CxnRecord::from_bytes(&bytes).ok()))
}

/// The key to which a cxnId leads; `None` if it leads nowhere or cannot be read.
pub fn key_of(session: &ReadSession, cxn_id: impl AsRef<[u8]>) -> Result<Option<CxnKey>> {
    let record = session.get(TreeName::Id, cxn_id)?.and_then(|bytes| IdRecord::from_bytes(&bytes).ok());
    Ok(record.and_then(|record| CxnKey::try_from(record).ok()))
}

//! Whether what the trees say of one another agrees.

use super::Store;
use super::keys::{CxnKey, DueKey, parse_status_key, status_key};
use super::record::{CxnRecord, DueRecord, IdRecord, Record, StatusRecord};
use super::session::{Session, TreeName};
use crate::error::Result;
use crate::model::PollStatus;

/// What a check of the store found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Check {
    /// How much there is.
    pub counts: Counts,
    /// How many faults there are.
    pub faults: u64,
    /// The first of them, a sentence each.
    pub first_faults: Vec<String>,
}

/// How many entries the trees hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Connections by their cxnId.
    pub ids: u64,
    /// Connections.
    pub cxns: u64,
    /// Poll statuses.
    pub statuses: u64,
    /// Entries of the due index.
    pub due: u64,
}

/// How many faults are told in words.
const TOLD: usize = 20;

impl Check {
    fn note(&mut self, fault: Option<String>) {
        let Some(fault) = fault else { return };
        self.faults += 1;
        if self.first_faults.len() < TOLD {
            self.first_faults.push(fault);
        }
    }
}

impl Store {
    /// Checks that every cxnId leads to its connection and back, every status has its connection and its one entry in
    /// the due index, every entry its status, and that every record can be read. Goes in slices.
    ///
    /// # Errors
    /// Those of [`Store::session`]; faults are no error.
    pub fn check(&self) -> Result<Check> {
        let mut check = Check::default();
        for (tree, count, judge) in [
            (TreeName::Id, (|c| &mut c.ids) as fn(&mut Counts) -> &mut u64, judge_id as Judge),
            (TreeName::Cxn, |c| &mut c.cxns, judge_cxn),
            (TreeName::Status, |c| &mut c.statuses, judge_status),
            (TreeName::Due, |c| &mut c.due, judge_due),
        ] {
            self.paged(
                tree,
                &[],
                |session, key, value| judge(session, key, value).map(Some),
                |fault| {
                    *count(&mut check.counts) += 1;
                    check.note(fault);
                    Ok(())
                },
            )?;
        }
        Ok(check)
    }
}

/// Looks at one entry and tells what is wrong with it.
type Judge = fn(&Session, &[u8], &[u8]) -> Result<Option<String>>;

fn judge_id(session: &Session, key: &[u8], value: &[u8]) -> Result<Option<String>> {
    let name = String::from_utf8_lossy(key);
    let Some(at) = IdRecord::from_bytes(value).ok().and_then(|record| CxnKey::try_from(record).ok()) else {
        return Ok(Some(format!("the number of {name} can't be read")));
    };
    let leads_back = |bytes: &[u8]| CxnRecord::from_bytes(bytes).is_ok_and(|cxn| cxn.cxn_id.as_bytes() == key);
    Ok(match session.cxn.get(at.to_bytes())? {
        Some(bytes) if leads_back(&bytes) => None,
        Some(_) => Some(format!("{name} leads to another connection")),
        None => Some(format!("{name} leads to no connection")),
    })
}

fn judge_cxn(session: &Session, key: &[u8], value: &[u8]) -> Result<Option<String>> {
    let Some(key) = CxnKey::parse(key) else { return Ok(Some("a connection has no valid key".to_owned())) };
    let cxn = match session.decode_cxn(key, value) {
        Ok(cxn) => cxn,
        Err(error) => return Ok(Some(format!("a connection can't be read: {}", error.message))),
    };
    let record = session.id.get(cxn.cxn_id.as_str())?.and_then(|bytes| IdRecord::from_bytes(&bytes).ok());
    let found = record.and_then(|record| CxnKey::try_from(record).ok());
    Ok((found != Some(key)).then(|| format!("{} is not found by its cxnId", cxn.cxn_id)))
}

fn judge_status(session: &Session, key: &[u8], value: &[u8]) -> Result<Option<String>> {
    let Some((job, place)) = parse_status_key(key) else {
        return Ok(Some("a poll status has no valid key".to_owned()));
    };
    let status = StatusRecord::from_bytes(value).and_then(PollStatus::try_from);
    let Ok(status) = status else { return Ok(Some(format!("the poll status of number {} can't be read", place.no))) };
    let Ok(app) = session.job_by_no(job).map(|job| job.app) else {
        return Ok(Some(format!("the poll status of number {} belongs to no job", place.no)));
    };
    let Some(cxn) = session.cxn.get(CxnKey { app, place }.to_bytes())? else {
        return Ok(Some(format!("the poll status of number {} belongs to no connection", place.no)));
    };
    // A connection that can't be read is a fault of its own.
    let Ok(cxn) = CxnRecord::from_bytes(&cxn) else { return Ok(None) };
    let due = DueRecord { host: cxn.host(), level: status.level, count: status.count };
    let entry = session.due.get(DueKey::of(job, place, &status, cxn.disabled).to_bytes())?;
    let agrees = entry.is_some_and(|bytes| DueRecord::from_bytes(&bytes) == Ok(due));
    Ok((!agrees).then(|| format!("the poll status of {} is not in the index of what is due", cxn.cxn_id)))
}

fn judge_due(session: &Session, key: &[u8], value: &[u8]) -> Result<Option<String>> {
    let Some(due) = DueKey::parse(key) else { return Ok(Some("an entry of the index has no valid key".to_owned())) };
    let number = due.place.no;
    if DueRecord::from_bytes(value).is_err() {
        return Ok(Some(format!("the entry of number {number} in the index can't be read")));
    }
    let Some(bytes) = session.status.get(status_key(due.job, due.place))? else {
        return Ok(Some(format!("the entry of number {number} in the index has no poll status")));
    };
    // A status that can't be read is a fault of its own.
    let Ok(status) = StatusRecord::from_bytes(&bytes).and_then(PollStatus::try_from) else { return Ok(None) };
    let agrees = [false, true].map(|disabled| DueKey::of(due.job, due.place, &status, disabled)).contains(&due);
    Ok((!agrees).then(|| format!("the entry of number {number} in the index is not that of its poll status")))
}

//! What can be wrong with one entry of the store, and what would mend it.

use serde_json::{Value, json};

use super::keys::{CxnKey, DueKey, JobNo, Place, parse_status_key, status_key};
use super::meta;
use super::record::{CxnRecord, DueRecord, IdRecord, Record, StatusRecord};
use super::session::{Session, TreeName};
use crate::error::Result;
use crate::model::PollStatus;

/// Something that is wrong.
pub(super) struct Fault {
    /// A sentence without a full stop.
    pub(super) what: String,
    /// What mending does, as words for people.
    pub(super) done: &'static str,
    /// What mending writes; nothing where it can't be mended.
    pub(super) writes: Vec<Write>,
    /// Entries that are removed and can't be made again, for people to look at.
    pub(super) aside: Vec<Value>,
}

/// One entry to be written, or removed where there is no value.
pub(super) type Write = (TreeName, Vec<u8>, Option<Vec<u8>>);

/// Looks at one entry and tells what is wrong with it.
pub(super) type Judge = fn(&Session, &[u8], &[u8]) -> Result<Option<Fault>>;

impl Fault {
    /// A fault that nothing in the store helps against.
    pub(super) fn lasting(what: impl Into<String>) -> Self {
        let what = what.into() + ": only a backup brings it back";
        Self { what, done: "", writes: Vec::new(), aside: Vec::new() }
    }

    /// A fault that something mends.
    pub(super) fn new(what: impl Into<String>, done: &'static str, writes: Vec<Write>) -> Self {
        Self { what: what.into(), done, writes, aside: Vec::new() }
    }

    /// Removes an entry, and puts a copy of it aside.
    fn unreadable(what: impl Into<String>, tree: TreeName, key: &[u8], value: &[u8]) -> Self {
        let writes = vec![(tree, key.to_vec(), None)];
        Self { aside: vec![aside(tree, key, value)], ..Self::new(what, "set aside", writes) }
    }
}

fn aside(tree: TreeName, key: &[u8], value: &[u8]) -> Value {
    json!({"tree": format!("{tree:?}"), "key": hex::encode(key), "value": hex::encode(value)})
}

/// The writes that give a connection a status, with its entry in the due index.
fn status_writes(job: JobNo, place: Place, status: &PollStatus, cxn: &CxnRecord) -> Vec<Write> {
    let record = StatusRecord::from(status).to_bytes();
    vec![(TreeName::Status, status_key(job, place).to_vec(), Some(record)), due_write(job, place, status, cxn)]
}

fn due_write(job: JobNo, place: Place, status: &PollStatus, cxn: &CxnRecord) -> Write {
    let due = DueRecord { host: cxn.host(), level: status.level, count: status.count };
    let key = DueKey::of(job, place, status, cxn.disabled);
    (TreeName::Due, key.to_bytes().to_vec(), Some(due.to_bytes()))
}

/// The record of a connection, where there is one that can be read.
fn record(session: &Session, key: CxnKey) -> Result<Option<CxnRecord>> {
    Ok(session.cxn.get(key.to_bytes())?.and_then(|bytes| CxnRecord::from_bytes(&bytes).ok()))
}

fn found_by_id(session: &Session, cxn_id: &str) -> Result<Option<CxnKey>> {
    let record = session.id.get(cxn_id)?.and_then(|bytes| IdRecord::from_bytes(&bytes).ok());
    Ok(record.and_then(|record| CxnKey::try_from(record).ok()))
}

/// The numbers, apps, jobs and shared values of the tree `meta`.
pub(super) fn meta(session: &Session) -> Result<Vec<Fault>> {
    meta::judge(session)
}

/// A cxnId leads to its connection. A connection that is found by none gets its entry back when it is judged itself.
pub(super) fn id(session: &Session, key: &[u8], value: &[u8]) -> Result<Option<Fault>> {
    let name = String::from_utf8_lossy(key);
    let remove = || vec![(TreeName::Id, key.to_vec(), None)];
    let Some(at) = IdRecord::from_bytes(value).ok().and_then(|record| CxnKey::try_from(record).ok()) else {
        return Ok(Some(Fault::new(format!("the number of {name} can't be read"), "the entry is removed", remove())));
    };
    Ok(match record(session, at)? {
        Some(cxn) if cxn.cxn_id.as_bytes() == key => None,
        Some(_) => Some(Fault::new(format!("{name} leads to another connection"), "the entry is removed", remove())),
        None => Some(Fault::new(
            format!("{name} leads to no connection"),
            "the entry is removed; import the connection again, or restore a backup",
            remove(),
        )),
    })
}

/// A connection can be read, is found by its cxnId, and has a status for each job that has reached it.
pub(super) fn cxn(session: &Session, key: &[u8], value: &[u8]) -> Result<Option<Fault>> {
    let unreadable = |what: &str| Ok(Some(Fault::unreadable(what, TreeName::Cxn, key, value)));
    let Some(at) = CxnKey::parse(key) else { return unreadable("a connection has no valid key") };
    let Ok(cxn) = CxnRecord::from_bytes(value) else { return unreadable("a connection can't be read") };
    let id = &cxn.cxn_id;
    if session.app_name(at.app).is_err() || session.shared(cxn.shared).is_err() {
        return Ok(Some(Fault::lasting(format!("the app of {id}, or what it shares with others, can't be read"))));
    }
    if session.decode_cxn(at, value).is_err() {
        return unreadable("the cxnId or viaPort of a connection can't be read");
    }
    if session.next_cxn_no()? <= at.place.no {
        let raised = meta::raised(session, |counters| counters.cxn = at.place.no.saturating_add(1))?;
        return Ok(Some(Fault::new(format!("{id} has a number that was not given out"), "counted", vec![raised])));
    }
    if let Some(fault) = misplaced(session, at, &cxn, value)? {
        return Ok(Some(fault));
    }
    let mut writes = Vec::new();
    for job in session.jobs(Some(at.app))? {
        if job.has_reached(at.place) && session.status.get(status_key(job.no, at.place))?.is_none() {
            writes.extend(status_writes(job.no, at.place, &PollStatus::default(), &cxn));
        }
    }
    if writes.is_empty() {
        return Ok(None);
    }
    Ok(Some(Fault::new(format!("{id} lacks a poll status"), "it counts as new", writes)))
}

/// A connection that is not the one its cxnId leads to.
fn misplaced(session: &Session, at: CxnKey, cxn: &CxnRecord, value: &[u8]) -> Result<Option<Fault>> {
    let id = &cxn.cxn_id;
    let found = found_by_id(session, id)?;
    if found == Some(at) {
        return Ok(None);
    }
    let entry = (TreeName::Id, id.as_bytes().to_vec(), Some(IdRecord::from(at).to_bytes()));
    let twin = match found {
        Some(other) => record(session, other)?.filter(|twin| twin.cxn_id == *id).map(|twin| (other, twin)),
        None => None,
    };
    let what = format!("{id} is not found by its cxnId");
    // Numbers are never used again: of two, the one with the lower number is what was replaced.
    Ok(Some(match twin {
        None => Fault::new(what, "entered", vec![entry]),
        Some((other, _)) if other.place.no > at.place.no => {
            Fault::unreadable(format!("{id} is there twice"), TreeName::Cxn, &at.to_bytes(), value)
        }
        Some((other, twin)) => {
            let twin = Fault::unreadable("", TreeName::Cxn, &other.to_bytes(), &twin.to_bytes());
            let writes = twin.writes.into_iter().chain([entry]).collect();
            Fault { aside: twin.aside, ..Fault::new(format!("{id} is there twice"), "the older is set aside", writes) }
        }
    }))
}

/// A status can be read, and has its job, its connection and its entry in the due index.
pub(super) fn status(session: &Session, key: &[u8], value: &[u8]) -> Result<Option<Fault>> {
    let unreadable = |what: String| Ok(Some(Fault::unreadable(what, TreeName::Status, key, value)));
    let Some((job, place)) = parse_status_key(key) else {
        return unreadable("a poll status has no valid key".to_owned());
    };
    let Ok(app) = session.job_by_no(job).map(|job| job.app) else {
        return unreadable(format!("the poll status of number {} belongs to no job", place.no));
    };
    let at = CxnKey { app, place };
    if session.cxn.get(at.to_bytes())?.is_none() {
        return unreadable(format!("the poll status of number {} belongs to no connection", place.no));
    }
    // A connection that can't be read is a fault of its own.
    let Some(cxn) = record(session, at)? else { return Ok(None) };
    let Ok(status) = StatusRecord::from_bytes(value).and_then(PollStatus::try_from) else {
        let writes = status_writes(job, place, &PollStatus::default(), &cxn);
        let fault = Fault::new(format!("a poll status of {} can't be read", cxn.cxn_id), "it counts as new", writes);
        return Ok(Some(Fault { aside: vec![aside(TreeName::Status, key, value)], ..fault }));
    };
    let entry = due_write(job, place, &status, &cxn);
    let there = session.due.get(&entry.1)?;
    if there.as_deref() == entry.2.as_deref() {
        return Ok(None);
    }
    let what = format!("the poll status of {} is not in the index of what is due", cxn.cxn_id);
    Ok(Some(Fault::new(what, "entered", vec![entry])))
}

/// An entry of the due index is the one of its status.
pub(super) fn due(session: &Session, key: &[u8], _: &[u8]) -> Result<Option<Fault>> {
    let fault = |what: String| Some(Fault::new(what, "removed", vec![(TreeName::Due, key.to_vec(), None)]));
    let Some(due) = DueKey::parse(key) else { return Ok(fault("an entry of the index has no valid key".to_owned())) };
    let number = due.place.no;
    let Some(bytes) = session.status.get(status_key(due.job, due.place))? else {
        return Ok(fault(format!("the entry of number {number} in the index has no poll status")));
    };
    // What can't be read, and an entry whose value is wrong, are faults of the status.
    let Ok(status) = StatusRecord::from_bytes(&bytes).and_then(PollStatus::try_from) else { return Ok(None) };
    let Ok(app) = session.job_by_no(due.job).map(|job| job.app) else { return Ok(None) };
    let Some(cxn) = record(session, CxnKey { app, place: due.place })? else { return Ok(None) };
    if DueKey::of(due.job, due.place, &status, cxn.disabled) == due {
        return Ok(None);
    }
    Ok(fault(format!("the entry of number {number} in the index is not that of its poll status")))
}

//! Adding and updating connections.

use std::collections::HashMap;

use serde_json::Value;

use super::keys::{AppNo, CxnKey, JobNo, Place};
use super::meta::{self, Job};
use super::record::{CxnRecord, IdRecord, Record};
use super::session::{Session, Tx, TxResult, abort};
use crate::error::{Error, Kind, Result};
use crate::model::{AppId, BatchCode, CxnId, JobName, PollStatus, Secret, ViaPort};
use crate::retry::Policy;

/// A connection as an import tells of it. What is `None` stays as it is, or takes its default.
#[derive(Debug, Clone, PartialEq)]
pub struct CxnLine {
    /// Tells which connection is added or updated.
    pub cxn_id: CxnId,
    /// Shared with the site.
    pub secret: Secret,
    /// Another app makes it a new connection.
    pub app_id: AppId,
    /// Where the app takes registrations.
    pub app_url: String,
    /// Where the site takes API calls.
    pub site_url: String,
    /// What the site allows; `null` by default.
    pub perm: Option<Value>,
    /// `Some(None)` takes away what is there.
    pub via_port: Option<Option<ViaPort>>,
    /// Only for a connection that is new; random by default.
    pub batch_code: Option<BatchCode>,
    /// False by default.
    pub disabled: Option<bool>,
    /// Taken where it is newer than what is there.
    pub poll_status: Vec<(JobName, PollStatus)>,
}

/// What an import tells of a connection that is there: where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusLine {
    /// Tells which connection.
    pub cxn_id: CxnId,
    /// Taken where it is newer than what is there.
    pub poll_status: Vec<(JobName, PollStatus)>,
}

/// What an import line changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The connection is new.
    Added,
    /// Something differs from what was there.
    Updated,
    /// Nothing was written.
    Unchanged,
}

/// How many connections are written in one transaction.
const AT_ONCE: usize = 256;

/// A line with its names resolved to numbers.
struct Resolved<'a> {
    line: &'a CxnLine,
    app: AppNo,
    jobs: &'a [Job],
    batch_code: BatchCode,
    statuses: Vec<(JobNo, &'a PollStatus)>,
    /// The number of what the connection shares with others.
    shared: u32,
    /// Jobs of the app that the connection leaves, if it leaves one.
    left: Vec<JobNo>,
}

impl Session {
    /// Adds or updates connections, and tells of each what changed. A line is applied whole or not at all.
    ///
    /// With `force`, a line's poll status is taken also where it is not newer.
    ///
    /// # Errors
    /// [`Kind::Store`] where the store can't be read or written: the lines before are applied then.
    pub fn put(&self, lines: &[CxnLine], force: bool) -> Result<Vec<Change>> {
        let mut changes = Vec::with_capacity(lines.len());
        for lines in lines.chunks(AT_ONCE) {
            let jobs = self.jobs_for(lines)?;
            let resolved = lines.iter().map(|line| self.resolve(line, &jobs)).collect::<Result<Vec<_>>>()?;
            let done =
                self.transact(|tx| resolved.iter().map(|line| put_one(tx, line, force)).collect::<TxResult<Vec<_>>>())?;
            changes.extend(done);
        }
        Ok(changes)
    }

    /// The line that leaves a connection as it is but for its poll status; `None` where it is not there.
    ///
    /// # Errors
    /// [`Kind::Store`] where the store can't be read.
    pub fn line_of(&self, status: &StatusLine) -> Result<Option<CxnLine>> {
        let Some(key) = self.find(&status.cxn_id)? else { return Ok(None) };
        Ok(self.cxn(key)?.map(|cxn| CxnLine {
            cxn_id: cxn.cxn_id,
            secret: cxn.secret,
            app_id: cxn.app_id,
            app_url: cxn.app_url.to_string(),
            site_url: cxn.site_url,
            perm: None,
            via_port: None,
            batch_code: None,
            disabled: None,
            poll_status: status.poll_status.clone(),
        }))
    }

    /// What [`Session::put`] would change, and nothing is.
    ///
    /// # Errors
    /// [`Kind::Store`] where the store can't be read.
    pub fn compare(&self, line: &CxnLine, force: bool) -> Result<Change> {
        let Some(key) = self.find(&line.cxn_id)? else { return Ok(Change::Added) };
        let Some(cxn) = self.cxn(key)? else { return Ok(Change::Added) };
        let is_same = cxn.app_id == line.app_id
            && cxn.secret == line.secret
            && *cxn.app_url == *line.app_url
            && cxn.site_url == line.site_url
            && line.perm.as_ref().is_none_or(|perm| *perm == *cxn.perm)
            && line.via_port.as_ref().is_none_or(|via_port| *via_port == cxn.via_port)
            && line.disabled.is_none_or(|disabled| disabled == cxn.disabled);
        if !is_same {
            return Ok(Change::Updated);
        }
        for (name, told) in &line.poll_status {
            let job = self.job(key.app, name)?;
            let was = job.map(|job| self.status(job.no, key.place)).transpose()?.flatten();
            let taken = match &was {
                Some(was) => (force || told.last_run > was.last_run) && told != was,
                None => true,
            };
            if taken {
                return Ok(Change::Updated);
            }
        }
        Ok(Change::Unchanged)
    }

    /// The jobs of the apps of lines; those that the lines tell of are made known.
    fn jobs_for(&self, lines: &[CxnLine]) -> Result<HashMap<AppNo, Vec<Job>>> {
        let mut jobs: HashMap<AppNo, Vec<Job>> = HashMap::new();
        for line in lines {
            let app = self.intern_app(&line.app_id)?;
            let known =
                |jobs: &[Job]| line.poll_status.iter().all(|(name, _)| jobs.iter().any(|job| job.name == *name));
            if jobs.get(&app).is_none_or(|jobs| !known(jobs)) {
                for (name, _) in &line.poll_status {
                    self.ensure_job(app, name)?;
                }
                jobs.insert(app, self.jobs(Some(app))?);
            }
        }
        Ok(jobs)
    }

    /// Resolves the names of a line to numbers.
    fn resolve<'a>(&self, line: &'a CxnLine, jobs: &'a HashMap<AppNo, Vec<Job>>) -> Result<Resolved<'a>> {
        let app = self.intern_app(&line.app_id)?;
        let jobs = jobs.get(&app).map_or(&[][..], Vec::as_slice);
        let number = |name: &JobName| jobs.iter().find(|job| job.name == *name).map(|job| job.no);
        let statuses = line.poll_status.iter().filter_map(|(name, status)| Some((number(name)?, status))).collect();
        Ok(Resolved {
            line,
            app,
            jobs,
            batch_code: line.batch_code.map_or_else(random_batch_code, Ok)?,
            statuses,
            shared: self.shared_of(line)?,
            left: match self.find(&line.cxn_id)? {
                Some(key) if key.app != app => self.jobs(Some(key.app))?.iter().map(|job| job.no).collect(),
                _ => Vec::new(),
            },
        })
    }

    /// The number of what a line shares with others. A `perm` that the line doesn't tell is the one that is there.
    fn shared_of(&self, line: &CxnLine) -> Result<u32> {
        if let Some(perm) = &line.perm {
            return self.intern_shared(&line.app_url, perm);
        }
        let there = self.find(&line.cxn_id)?.map(|key| self.cxn(key)).transpose()?.flatten();
        self.intern_shared(&line.app_url, there.as_ref().map_or(&Value::Null, |cxn| &cxn.perm))
    }
}

fn random_batch_code() -> Result<BatchCode> {
    let random =
        getrandom::u32().map_err(|e| Error::new(Kind::Internal, format!("the system gives no random numbers: {e}")))?;
    // A remainder of 32 random bits by 10001 prefers no code by more than three in a million.
    let code = u16::try_from(random % (u32::from(BatchCode::MAX.get()) + 1)).unwrap_or_default();
    Ok(code.try_into().unwrap_or(BatchCode::MIN))
}

fn put_one(tx: &Tx, resolved: &Resolved, force: bool) -> TxResult<Change> {
    let line = resolved.line;
    let id = line.cxn_id.as_str().as_bytes();
    let there = match Tx::read::<IdRecord>(tx.id, id)? {
        None => None,
        Some(record) => {
            let key = CxnKey::try_from(record).map_err(abort)?;
            let gone = || abort(Error::new(Kind::Store, format!("{} has a number but no record", line.cxn_id)));
            Some((key, Tx::read::<CxnRecord>(tx.cxn, &key.to_bytes())?.ok_or_else(gone)?))
        }
    };
    let old = there.as_ref().map(|(_, record)| record);
    let record = CxnRecord {
        cxn_id: line.cxn_id.to_string(),
        secret: *line.secret.as_bytes(),
        site_url: line.site_url.clone(),
        via_port: match &line.via_port {
            Some(told) => told.as_ref().map(ToString::to_string),
            None => old.and_then(|old| old.via_port.clone()),
        },
        shared: resolved.shared,
        disabled: line.disabled.unwrap_or_else(|| old.is_some_and(|old| old.disabled)),
    };
    match there {
        Some((key, old)) if key.app == resolved.app => update(tx, resolved, key.place, &old, &record, force),
        there => {
            let place = Place {
                batch_code: there.as_ref().map_or(resolved.batch_code, |(key, _)| key.place.batch_code),
                no: meta::count(tx, |counters| {
                    let no = counters.cxn;
                    counters.cxn = no.checked_add(1)?;
                    Some(no)
                })?,
            };
            if let Some((key, old)) = &there {
                forget(tx, &resolved.left, *key, old)?;
            }
            add(tx, resolved, place, &record)?;
            Ok(if there.is_some() { Change::Updated } else { Change::Added })
        }
    }
}

/// Writes a connection that is new, with a status for each job that is known.
fn add(tx: &Tx, resolved: &Resolved, place: Place, record: &CxnRecord) -> TxResult<()> {
    let key = CxnKey { app: resolved.app, place };
    tx.insert(tx.id, record.cxn_id.as_bytes(), IdRecord::from(key).to_bytes())?;
    tx.insert(tx.cxn, &key.to_bytes(), record.to_bytes())?;
    let host = record.host();
    for job in resolved.jobs {
        let told = resolved.statuses.iter().find(|(no, _)| *no == job.no).map(|(_, status)| *status);
        let status = told.cloned().unwrap_or_default();
        tx.move_status(job.no, place, None, Some((&status, record.disabled, host)))?;
    }
    Ok(())
}

/// Updates a connection that stays where it is.
fn update(
    tx: &Tx,
    resolved: &Resolved,
    place: Place,
    old: &CxnRecord,
    new: &CxnRecord,
    force: bool,
) -> TxResult<Change> {
    let mut change = Change::Unchanged;
    if old != new {
        tx.insert(tx.cxn, &CxnKey { app: resolved.app, place }.to_bytes(), new.to_bytes())?;
        change = Change::Updated;
    }
    let host = new.host();
    let moved = old.host() != host || old.disabled != new.disabled;
    let reconnected = old.secret != new.secret || old.site_url != new.site_url;
    for job in resolved.jobs {
        let was = tx.status(job.no, place)?;
        let told = resolved.statuses.iter().find(|(no, _)| *no == job.no).map(|(_, status)| *status);
        let mut status = match (was.as_ref(), told) {
            (Some(was), Some(told)) if force || told.last_run > was.last_run => told.clone(),
            (None, Some(told)) => told.clone(),
            (Some(was), _) => was.clone(),
            // Enrolment brings it.
            (None, None) => continue,
        };
        if reconnected && is_given_up(job, &status) {
            status.revive();
        }
        if was.as_ref() != Some(&status) || moved {
            let known = was.as_ref().map(|was| (was, old.disabled));
            tx.move_status(job.no, place, known, Some((&status, new.disabled, host)))?;
            change = Change::Updated;
        }
    }
    Ok(change)
}

/// Takes a connection away, with its statuses for all `jobs` of its app.
pub(super) fn forget(tx: &Tx, jobs: &[JobNo], key: CxnKey, record: &CxnRecord) -> TxResult<()> {
    tx.remove(tx.id, record.cxn_id.as_bytes())?;
    tx.remove(tx.cxn, &key.to_bytes())?;
    for job in jobs {
        if let Some(status) = tx.status(*job, key.place)? {
            tx.move_status(*job, key.place, Some((&status, record.disabled)), None)?;
        }
    }
    Ok(())
}

/// Whether a status is beyond the expression that its job last ran with.
fn is_given_up(job: &Job, status: &PollStatus) -> bool {
    let policy = job.retry.as_deref().and_then(|retry| retry.parse::<Policy>().ok());
    policy.is_some_and(|policy| policy.next_due(status.level, status.last_run).is_none())
}

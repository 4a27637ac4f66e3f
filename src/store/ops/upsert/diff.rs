//! What a patch changes of what is stored: the one comparison, for imports and for dry runs.

use super::patch::{CxnPatch, FieldPatch};
use super::resolve::{Resolved, jobs_of, resolve};
use crate::model::PollStatus;
use crate::retry::last_polled;
use crate::store::engine::{Get, TX_BATCH};
use crate::store::error::Result;
use crate::store::schema::{CxnKey, CxnLocator, CxnRecord, Job, JobNo, ReadSession, find_record, read_status};

/// What a patch changes, as it is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The connection is new.
    Added,
    /// Something differs from what was stored.
    Updated,
    /// The connection leaves this app for another, where it is new.
    Moved,
    /// Nothing is written.
    Unchanged,
}

/// What is stored of the connection of a patch.
pub struct Stored {
    key: CxnKey,
    record: CxnRecord,
    /// The statuses for the jobs of the patch's app, in their order.
    ///
    /// Empty where the connection is of another app.
    statuses: Vec<Option<PollStatus>>,
}

/// What a patch changes.
#[derive(Clone, PartialEq)]
pub enum Diff {
    /// A connection is added, with a status for each job of its app.
    Add {
        /// The connection.
        record: CxnRecord,
        /// The statuses.
        statuses: Vec<(JobNo, PollStatus)>,
        /// The same connection under another app, which is deleted.
        replaces: Option<(CxnKey, CxnRecord)>,
    },
    /// A stored connection is changed.
    Update {
        /// The connection.
        locator: CxnLocator,
        /// What is stored.
        old: CxnRecord,
        /// What replaces it; it may be the same.
        new: CxnRecord,
        /// The statuses that change, or whose entries in the due index do.
        statuses: Vec<StatusDiff>,
    },
    /// Nothing is changed.
    Keep,
}

/// What a patch changes of a status.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusDiff {
    /// The job.
    pub job: JobNo,
    /// The stored status; `None` if there is none.
    pub old: Option<PollStatus>,
    /// The status that replaces it; it may be the same.
    pub new: PollStatus,
}

impl Stored {
    /// Reads what is stored of the connection of a patch; `None` if it is not stored.
    pub fn read<G: Get>(from: &G, incoming: &Resolved) -> Result<Option<Self>, G::Error> {
        let Some((key, record)) = find_record(from, &incoming.patch.cxn_id)? else { return Ok(None) };
        let jobs = if key.app == incoming.app { incoming.jobs } else { &[] };
        let statuses = jobs.iter().map(|job| read_status(from, job.no, key.locator)).collect::<Result<_, _>>()?;
        Ok(Some(Self { key, record, statuses }))
    }
}

impl Diff {
    /// The change as it is reported.
    pub fn change(&self) -> Change {
        match self {
            Self::Add { replaces: None, .. } => Change::Added,
            Self::Add { .. } => Change::Moved,
            Self::Update { .. } => Change::Updated,
            Self::Keep => Change::Unchanged,
        }
    }
}

/// Decides what a patch changes. With `force` its poll status is taken even if it is not newer.
pub fn diff(stored: Option<Stored>, incoming: &Resolved, force: bool) -> Diff {
    let record = patched(stored.as_ref().map(|stored| &stored.record), incoming);
    match stored {
        Some(stored) if stored.key.app == incoming.app => update(stored, record, incoming, force),
        stored => Diff::Add {
            record,
            statuses: incoming
                .jobs
                .iter()
                .map(|job| (job.no, incoming.status(job).cloned().unwrap_or_default()))
                .collect(),
            replaces: stored.map(|stored| (stored.key, stored.record)),
        },
    }
}

/// The record of a connection after a patch.
fn patched(old: Option<&CxnRecord>, incoming: &Resolved) -> CxnRecord {
    let patch = incoming.patch;
    CxnRecord {
        cxn_id: patch.cxn_id.as_str().to_owned(),
        secret: *patch.secret.as_bytes(),
        site_url: patch.site_url.with_credentials().to_owned(),
        via_port: match &patch.via_port {
            FieldPatch::Keep => old.and_then(|old| old.via_port.clone()),
            FieldPatch::Clear => None,
            FieldPatch::Set(via_port) => Some(via_port.to_string()),
        },
        shared: incoming.shared,
        disabled: patch.disabled.clone().applied_to(old.map(|old| old.disabled)).unwrap_or_default(),
    }
}

fn update(stored: Stored, new: CxnRecord, incoming: &Resolved, force: bool) -> Diff {
    let old = stored.record;
    let is_same = old == new;
    // The due index knows the host and the disabled flag, so that its entries change with them.
    let index_differs = !is_same && (old.disabled != new.disabled || old.host() != new.host());
    let is_reconnected = incoming.revives || old.secret != new.secret || old.site_url != new.site_url;
    let mut statuses = Vec::new();
    for (job, old) in incoming.jobs.iter().zip(stored.statuses) {
        let mut status = match (&old, incoming.status(job)) {
            (Some(old), Some(incoming)) if is_taken(Some(old), incoming, force) => {
                let mut status = incoming.clone();
                // A line has no network. It stays known as long as no other poll has succeeded.
                status.network = old.network.filter(|_| old.last_success == incoming.last_success);
                if last_polled(incoming).is_some() {
                    status.keep_last_poll(old.last_poll());
                }
                status
            }
            (None, Some(incoming)) => incoming.clone(),
            (Some(old), _) => old.clone(),
            // The backfill adds it.
            (None, None) => continue,
        };
        if is_reconnected && is_given_up(job, &status) {
            status.revive();
        }
        if old.as_ref() != Some(&status) || index_differs {
            statuses.push(StatusDiff { job: job.no, old, new: status });
        }
    }
    if is_same && statuses.is_empty() {
        return Diff::Keep;
    }
    Diff::Update { locator: stored.key.locator, old, new, statuses }
}

/// Whether the status of a patch replaces the stored one; `None` if none is stored.
///
/// It does if it has a later poll. A status that was revived is as old as the poll before.
pub fn is_taken(old: Option<&PollStatus>, incoming: &PollStatus, force: bool) -> bool {
    let polled = |status: &PollStatus| if status.is_new() { status.last_poll().last_run } else { status.last_run };
    force || old.is_none_or(|old| polled(incoming) > polled(old))
}

/// Whether a status is beyond the expression that its job last ran with.
fn is_given_up(job: &Job, status: &PollStatus) -> bool {
    job.last_policy().is_some_and(|policy| policy.next_due(status.level, status.last_run).is_none())
}

impl ReadSession {
    /// What a registration changes: see [`WriteSession::register_one`](crate::store::WriteSession::register_one).
    ///
    /// # Errors
    /// [`Error::Database`](crate::store::Error::Database), also if something of the connection cannot be read.
    pub(in crate::store::ops) fn registration_change(&self, patch: &CxnPatch) -> Result<Change> {
        let jobs = jobs_of(self, std::slice::from_ref(patch))?;
        let incoming = Resolved { revives: true, ..resolve(self, patch, &jobs)? };
        Ok(diff(Stored::read(&self.trees, &incoming)?, &incoming, false).change())
    }

    /// What an upsert would report for each single patch.
    ///
    /// See [`WriteSession::upsert`](crate::store::WriteSession::upsert). Nothing is written. With `force`, a patch's
    /// poll status counts even if it is not newer.
    ///
    /// # Errors
    /// [`Error::Database`](crate::store::Error::Database).
    pub fn diff(&self, patches: &[CxnPatch], force: bool) -> Result<Vec<Change>> {
        let mut changes = Vec::with_capacity(patches.len());
        for batch in patches.chunks(TX_BATCH) {
            let jobs = jobs_of(self, batch)?;
            for patch in batch {
                let change = resolve(self, patch, &jobs).and_then(|incoming| {
                    let stored = Stored::read(&self.trees, &incoming)?;
                    Ok(diff(stored, &incoming, force).change())
                });
                changes.push(self.skip(change, || patch.entry_id())?.unwrap_or(Change::Unchanged));
            }
        }
        Ok(changes)
    }
}

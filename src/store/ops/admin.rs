//! What an administrator does to connections.

use std::collections::HashSet;
use std::time::Instant;

use super::delete::{cxn_ids_of, delete_cxn, delete_damaged};
use crate::model::CxnId;
use crate::store::engine::{TX_BATCH, TreeName, TreeReader, Tx, TxResult};
use crate::store::error::{Result, if_readable};
use crate::store::history::{Audit, History};
use crate::store::schema::{
    CxnKey, CxnRecord, DueFacts, JobNo, ReadSession, Record, WriteSession, read, read_status, write_status,
};
use crate::store::sessions::{SLICE, Sessions};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminAction {
    /// Makes a connection due at once for the named jobs, as if it were new.
    Revive,
    /// Makes a connection never due.
    Disable,
    /// Makes a disabled connection due again.
    Enable,
    /// Removes a connection with its statuses.
    Remove,
}

/// A connection, and the jobs for which something is done to it.
pub type AdminTarget = (CxnKey, Vec<JobNo>);

/// The same with all jobs of its app.
type Target = (CxnKey, Vec<JobNo>, Vec<JobNo>);

impl AdminAction {
    /// The name of the command, which history contains.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Revive => "revive",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Remove => "remove",
        }
    }
}

impl ReadSession {
    /// The connections that an action changes, by cxnId.
    ///
    /// # Errors
    /// [`Error::Database`](crate::store::Error::Database). What cannot be read is left out, unless it is removed.
    fn changed_by(&self, targets: &[AdminTarget], action: AdminAction) -> Result<Vec<CxnId>> {
        let mut keys = Vec::new();
        for target in targets {
            if action == AdminAction::Remove || if_readable(is_changed(&self.trees, target, action))? == Some(true) {
                keys.push(target.0);
            }
        }
        cxn_ids_of(self, &keys)
    }
}

impl WriteSession {
    /// Changes connections, and returns for each whether that changed anything.
    ///
    /// A connection that is gone, or already is as it should be, stays as it is. One of which something cannot be read is
    /// skipped, except that it can be removed. Of each [`TX_BATCH`] connections all or none are changed, unless one is such.
    ///
    /// # Errors
    /// [`Error::Database`](crate::store::Error::Database).
    pub fn admin(&self, targets: &[AdminTarget], action: AdminAction) -> Result<Vec<bool>> {
        let mut changed = Vec::with_capacity(targets.len());
        for batch in targets.chunks(TX_BATCH) {
            let with_jobs = |(key, named): &'_ AdminTarget| {
                let jobs = self.job_names(key.app)?.iter().map(|(no, _)| *no).collect();
                Ok((*key, named.clone(), jobs))
            };
            let batch = batch.iter().map(with_jobs).collect::<Result<Vec<Target>>>()?;
            let change = |tx: &Tx, (key, named, jobs): &Target| {
                let Some(record) = read::<CxnRecord, _>(tx, &key.to_bytes())? else { return Ok(false) };
                let facts = DueFacts::new(self.host_key, &record);
                match action {
                    AdminAction::Revive => revive(tx, *key, facts, named),
                    AdminAction::Disable => set_disabled(tx, *key, record, jobs, DueFacts { disabled: true, ..facts }),
                    AdminAction::Enable => set_disabled(tx, *key, record, jobs, DueFacts { disabled: false, ..facts }),
                    AdminAction::Remove => delete_cxn(tx, jobs, *key, &record).map(|()| true),
                }
            };
            let entry_id = |(key, ..): &Target| self.entry_id(TreeName::Cxn, &key.to_bytes(), *key);
            let done = self.transact_each(&batch, entry_id, change)?;
            let mut damaged = HashSet::new();
            for ((key, ..), _) in batch.iter().zip(&done).filter(|(_, done)| done.is_none()) {
                if action == AdminAction::Remove && self.trees.contains(TreeName::Cxn, &key.to_bytes())? {
                    damaged.insert(*key);
                }
            }
            delete_damaged(self, &damaged)?;
            let done = batch.iter().zip(done).map(|((key, ..), done)| done.unwrap_or_else(|| damaged.contains(key)));
            changed.extend(done);
        }
        Ok(changed)
    }
}

/// Whether reviving, disabling or enabling a connection changes anything.
fn is_changed(from: &TreeReader, (key, named): &AdminTarget, action: AdminAction) -> Result<bool> {
    if action == AdminAction::Revive {
        for job in named {
            if let Some(status) = read_status(from, *job, key.locator)? {
                let mut revived = status.clone();
                revived.revive();
                if revived != status {
                    return Ok(true);
                }
            }
        }
        return Ok(false);
    }
    let record = read::<CxnRecord, _>(from, &key.to_bytes())?;
    Ok(record.is_some_and(|record| record.disabled != (action == AdminAction::Disable)))
}

fn revive(tx: &Tx, key: CxnKey, facts: DueFacts, jobs: &[JobNo]) -> TxResult<bool> {
    let mut changed = false;
    for job in jobs {
        let Some(before) = read_status(tx, *job, key.locator)? else { continue };
        let mut status = before.clone();
        status.revive();
        if status != before {
            write_status(tx, *job, key.locator, Some((&before, facts.disabled)), (&status, facts))?;
            changed = true;
        }
    }
    Ok(changed)
}

fn set_disabled(tx: &Tx, key: CxnKey, record: CxnRecord, jobs: &[JobNo], facts: DueFacts) -> TxResult<bool> {
    if record.disabled == facts.disabled {
        return Ok(false);
    }
    for job in jobs {
        if let Some(status) = read_status(tx, *job, key.locator)? {
            write_status(tx, *job, key.locator, Some((&status, record.disabled)), (&status, facts))?;
        }
    }
    tx.insert(TreeName::Cxn, &key.to_bytes(), CxnRecord { disabled: facts.disabled, ..record }.to_bytes()?)?;
    Ok(true)
}

/// Changes connections in batches, and returns how many were changed. History gets the changes before the store.
///
/// `removed` is called after each session with the connections that it removed.
///
/// # Errors
/// Those of [`Sessions::write`] and `removed`. Changes made before the error are kept.
pub fn admin(
    sessions: &Sessions,
    targets: &[AdminTarget],
    action: AdminAction,
    audit: &Audit,
    removed: impl Fn(&[CxnId]) -> Result<()>,
) -> Result<u64> {
    let history = History::new(sessions.source.history());
    sessions.locks.lock_shared(|| {
        let mut changed = 0;
        let mut rest = targets;
        while !rest.is_empty() {
            let (done, gone) = sessions.write(|session| {
                let began = Instant::now();
                let (mut done, mut gone) = (0, Vec::new());
                for batch in rest.chunks(TX_BATCH) {
                    let ids = session.changed_by(batch, action)?;
                    history.audit(session, audit, action.name(), ids.iter().map(ToString::to_string).collect())?;
                    if action == AdminAction::Remove {
                        gone.extend(ids);
                    }
                    changed += session.admin(batch, action)?.into_iter().filter(|changed| *changed).count() as u64;
                    done += batch.len();
                    if began.elapsed() > SLICE {
                        break;
                    }
                }
                if action == AdminAction::Remove {
                    session.forget_removed();
                }
                Ok((done, gone))
            })?;
            removed(&gone)?;
            rest = &rest[done..];
        }
        Ok(changed)
    })
}

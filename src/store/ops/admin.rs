//! What an administrator does to connections.

use std::collections::HashSet;
use std::time::Instant;

use super::delete::{cxn_ids_of, delete_cxn, delete_damaged};
use crate::model::{CxnId, UnixTime};
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
    /// The connections that an action changes.
    ///
    /// # Errors
    /// [`Error::Database`](crate::store::Error::Database). What cannot be read is left out, unless it is removed.
    fn changed_by(&self, targets: &[AdminTarget], action: AdminAction) -> Result<Vec<(CxnKey, CxnId)>> {
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
/// `now` is the time of the action by the clock of the schedule. `removed` is called after each session with the connections
/// that it removed.
///
/// # Errors
/// Those of [`Sessions::write`] and `removed`. Changes made before the error are kept.
pub fn admin(
    sessions: &Sessions,
    targets: &[AdminTarget],
    action: AdminAction,
    audit: &Audit,
    now: UnixTime,
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
                    let mut frames = match action {
                        AdminAction::Remove => history.frames_of(session.losses(&ids, now)?)?,
                        _ => Vec::new(),
                    };
                    // A removal without its action is contradicted by the next poll. An action without the removal is not.
                    frames.extend(audit.frame(action.name(), ids.iter().map(|(_, id)| id.to_string()).collect()));
                    history.append_all(session, frames)?;
                    if action == AdminAction::Remove {
                        gone.extend(ids.into_iter().map(|(_, id)| id));
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Attempt, BatchCode, Condition, FailureClass, JobName, PollStatus, Secret, Transition};
    use crate::store::engine::Write;
    use crate::store::history::{CxnHash, Entry};
    use crate::store::schema::RunRecord;
    use crate::store::{CxnPatch, Error, FieldPatch, Store};

    const START: UnixTime = 1_767_225_600;
    const HOUR: UnixTime = 3600;

    fn patch(number: usize, class: Option<FailureClass>) -> CxnPatch {
        let status = PollStatus {
            last_run: START,
            attempts: vec![Attempt { at: START, class, duration_ms: 1 }],
            ..PollStatus::default()
        };
        CxnPatch {
            cxn_id: format!("cxn:{number}").parse().unwrap(),
            secret: Secret::from_bytes([7; 32]),
            app_id: "app:a".parse().unwrap(),
            app_url: "https://app.example/".to_owned(),
            site_url: "https://a.example/".into(),
            perm: FieldPatch::Keep,
            via_port: FieldPatch::Keep,
            batch_code: Some(BatchCode::MIN),
            disabled: FieldPatch::Keep,
            poll_status: vec![(JobName::default(), status)],
        }
    }

    /// What history has after an action: transitions by job, and how many connections actions have.
    fn added(store: &Store, targets: &[AdminTarget], action: AdminAction) -> (Vec<(String, SiteChange)>, Vec<usize>) {
        let audit = Audit { user: "root".into(), detail: String::new() };
        store.admin(targets, action, &audit, START + 10 * HOUR).unwrap();
        let (mut transitions, mut actions) = (Vec::new(), Vec::new());
        store
            .history()
            .scan(0, |frame| {
                for entry in &frame.entries {
                    match (&frame.job, entry) {
                        (Some((_, job)), Entry::Transition(site)) => {
                            assert!(actions.is_empty(), "transitions come first");
                            transitions.push((job.to_string(), (site.cxn, site.transition)));
                        }
                        (None, Entry::Admin(action)) => actions.push(action.cxns.len()),
                        other => panic!("{other:?}"),
                    }
                }
                Ok::<_, Error>(())
            })
            .unwrap();
        (transitions, actions)
    }

    type SiteChange = (CxnHash, Transition);

    fn store_of(patches: &[CxnPatch]) -> (tempfile::TempDir, Store, Vec<AdminTarget>) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(10)).unwrap();
        let add = |session: &WriteSession| {
            session.upsert(patches, false)?;
            patches.iter().map(|patch| Ok((session.find(&patch.cxn_id)?.unwrap(), Vec::new()))).collect::<Result<_>>()
        };
        let targets = store.write(add).unwrap();
        (dir, store, targets)
    }

    #[test]
    fn history_gets_what_was_known_of_removed_connections_for_each_job() {
        let mut two_jobs = patch(1, None);
        let (_, failing) = patch(1, Some(FailureClass::Http)).poll_status.remove(0);
        two_jobs.poll_status.push(("nightly".parse().unwrap(), failing));
        let never_polled = CxnPatch { poll_status: Vec::new(), ..patch(2, None) };
        let (_dir, store, targets) = store_of(&[two_jobs, never_polled, patch(3, None), patch(4, None)]);
        let outage = RunRecord { now: START + HOUR, batch: "0/1".into(), outage: true, ..RunRecord::default() };
        store
            .write(|session| {
                let job = session.job(targets[0].0.app, &"nightly".parse().unwrap())?.unwrap();
                session.remember_run(job.no, &outage)?;
                // Of the third only the statuses can be read. Of the fourth nothing can.
                session.trees.apply(&[Write::put(TreeName::Cxn, targets[2].0.to_bytes(), [9, 1, 2])])?;
                let job = session.job(targets[0].0.app, &JobName::default())?.unwrap();
                let status = crate::store::schema::status_key(job.no, targets[3].0.locator);
                session.trees.apply(&[Write::put(TreeName::Status, status, [9, 1, 2])])
            })
            .unwrap();
        assert_eq!(added(&store, &targets, AdminAction::Enable), (Vec::new(), Vec::new()));
        let (transitions, actions) = added(&store, &targets, AdminAction::Remove);
        let loss = |job: &str, number: usize, from, hours| {
            let (at, unknown_from) = (START + 10 * HOUR, Some(START + hours * HOUR));
            let cxn = CxnHash::from(&format!("cxn:{number}").parse::<CxnId>().unwrap());
            (job.to_owned(), (cxn, Transition { at, from, to: Condition::New, class: None, unknown_from }))
        };
        let expected = [
            loss("default", 1, Condition::Up, 3),
            loss("default", 3, Condition::Up, 3),
            loss("nightly", 1, Condition::Failing, 1),
        ];
        assert_eq!((&transitions[..], &actions[..]), (&expected[..], &[4][..]));
        assert_eq!(store.check(false).unwrap().faults, 0);
        assert_eq!(added(&store, &targets, AdminAction::Remove), (transitions, actions), "they are gone");
    }

    #[test]
    fn many_removals_reach_history_in_batches() {
        let patches: Vec<_> = (0..=2 * TX_BATCH).map(|number| patch(number, None)).collect();
        let (_dir, store, targets) = store_of(&patches);
        let audit = Audit { user: "root".into(), detail: String::new() };
        store.admin(&targets, AdminAction::Remove, &audit, START + HOUR).unwrap();
        let mut frames = Vec::new();
        let mut scan = |frame: crate::store::Frame| {
            frames.push((frame.job.is_some(), frame.entries.len()));
            Ok::<_, Error>(())
        };
        store.history().scan(0, &mut scan).unwrap();
        let losses: Vec<_> = frames.iter().filter(|(of_job, _)| *of_job).map(|(_, entries)| *entries).collect();
        assert_eq!(losses, [TX_BATCH, TX_BATCH, 1]);
    }
}

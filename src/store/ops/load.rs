//! Loading connections.

use std::collections::{BTreeSet, HashMap};

use super::due::DueEntry;
use crate::model::{Cxn, CxnId, PollStatus, UnixTime};
use crate::retry::Policy;
use crate::store::engine::TreeName;
use crate::store::error::{Error, Item, Result};
use crate::store::history::CxnHash;
use crate::store::schema::{AppNo, CxnKey, CxnLocator, HostHash, Job, ReadSession, Statuses, WriteSession, decode_cxn};
use crate::store::sessions::Sessions;

/// A connection that is due, with everything that polling it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct PollTask {
    /// Which connection it is.
    pub locator: CxnLocator,
    /// The hash of its host, as the due index knows it.
    pub host: HostHash,
    /// Since when it is due; 0 if it is new.
    pub due: UnixTime,
    /// How late it is, in thousandths of its period.
    pub permille_late: u32,
    /// The connection.
    pub cxn: Cxn,
    /// Its status when it was loaded. An outcome is recorded only if it is still the same.
    pub status: PollStatus,
}

impl ReadSession {
    /// Loads connections that were selected, if they still can be polled at `now`.
    ///
    /// Those that are gone, disabled, no longer due or unreadable are left out. Without `now`, a connection need not be due.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn load(
        &self,
        job: &Job,
        policy: &Policy,
        now: Option<UnixTime>,
        selected: &[DueEntry],
    ) -> Result<Vec<PollTask>> {
        let mut tasks = Vec::with_capacity(selected.len());
        for entry in selected {
            if let Some(task) = self.task(job.app, Some(job), entry)?
                && !task.cxn.disabled
                && now.is_none_or(|now| policy.is_due(&task.status, now))
            {
                tasks.push(task);
            }
        }
        Ok(tasks)
    }

    /// A connection with its status for a job, new if it has none.
    ///
    /// `None` if the connection is gone, or if one of them cannot be read and is skipped.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn task(&self, app: AppNo, job: Option<&Job>, entry: &DueEntry) -> Result<Option<PollTask>> {
        let DueEntry { locator, host, due, permille_late } = *entry;
        let key = CxnKey { app, locator };
        let Some(cxn) = self.cxn(key)? else { return Ok(None) };
        let status = match job {
            Some(job) => self.readable_status(job.no, key)?,
            None => Some(None),
        };
        Ok(status.map(Option::unwrap_or_default).map(|status| {
            // See `Policy::when_due`.
            PollTask { locator, host, due: due.max(status.last_run), permille_late, cxn, status }
        }))
    }

    /// A connection with its statuses, without those of jobs that never polled it.
    ///
    /// `None` if it is gone, or if it cannot be read and is skipped.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn connection(&self, key: CxnKey) -> Result<Option<(Cxn, Statuses)>> {
        let Some(cxn) = self.cxn(key)? else { return Ok(None) };
        Ok(Some((cxn, self.statuses(key)?)))
    }

    /// The keys of the connections that history knows by these hashes. Those that are gone are missing.
    ///
    /// This reads the ids of all connections.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn find_hashed(&self, wanted: &BTreeSet<CxnHash>) -> Result<HashMap<CxnHash, CxnKey>> {
        let mut found = HashMap::new();
        for entry in self.trees.entries(TreeName::Id, &[], None) {
            let (name, _) = entry?;
            let Some(cxn_id) = str::from_utf8(&name).ok().and_then(|name| name.parse::<CxnId>().ok()) else { continue };
            let hash = CxnHash::from(&cxn_id);
            if wanted.contains(&hash)
                && let Some(key) = self.find(&cxn_id)?
            {
                found.insert(hash, key);
            }
        }
        Ok(found)
    }
}

/// Passes every connection to `emit`, with its statuses except those of jobs that never polled it.
///
/// What cannot be read is skipped. Works in batches. A connection that is added meanwhile is passed too; one that is
/// moved to another app meanwhile may be passed twice.
///
/// # Errors
/// Those of `emit` and of [`Sessions::read`].
pub fn for_each_cxn<E: From<Error>>(
    sessions: &Sessions,
    mut emit: impl FnMut(CxnKey, Cxn, Statuses) -> Result<(), E>,
) -> Result<(), E> {
    scan_cxns(
        sessions,
        |key, cxn, statuses| Some((key, cxn, statuses)),
        |(key, cxn, statuses)| emit(key, cxn, statuses),
    )
}

/// As [`for_each_cxn`], but calls `count` in the sessions, so that no connections are kept until one ends.
///
/// # Errors
/// Those of [`Sessions::read`].
pub fn count_cxns(sessions: &Sessions, mut count: impl FnMut(CxnKey, Cxn, Statuses) + Send) -> Result<()> {
    let read = |key, cxn, statuses| {
        count(key, cxn, statuses);
        None::<()>
    };
    scan_cxns(sessions, read, |()| Ok::<_, Error>(()))
}

fn scan_cxns<T: Send, E: From<Error>>(
    sessions: &Sessions,
    mut read: impl FnMut(CxnKey, Cxn, Statuses) -> Option<T> + Send,
    mut emit: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    sessions.locks.lock_shared(|| {
        let mut from = 0;
        loop {
            // A connection that moves to another app gets a new number, and is found in the next round.
            let to = sessions.read(ReadSession::cxn_count_upper_bound)?;
            if from == to {
                return Ok(());
            }
            let read = |session: &WriteSession, key: &[u8], value: &[u8]| {
                let parsed = CxnKey::parse(key).ok_or(Item::Key.into());
                let Some(key) = session.skip(parsed, || (TreeName::Cxn, key.to_vec(), None))? else { return Ok(None) };
                if !(from..to).contains(&key.locator.seq) {
                    return Ok(None);
                }
                let entry_id = || session.entry_id(TreeName::Cxn, &key.to_bytes(), key);
                let Some(cxn) = session.skip(decode_cxn(session, key, value), entry_id)? else { return Ok(None) };
                Ok(read(key, cxn, session.statuses(key)?))
            };
            sessions.scan_in_batches(TreeName::Cxn, &[], read, &mut emit)?;
            from = to;
        }
    })
}

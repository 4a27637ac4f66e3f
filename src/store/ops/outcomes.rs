//! Recording the outcomes of polls.

use std::fmt;

use super::upsert::{CxnPatch, StatusPatch};
use crate::model::{AppId, CxnId, PollStatus, SiteUrl, UnixTime};
use crate::store::engine::{Get, TX_BATCH, TreeName, Tx, TxResult};
use crate::store::error::{Result, if_readable};
use crate::store::history::{AdminEntry, Audit, Entry, Frame, History, SiteTransition};
use crate::store::schema::{
    CxnKey, CxnLocator, CxnRecord, DueFacts, DueKey, DueRecord, HostKey, Job, WriteSession, host_of, read, status_key,
    write_status,
};
use crate::util::text::sanitize;

/// The user of changes that runs make.
const PROGRAM: &str = "cxnpoll";
/// The action by which a run moves a site.
const FOLLOW: &str = "follow";
/// What comes before the old siteUrl of a site that moved.
const MOVED_PREFIX: &str = "siteUrl ";
/// What comes before its new siteUrl.
const MOVED_ARROW: &str = " → ";

/// A status that replaces the one with which the connection was polled.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusUpdate {
    /// The connection.
    pub locator: CxnLocator,
    /// The status with which it was polled.
    pub expected: PollStatus,
    /// The status after the poll.
    pub next: PollStatus,
    /// What it adds to history; `None` if nothing changed.
    pub transition: Option<SiteTransition>,
    /// The siteUrl at which it was polled, if that takes the place of its own.
    pub moved: Option<Box<Moved>>,
}

/// A siteUrl that takes the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The connection.
    pub cxn_id: CxnId,
    /// The siteUrl that it had.
    pub from: SiteUrl,
    /// The siteUrl that it gets.
    pub to: SiteUrl,
}

impl Moved {
    /// What an action of a run in history is about; `None` if it moved no site. The URLs have neither credentials nor a query.
    #[must_use]
    pub fn of(action: &AdminEntry) -> Option<Self> {
        let [cxn_id] = &action.cxns[..] else { return None };
        let urls = action.detail.strip_prefix(MOVED_PREFIX).filter(|_| action.action == FOLLOW)?;
        // The target is a URL, which has no blanks.
        let (from, to) = urls.rsplit_once(MOVED_ARROW)?;
        Some(Self { cxn_id: cxn_id.parse().ok()?, from: from.into(), to: to.into() })
    }
}

impl fmt::Display for Moved {
    /// Writes both, without credentials and queries. History keeps this, so [`Moved::of`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MOVED_PREFIX}{}{MOVED_ARROW}{}", self.from.without_query(), self.to.without_query())
    }
}

impl WriteSession {
    /// The transitions of updates that [`WriteSession::record_outcomes`] would record now.
    ///
    /// # Errors
    /// [`Error::Database`](crate::store::Error::Database). An entry that cannot be read is left out.
    pub fn transitions(&self, job: &Job, updates: &[StatusUpdate]) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for update in updates {
            if let Some(transition) = update.transition
                && if_readable(expected(&self.trees, job, update))?.flatten().is_some()
            {
                entries.push(Entry::Transition(transition));
            }
        }
        Ok(entries)
    }

    /// Changes the siteUrls of updates, and returns which were changed.
    ///
    /// They are those of updates that [`WriteSession::record_outcomes`] would record now. History gets them before, as actions
    /// of the program in the run of `now`. Outcomes are recorded afterwards: if the process is killed in between, the site is
    /// due, and is polled at its new siteUrl.
    ///
    /// # Errors
    /// [`Error::Database`](crate::store::Error::Database), [`Error::File`](crate::store::Error::File).
    pub fn adopt_site_urls<'a>(
        &self,
        history: &History,
        (app_id, job, now): (&AppId, &Job, UnixTime),
        updates: &'a [StatusUpdate],
    ) -> Result<Vec<&'a Moved>> {
        let mut adopted = Vec::new();
        for update in updates {
            let Some(moved) = &update.moved else { continue };
            if if_readable(expected(&self.trees, job, update))?.flatten().is_none() {
                continue;
            }
            let unchanged = StatusPatch { cxn_id: moved.cxn_id.clone(), poll_status: Vec::new() };
            let Some(patch) = self.patch_of(&unchanged)? else { continue };
            let audit = Audit { user: PROGRAM.to_owned(), detail: sanitize(&moved.to_string()) };
            let entries = vec![audit.entry(FOLLOW, vec![moved.cxn_id.to_string()])];
            history.append(self, Frame { at: now, job: Some((app_id.clone(), job.name.clone())), entries })?;
            self.upsert(&[CxnPatch { site_url: moved.to.clone(), ..patch }], false)?;
            adopted.push(&**moved);
        }
        Ok(adopted)
    }

    /// Replaces statuses, and returns for each whether it was replaced.
    ///
    /// It is replaced only if level, count and lastRun (after a deferral, its end) are still the expected ones, and if
    /// the connection still exists, is enabled and belongs to the same app. So an administrator's change of a
    /// connection that is being polled wins. One whose entry cannot be read is skipped.
    ///
    /// # Errors
    /// [`Error::Database`](crate::store::Error::Database).
    pub fn record_outcomes(&self, job: &Job, updates: &[StatusUpdate]) -> Result<Vec<bool>> {
        let mut recorded = Vec::with_capacity(updates.len());
        for batch in updates.chunks(TX_BATCH) {
            let entry_id = |update: &StatusUpdate| {
                let key = status_key(job.no, update.locator);
                self.entry_id(TreeName::Status, &key, CxnKey { app: job.app, locator: update.locator })
            };
            let done = self.transact_each(batch, entry_id, |tx, update| record_one(tx, self.host_key, job, update))?;
            recorded.extend(done.into_iter().map(Option::unwrap_or_default));
        }
        Ok(recorded)
    }
}

/// The due entry of a connection whose status is the expected one; `None` if it is not.
fn expected<G: Get>(from: &G, job: &Job, update: &StatusUpdate) -> Result<Option<DueRecord>, G::Error> {
    // Every status has one entry in the due index, whose key holds lastRun (or the end of the deferral) and the
    // disabled flag. A connection that is gone has none, and sequence numbers are never used again. So this entry is
    // the whole condition.
    let key = DueKey::of(job.no, update.locator, &update.expected, false);
    let due: Option<DueRecord> = read(from, &key.to_bytes())?;
    if let Some(moved) = &update.moved {
        let record = read::<CxnRecord, _>(from, &CxnKey { app: job.app, locator: update.locator }.to_bytes())?;
        let site_url = record.map(|record| SiteUrl::from(record.site_url));
        if site_url.is_none_or(|site_url| site_url != moved.from && site_url != moved.to) {
            return Ok(None);
        }
    }
    Ok(due.filter(|due| (due.level, due.count) == (update.expected.level, update.expected.count)))
}

fn record_one(tx: &Tx, host_key: HostKey, job: &Job, update: &StatusUpdate) -> TxResult<bool> {
    let Some(due) = expected(tx, job, update)? else { return Ok(false) };
    let cxn = CxnKey { app: job.app, locator: update.locator };
    let facts = DueFacts { disabled: false, host: host_of(tx, host_key, cxn, due.host)? };
    write_status(tx, job.no, update.locator, Some((&update.expected, false)), (&update.next, facts))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::JobName;
    use crate::retry::Policy;
    use crate::store::{DueEntry, Store};
    use std::time::Duration;

    /// Records a poll at another siteUrl, after the siteUrl became `now_at`.
    ///
    /// Returns what was recorded, the siteUrl, and how many faults and actions there are.
    fn record(now_at: &str) -> (Vec<bool>, String, u64, usize) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(10)).unwrap();
        let history = store.history();
        let app_id: AppId = "app:org.example.one".parse().unwrap();
        let patch = |site_url: &str| CxnPatch { site_url: site_url.into(), ..CxnPatch::sample(1) };
        let work = |session: &WriteSession| {
            session.upsert(&[patch("http://old.example/")], false)?;
            let key = session.find(&"cxn:1".parse().unwrap())?.unwrap();
            for name in ["default", "nightly"] {
                let job = session.ensure_job(key.app, &name.parse().unwrap())?;
                assert!(session.backfill(&job)?);
            }
            let job = session.ensure_job(key.app, &JobName::default())?;
            let entry = DueEntry { locator: key.locator, host: 0, due: 0, permille_late: 0 };
            let task = session.task(key.app, Some(&job), &entry)?.unwrap();
            let mut next = task.status.clone();
            Policy::default().apply(&mut next, 1_000, &Ok(()));
            let (from, to) = (task.cxn.site_url, "https://jo:pw@new.example/?key".into());
            let moved = Some(Box::new(Moved { cxn_id: task.cxn.cxn_id, from, to }));
            let updates = [StatusUpdate { locator: key.locator, expected: task.status, next, transition: None, moved }];
            session.upsert(&[patch(now_at)], false)?;
            session.adopt_site_urls(&history, (&app_id, &job, 1_000), &updates)?;
            let recorded = session.record_outcomes(&job, &updates)?;
            Ok((recorded, session.cxn(key)?.unwrap().site_url.with_credentials().to_owned()))
        };
        let (recorded, site_url) = store.write(work).unwrap();
        let actions = history.actions_on(&"cxn:1".parse().unwrap(), 9).unwrap();
        for action in &actions {
            let detail = "siteUrl http://old.example/ → https://new.example/?…";
            assert_eq!((&*action.user, &*action.action, &*action.detail), ("cxnpoll", "follow", detail));
        }
        (recorded, site_url, store.check(false).unwrap().faults, actions.len())
    }

    #[test]
    fn a_site_url_is_adopted_with_its_outcome_unless_a_user_changed_it() {
        let adopted = "https://jo:pw@new.example/?key".to_owned();
        assert_eq!(record("http://old.example/"), (vec![true], adopted, 0, 1));
        assert_eq!(record("http://other.example/"), (vec![false], "http://other.example/".to_owned(), 0, 0));
    }
}

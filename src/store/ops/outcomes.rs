//! Recording the outcomes of polls.

use crate::model::PollStatus;
use crate::store::engine::{Get, TX_BATCH, TreeName, Tx, TxResult};
use crate::store::error::{Result, if_readable};
use crate::store::history::{Entry, SiteTransition};
use crate::store::schema::{
    CxnKey, CxnLocator, DueFacts, DueKey, DueRecord, HostKey, Job, WriteSession, host_of, read, status_key,
    write_status,
};

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
    Ok(due.filter(|due| (due.level, due.count) == (update.expected.level, update.expected.count)))
}

fn record_one(tx: &Tx, host_key: HostKey, job: &Job, update: &StatusUpdate) -> TxResult<bool> {
    let Some(due) = expected(tx, job, update)? else { return Ok(false) };
    let cxn = CxnKey { app: job.app, locator: update.locator };
    let facts = DueFacts { disabled: false, host: host_of(tx, host_key, cxn, due.host)? };
    write_status(tx, job.no, update.locator, Some((&update.expected, false)), (&update.next, facts))?;
    Ok(true)
}

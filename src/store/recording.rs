//! Writing down outcomes.

use super::keys::{DueKey, Place};
use super::meta::Job;
use super::record::DueRecord;
use super::session::{Session, Tx, TxResult};
use crate::error::Result;
use crate::model::PollStatus;

/// A status that takes the place of the one that was selected, if that is still there.
#[derive(Debug, Clone, PartialEq)]
pub struct Replacement {
    /// The connection.
    pub place: Place,
    /// The status that was selected.
    pub selected: PollStatus,
    /// The status after the poll.
    pub next: PollStatus,
}

/// How many outcomes are recorded in one transaction.
const AT_ONCE: usize = 256;

impl Session {
    /// Replaces statuses, and tells of each whether it was: only where level, count and lastRun are those that were
    /// selected and the connection is still there, enabled and of the same app. So whatever an administrator does
    /// to a connection while it is polled wins.
    ///
    /// # Errors
    /// [`crate::error::Kind::Store`] where the store can't be read or written.
    pub fn record(&self, job: &Job, replacements: &[Replacement]) -> Result<Vec<bool>> {
        let mut recorded = Vec::with_capacity(replacements.len());
        for some in replacements.chunks(AT_ONCE) {
            let done =
                self.transact(|tx| some.iter().map(|one| replace(tx, job, one)).collect::<TxResult<Vec<_>>>())?;
            recorded.extend(done);
        }
        Ok(recorded)
    }
}

fn replace(tx: &Tx, job: &Job, one: &Replacement) -> TxResult<bool> {
    // Every status has its one entry in the due index, under lastRun, level and the disabled flag, and a connection that
    // is gone has none; numbers are never used again. So this entry is the whole condition.
    let key = DueKey::of(job.no, one.place, &one.selected, false);
    match Tx::read::<DueRecord>(tx.due, &key.to_bytes())? {
        Some(due) if (due.level, due.count) == (one.selected.level, one.selected.count) => {
            tx.move_status(job.no, one.place, Some((&one.selected, false)), Some((&one.next, false, due.host)))?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

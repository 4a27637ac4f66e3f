//! Giving a job's status to connections that are older than the job.

use std::ops::RangeInclusive;
use std::time::Instant;

use super::due::DueEntry;
use crate::model::{BatchCode, PollStatus};
use crate::retry::NEW_PERMILLE_LATE;
use crate::store::engine::{Entry, Get, TX_BATCH, TreeName};
use crate::store::error::{Error, Item, Result};
use crate::store::schema::{
    AppNo, BackfillProgress, CxnKey, CxnLocator, CxnRecord, DueFacts, Job, ReadSession, Record, WriteSession,
    note_backfilled, status_key, write_status,
};
use crate::store::sessions::SLICE;

impl ReadSession {
    /// The connections of a batch that have no status for a job yet. All of them are new.
    ///
    /// `None` stands for a job that never ran; otherwise its first run was interrupted.
    ///
    /// # Errors
    /// [`Error::Database`](crate::store::Error::Database).
    pub fn not_backfilled(
        &self,
        app: AppNo,
        job: Option<&Job>,
        batch: &RangeInclusive<BatchCode>,
    ) -> Result<Vec<DueEntry>> {
        let mut new = Vec::new();
        for entry in self.to_backfill(app, job.map_or(BackfillProgress::Nothing, |job| job.backfilled)) {
            let (key, record) = entry?;
            let has_status = match job {
                Some(job) => self.trees.contains(TreeName::Status, &status_key(job.no, key.locator))?,
                None => false,
            };
            if !has_status && !record.disabled && batch.contains(&key.locator.batch_code) {
                let host = self.host_key.hash(&record.host());
                new.push(DueEntry { locator: key.locator, host, due: 0, permille_late: NEW_PERMILLE_LATE });
            }
        }
        Ok(new)
    }

    /// The connections of an app that the backfill has not passed. Those that cannot be read are skipped.
    fn to_backfill(&self, app: AppNo, progress: BackfillProgress) -> impl Iterator<Item = Result<(CxnKey, CxnRecord)>> {
        let after = match progress {
            BackfillProgress::UpTo(code, seq) => code
                .try_into()
                .ok()
                .map(|batch_code| CxnKey { app, locator: CxnLocator { batch_code, seq } }.to_bytes()),
            BackfillProgress::Nothing | BackfillProgress::All => None,
        };
        let after = after.as_ref().map(<[u8; 14]>::as_slice);
        let entries = self.trees.entries(TreeName::Cxn, &app.to_be_bytes(), after);
        let read = |(key, value): Entry| {
            let parsed = CxnKey::parse(&key);
            let read = parsed.ok_or(Item::Key).and_then(|key| Ok((key, CxnRecord::from_bytes(&value)?)));
            self.skip(read.map_err(Error::from), || match parsed {
                Some(parsed) => self.entry_id(TreeName::Cxn, &key, parsed),
                None => (TreeName::Cxn, key.to_vec(), None),
            })
        };
        let entries = (progress != BackfillProgress::All).then_some(entries).into_iter().flatten();
        entries.filter_map(move |entry| entry.map_err(Error::from).and_then(read).transpose())
    }
}

impl WriteSession {
    /// Gives connections that are older than a job their status, for at most about half a second.
    ///
    /// Returns whether all have theirs now.
    ///
    /// # Errors
    /// [`Error::Database`](crate::store::Error::Database).
    pub fn backfill(&self, job: &Job) -> Result<bool> {
        if job.backfilled == BackfillProgress::All {
            return Ok(true);
        }
        let began = Instant::now();
        let mut waiting = self.to_backfill(job.app, job.backfilled);
        while began.elapsed() < SLICE {
            let batch = waiting.by_ref().take(TX_BATCH).collect::<Result<Vec<_>>>()?;
            let last = (batch.len() == TX_BATCH).then(|| batch[TX_BATCH - 1].0.locator);
            self.trees.transact(|tx| {
                for (key, record) in &batch {
                    // A connection that was imported after the job was created has its status already.
                    if tx.get(TreeName::Status, &status_key(job.no, key.locator))?.is_none() {
                        let facts = DueFacts::new(self.host_key, record);
                        write_status(tx, job.no, key.locator, None, (&PollStatus::default(), facts))?;
                    }
                }
                note_backfilled(tx, job.no, last)
            })?;
            if last.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

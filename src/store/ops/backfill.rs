//! Giving a job's status to connections that are older than the job.

use std::ops::RangeInclusive;
use std::time::Instant;

use super::due::DueEntry;
use crate::model::{BatchCode, PollStatus};
use crate::store::engine::{TX_BATCH, TreeName};
use crate::store::error::{Item, Result};
use crate::store::schema::{
    AppNo, BackfillProgress, CxnKey, CxnLocator, CxnRecord, DueFacts, Job, ReadSession, Record, WriteSession,
    note_backfilled, read_status, status_key, write_status,
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
                new.push(DueEntry { locator: key.locator, host: self.host_key.hash(&record.host()), due: 0 });
            }
        }
        Ok(new)
    }

    /// The connections of an app that the backfill has not passed.
    fn to_backfill(
        &self,
        app: AppNo,
        progress: BackfillProgress,
    ) -> impl Iterator<Item = Result<(CxnKey, CxnRecord)>> + use<> {
        let after = match progress {
            BackfillProgress::UpTo(code, seq) => code
                .try_into()
                .ok()
                .map(|batch_code| CxnKey { app, locator: CxnLocator { batch_code, seq } }.to_bytes()),
            BackfillProgress::Nothing | BackfillProgress::All => None,
        };
        let after = after.as_ref().map(<[u8; 14]>::as_slice);
        let entries = self.trees.entries(TreeName::Cxn, &app.to_be_bytes(), after);
        (progress != BackfillProgress::All).then_some(entries).into_iter().flatten().map(|entry| {
            let (key, value) = entry?;
            Ok((CxnKey::parse(&key).ok_or(Item::Key)?, CxnRecord::from_bytes(&value)?))
        })
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
                    if read_status(tx, job.no, key.locator)?.is_none() {
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

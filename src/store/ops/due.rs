//! What is due.

use std::ops::RangeInclusive;
use std::time::Instant;

use crate::model::{BatchCode, PollStatus, UnixTime};
use crate::retry::Policy;
use crate::store::engine::TreeName;
use crate::store::error::Result;
use crate::store::schema::{
    CxnKey, CxnLocator, DueBucket, DueKey, HostHash, Job, ReadSession, bucket_prefix, bucket_range, host_of,
};
use crate::store::sessions::SLICE;

/// A connection that is due, as the due index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueEntry {
    /// The connection.
    pub locator: CxnLocator,
    /// The hash of its host.
    pub host: HostHash,
    /// Since when it is due; 0 if it is new.
    pub due: UnixTime,
    /// How late it is, in thousandths of its period: see [`Policy::permille_late`].
    pub permille_late: u32,
}

/// What is looked for in the due index.
struct Question<'a> {
    job: &'a Job,
    policy: &'a Policy,
    batch: &'a RangeInclusive<BatchCode>,
    now: UnixTime,
}

impl ReadSession {
    /// The connections of a batch that are due for a job at `now`, in no particular order.
    ///
    /// Connections that have no status for the job yet are among them. Entries that cannot be read are skipped.
    ///
    /// # Errors
    /// [`Error::Database`](crate::store::Error::Database).
    pub fn due(
        &self,
        job: &Job,
        policy: &Policy,
        batch: &RangeInclusive<BatchCode>,
        now: UnixTime,
    ) -> Result<Vec<DueEntry>> {
        let question = Question { job, policy, batch, now };
        let mut due = Vec::new();
        for level in 0.. {
            let Some(bounds) = policy.scan_bounds(level, now) else { break };
            let bucket = DueBucket::Level(level);
            self.scan_bucket(&question, bucket, &(0..=bounds.past), &mut due)?;
            // What lies within both bounds is in the first scan already.
            let future = bounds.future.max(bounds.past.saturating_add(1));
            self.scan_bucket(&question, bucket, &(future..=UnixTime::MAX), &mut due)?;
        }
        // The whole bucket: what a wrong clock deferred is due.
        self.scan_bucket(&question, DueBucket::Deferred, &(0..=UnixTime::MAX), &mut due)?;
        due.extend(self.not_backfilled(job.app, Some(job), batch)?);
        Ok(due)
    }

    /// Passes the statuses of a job's connections in a batch to `emit`, as far as the due index knows them.
    ///
    /// Begins at `first`, or with the first of them, and works for about half a second. Returns where to continue; `None`
    /// if all were passed. Those that are given up, disabled or deferred are left out, and so are those whose entry cannot
    /// be read.
    ///
    /// # Errors
    /// [`Error::Database`](crate::store::Error::Database).
    pub fn scheduled(
        &self,
        job: &Job,
        policy: &Policy,
        batch: &RangeInclusive<BatchCode>,
        first: Option<&[u8]>,
        mut emit: impl FnMut(&PollStatus),
    ) -> Result<Option<Vec<u8>>> {
        const CHECK_EVERY: usize = 4096;
        let began = Instant::now();
        let levels = u32::try_from(policy.levels().len()).unwrap_or(u32::MAX);
        let [start, end] = [0, levels].map(|level| bucket_prefix(job.no, DueBucket::Level(level), 0));
        let entries = self.trees.range(TreeName::Due, first.unwrap_or(&start), &end);
        for (number, entry) in entries.enumerate() {
            let (key, _) = entry?;
            if number % CHECK_EVERY == CHECK_EVERY - 1 && began.elapsed() > SLICE {
                return Ok(Some(key.to_vec()));
            }
            if let Some(DueKey { bucket: DueBucket::Level(level), from, locator, .. }) = DueKey::parse(&key)
                && batch.contains(&locator.batch_code)
            {
                emit(&PollStatus { level, last_run: from, ..PollStatus::default() });
            }
        }
        Ok(None)
    }

    /// Adds what is due among the entries of one bucket with a `from` in this range.
    fn scan_bucket(
        &self,
        question: &Question,
        bucket: DueBucket,
        from: &RangeInclusive<UnixTime>,
        due: &mut Vec<DueEntry>,
    ) -> Result<()> {
        let Question { job, policy, batch, now } = *question;
        let [first, behind] = bucket_range(job.no, bucket, from);
        for entry in self.trees.range(TreeName::Due, &first, &behind) {
            let (key, value) = entry?;
            if DueKey::parse(&key).is_some_and(|key| !batch.contains(&key.locator.batch_code)) {
                continue;
            }
            let Some((key, record, status)) = self.due_entry(job.app, &key, &value)? else { continue };
            if policy.is_due(&status, now) {
                let since = policy.next_due_of_status(&status).unwrap_or(now);
                let cxn = CxnKey { app: job.app, locator: key.locator };
                let host = host_of(&self.trees, self.host_key, cxn, record.host)?;
                let permille_late = policy.permille_late(&status, now);
                due.push(DueEntry { locator: key.locator, host, due: since, permille_late });
            }
        }
        Ok(())
    }
}

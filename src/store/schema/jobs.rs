//! Jobs, their numbers, and what is remembered of them.

use std::net::IpAddr;
use std::sync::Arc;

use bincode::{Decode, Encode};

use super::counters::{bump_counters, take_next};
use super::host_key::HostHash;
use super::keys::{AppNo, CxnLocator, JobNo, job_name_key, meta_key, parse_number};
use super::records::{Record, read};
use super::run_record::{RunOutage, RunRecord, SkippedHost};
use super::session::{ReadSession, WriteSession};
use crate::batch::Batch;
use crate::model::{AppId, BatchCode, Fault, JobName, Lateness, PollStatus, Transition, UnixTime};
use crate::retry::Policy;
use crate::store::engine::{TreeName, Tx, TxResult};
use crate::store::error::{Error, Item, Result};

/// The record of a job.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JobRecord {
    app: AppNo,
    name: String,
    retry: Option<String>,
    backfilled: BackfillProgress,
    last_run: Option<RunRecord>,
    outage_since: Option<UnixTime>,
    /// A field of the last run. Since version 2.
    skipped: u64,
    /// The cause of the last run's outage by its number; 0 is none. Since version 2.
    outage_cause: u8,
    /// The hosts that the last run skipped: address, number of the reason, sites, names. Since version 3.
    skipped_hosts: Vec<(IpAddr, u8, u64, Vec<HostHash>)>,
    /// The lateness of the last run's polls: p50, p95 and the latest. Since version 4.
    lateness_s: Option<(u32, u32, u32)>,
    /// Since when the runs of the last run's batch cannot keep up. Since version 4.
    behind_since: Option<UnixTime>,
    /// The last runs that ended in an outage. Since version 5.
    outages: Vec<RunOutage>,
}

impl Record for JobRecord {
    const TREE: TreeName = TreeName::Meta;
    const VERSION: u8 = 5;
    const DEFAULT_TAILS: &'static [&'static [u8]] = &[&[0, 0, 0, 0, 0, 0], &[0, 0, 0, 0], &[0, 0, 0], &[0]];
}

impl JobRecord {
    /// A job that never ran.
    pub fn new(app: AppNo, name: &JobName) -> Self {
        Self {
            app,
            name: name.as_str().to_owned(),
            retry: None,
            backfilled: BackfillProgress::Nothing,
            last_run: None,
            outage_since: None,
            skipped: 0,
            outage_cause: 0,
            skipped_hosts: Vec::new(),
            lateness_s: None,
            behind_since: None,
            outages: Vec::new(),
        }
    }

    /// Takes what the last run did, or that there was none.
    fn set_last_run(&mut self, run: Option<&RunRecord>) {
        self.skipped = run.map_or(0, |run| run.skipped);
        self.outage_cause = run.and_then(|run| run.outage_cause).map_or(0, |fault| fault as u8);
        let hosts = run.map(RunRecord::skipped_hosts_to_store).unwrap_or_default().into_iter();
        self.skipped_hosts = hosts.map(|host| (host.address, host.reason as u8, host.sites, host.names)).collect();
        self.lateness_s = run.and_then(|run| run.lateness_s).map(|Lateness { p50, p95, max }| (p50, p95, max));
        self.behind_since = run.and_then(|run| run.behind_since);
        self.last_run = run.cloned();
    }

    /// Remembers a run that ended in an outage. `continues` is whether the run before did, too.
    fn add_outage(&mut self, run: &RunRecord, continues: bool) {
        let Some(range) = run.batch.parse().ok().map(|batch: Batch| batch.range()).filter(|_| run.outage) else {
            return;
        };
        let outage = RunOutage { at: run.now, first: range.start().get(), last: range.end().get() };
        let is_same_batch = |other: &RunOutage| (other.first, other.last) == (outage.first, outage.last);
        let has_batch = self.outages.iter().any(is_same_batch);
        if continues && has_batch && run.ok + run.failed == 0 {
            return;
        }
        self.outages.push(outage);
        self.outages.drain(..self.outages.len().saturating_sub(MAX_OUTAGES));
    }

    /// What the last run did; `None` if the job never ran.
    ///
    /// A cause that this program does not know is none, and a host with an unknown reason is left out.
    fn into_last_run(self) -> Option<RunRecord> {
        let (skipped, outage_cause) = (self.skipped, Fault::from_number(self.outage_cause));
        let lateness_s = self.lateness_s.map(|(p50, p95, max)| Lateness { p50, p95, max });
        let behind_since = self.behind_since;
        let hosts = self.skipped_hosts.into_iter();
        let hosts =
            hosts.filter_map(|(address, reason, sites, names)| SkippedHost::from_stored(address, reason, sites, names));
        let skipped_hosts = hosts.collect();
        self.last_run.map(|run| RunRecord { outage_cause, skipped, skipped_hosts, lateness_s, behind_since, ..run })
    }
}

/// Which connections of an app have a status for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum BackfillProgress {
    /// None that is older than the job.
    Nothing,
    /// All up to this batch code and sequence number.
    UpTo(u16, u64),
    /// All. Later connections get theirs with the import.
    All,
}

/// A job in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub no: JobNo,
    /// The app that it belongs to.
    pub app: AppNo,
    /// Its name within the app.
    pub name: JobName,
    /// The retry expression that it last ran with; `None` if it never ran.
    pub retry: Option<String>,
    /// What its last run did; `None` if it never ran.
    pub last_run: Option<RunRecord>,
    /// The start of the first of the latest runs that all ended in an outage.
    ///
    /// `None` if the last run did not end in one.
    pub outage_since: Option<UnixTime>,
    /// The last runs that ended in an outage, the oldest first.
    ///
    /// Runs that counted nothing are left out behind such a run of the same batch.
    pub outages: Vec<RunOutage>,
    pub(in crate::store) backfilled: BackfillProgress,
}

/// A job remembers at most this many runs that ended in an outage.
const MAX_OUTAGES: usize = 64;

/// Since when all runs have ended in an outage, if one at `now` would go on with them.
///
/// `None` if it would not.
fn ongoing_outage(since: Option<UnixTime>, last_run: Option<&RunRecord>, now: UnixTime) -> Option<UnixTime> {
    since.filter(|since| last_run.is_some_and(|run| run.continues_outage(*since, now)))
}

impl Job {
    /// Since when all runs have ended in an outage, if one at `now` would go on with them.
    ///
    /// `None` if it would not.
    #[must_use]
    pub fn ongoing_outage(&self, now: UnixTime) -> Option<UnixTime> {
        ongoing_outage(self.outage_since, self.last_run.as_ref(), now)
    }

    /// The retry expression of the last run; `None` if the job never ran, or if it cannot be parsed.
    #[must_use]
    pub fn last_policy(&self) -> Option<Policy> {
        self.retry.as_deref()?.parse().ok()
    }

    /// The transition of a status for this job that goes away at `now`: see [`Policy::loss`].
    pub(crate) fn loss(&self, code: BatchCode, status: &PollStatus, now: UnixTime) -> Option<Transition> {
        self.last_policy().unwrap_or_default().loss(status, RunOutage::times_for(&self.outages, code), now)
    }

    /// A job that the store does not know yet.
    pub(crate) fn unknown(no: JobNo, app: AppNo, name: JobName) -> Self {
        let backfilled = BackfillProgress::Nothing;
        Self { no, app, name, retry: None, last_run: None, outage_since: None, outages: Vec::new(), backfilled }
    }

    /// Whether the backfill has passed this connection, so that it must have a status for the job.
    pub(in crate::store) fn has_backfilled(&self, locator: CxnLocator) -> bool {
        match self.backfilled {
            BackfillProgress::Nothing => false,
            BackfillProgress::UpTo(code, seq) => (locator.batch_code.get(), locator.seq) <= (code, seq),
            BackfillProgress::All => true,
        }
    }
}

impl ReadSession {
    /// A job by its name; `None` if the store does not know it.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn job(&self, app: AppNo, name: &JobName) -> Result<Option<Job>> {
        let Some(bytes) = self.get(TreeName::Meta, job_name_key(app, name))? else { return Ok(None) };
        self.job_by_no(parse_number(&bytes)?).map(Some)
    }

    /// The jobs of one app, or of all apps. Those that cannot be read are skipped.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn jobs(&self, app: Option<AppNo>) -> Result<Vec<Job>> {
        let mut jobs = Vec::new();
        for entry in self.trees.entries(TreeName::Meta, b"J", None) {
            let (key, _) = entry?;
            let job = parse_number(&key[1..]).map_err(Error::from).and_then(|no| self.job_by_no(no));
            let job = self.skip(job, || (TreeName::Meta, key.to_vec(), None))?;
            jobs.extend(job.filter(|job| app.is_none_or(|app| app == job.app)));
        }
        Ok(jobs)
    }

    /// All jobs with their apps. Those that cannot be read are skipped.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn jobs_with_apps(&self) -> Result<Vec<(AppId, Job)>> {
        let mut jobs = Vec::new();
        for (no, app_id) in self.apps()? {
            jobs.extend(self.jobs(Some(no))?.into_iter().map(|job| (app_id.clone(), job)));
        }
        Ok(jobs)
    }

    /// The numbers and names of an app's jobs.
    ///
    /// # Errors
    /// Those of the database.
    pub(in crate::store) fn job_names(&self, app: AppNo) -> Result<Arc<[(JobNo, JobName)]>> {
        if let Some(jobs) = self.names.borrow().jobs.get(&app) {
            return Ok(Arc::clone(jobs));
        }
        let jobs: Arc<[_]> = self.jobs(Some(app))?.into_iter().map(|job| (job.no, job.name)).collect();
        self.names.borrow_mut().jobs.insert(app, Arc::clone(&jobs));
        Ok(jobs)
    }

    /// A job by its number.
    ///
    /// # Errors
    /// [`Item::Job`] where there is none, or where it cannot be read.
    pub(in crate::store) fn job_by_no(&self, no: JobNo) -> Result<Job> {
        let bytes = self.get(TreeName::Meta, record_key(no))?.ok_or(Item::Job)?;
        let record = JobRecord::from_bytes(&bytes).map_err(|_| Item::Job)?;
        Ok(Job {
            no,
            app: record.app,
            name: record.name.parse().map_err(|_| Item::JobName)?,
            retry: record.retry.clone(),
            outage_since: record.outage_since,
            backfilled: record.backfilled,
            outages: record.outages.clone(),
            last_run: record.into_last_run(),
        })
    }
}

impl WriteSession {
    /// A job by its name, created now if the store does not know it.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn ensure_job(&self, app: AppNo, name: &JobName) -> Result<Job> {
        if let Some(job) = self.job(app, name)? {
            return Ok(job);
        }
        let no = self.trees.transact(|tx| {
            let no = bump_counters(tx, |counters| take_next(&mut counters.job))?;
            tx.insert(TreeName::Meta, &job_name_key(app, name), &no.to_be_bytes())?;
            tx.insert(TreeName::Meta, &record_key(no), JobRecord::new(app, name).to_bytes()?)?;
            Ok(no)
        })?;
        self.names.borrow_mut().jobs.remove(&app);
        self.job_by_no(no)
    }

    /// Creates a job, with what a backup remembers of it. Every connection that is added later gets a status for it.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn restore_job(
        &self,
        app_id: &AppId,
        name: &JobName,
        retry: Option<&str>,
        last_run: Option<&RunRecord>,
        outage_since: Option<UnixTime>,
        outages: &[RunOutage],
    ) -> Result<()> {
        let app = self.intern_app(app_id)?;
        let job = self.ensure_job(app, name)?;
        self.change_job(job.no, |record| {
            record.retry = retry.map(str::to_owned);
            record.set_last_run(last_run);
            record.outage_since = outage_since;
            record.outages = outages.to_vec();
            record.backfilled = BackfillProgress::All;
        })
    }

    /// Remembers the retry expression that a job runs with.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn remember_retry(&self, job: JobNo, retry: &str) -> Result<()> {
        self.change_job(job, |record| record.retry = Some(retry.to_owned()))
    }

    /// Remembers what a job's last run did.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn remember_run(&self, job: JobNo, run: &RunRecord) -> Result<()> {
        self.change_job(job, |record| {
            let since = ongoing_outage(record.outage_since, record.last_run.as_ref(), run.now);
            record.outage_since = run.outage_since(since);
            record.set_last_run(Some(run));
            record.add_outage(run, since.is_some());
        })
    }

    fn change_job(&self, job: JobNo, change: impl Fn(&mut JobRecord)) -> Result<()> {
        self.trees.transact(|tx| change_job(tx, job, &change))
    }
}

/// Notes within a transaction up to which connection a job is backfilled; `None` means all.
///
/// # Errors
/// Those of the database.
pub fn note_backfilled(tx: &Tx, job: JobNo, last: Option<CxnLocator>) -> TxResult<()> {
    let progress =
        last.map_or(BackfillProgress::All, |locator| BackfillProgress::UpTo(locator.batch_code.get(), locator.seq));
    change_job(tx, job, |record| record.backfilled = progress)
}

fn change_job(tx: &Tx, job: JobNo, change: impl Fn(&mut JobRecord)) -> TxResult<()> {
    let key = record_key(job);
    let mut record: JobRecord = read(tx, &key)?.ok_or(Error::from(Item::Job))?;
    change(&mut record);
    tx.insert(TreeName::Meta, &key, record.to_bytes()?)
}

fn record_key(no: JobNo) -> Vec<u8> {
    meta_key(b'J', &no.to_be_bytes())
}

#[cfg(test)]
mod tests;

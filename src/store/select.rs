//! What is due, and how many stand where.

use std::ops::RangeInclusive;
use std::time::Instant;

use super::gate::SLICE;
use super::keys::{AppNo, CxnKey, DueKey, JobNo, Place, Shelf, shelf_prefix, status_key};
use super::meta::{self, Enrolled, Job};
use super::record::{CxnRecord, DueRecord, Record, Unreadable};
use super::session::{Session, TreeName};
use crate::error::Result;
use crate::model::{BatchCode, Cxn, JobName, PollStatus, UnixTime};
use crate::retry::{Policy, State};

/// A connection that is due, as the index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The connection.
    pub place: Place,
    /// A hash of its host.
    pub host: u32,
    /// Since when it is due.
    pub due: UnixTime,
}

/// A connection that is due, with all that polling it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The connection's place.
    pub place: Place,
    /// A hash of its host, as the index knows it.
    pub host: u32,
    /// Since when it is due.
    pub due: UnixTime,
    /// The connection.
    pub cxn: Cxn,
    /// Its status as it was selected: the condition for recording an outcome.
    pub status: PollStatus,
}

/// How many connections stand where with a job. Each is counted in exactly one of the numbers, but for `due`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Never polled.
    pub new: u64,
    /// The last poll was a success.
    pub healthy: u64,
    /// Failing, by level.
    pub levels: Vec<u64>,
    /// Beyond the last level.
    pub given_up: u64,
    /// Switched off.
    pub disabled: u64,
    /// Waiting because the site asked for it.
    pub deferred: u64,
    /// Due at the moment that was asked for.
    pub due_now: u64,
    /// When the first of those that are not due yet will be.
    pub next_due: Option<UnixTime>,
}

/// Where a connection stands with the jobs that have polled it.
pub type Statuses = Vec<(JobName, PollStatus)>;

/// How many connections are enrolled in one transaction.
const AT_ONCE: usize = 256;

impl Session {
    /// The connections of a batch that are due for a job at `now`, in no particular order. Those that wait for
    /// enrolment are among them.
    ///
    /// # Errors
    /// [`crate::error::Kind::Store`] where the store can't be read.
    pub fn due(
        &self,
        job: &Job,
        policy: &Policy,
        batch: &RangeInclusive<BatchCode>,
        now: UnixTime,
    ) -> Result<Vec<Candidate>> {
        let mut due = Vec::new();
        for level in 0.. {
            let Some(bounds) = policy.scan_bounds(level, now) else { break };
            let at_level = Shelf::Level(level);
            self.scan(job.no, at_level, 0..=bounds.past, batch, policy, now, &mut due)?;
            // What lies behind both bounds is in the first scan already.
            let future = bounds.future.max(bounds.past.saturating_add(1));
            self.scan(job.no, at_level, future..=UnixTime::MAX, batch, policy, now, &mut due)?;
        }
        // All of it: what was deferred by a clock that was wrong counts as due.
        self.scan(job.no, Shelf::Deferred, 0..=UnixTime::MAX, batch, policy, now, &mut due)?;
        due.extend(self.not_enrolled(job.app, Some(job), batch)?);
        Ok(due)
    }

    /// Adds what is due among the entries of one shelf.
    #[expect(clippy::too_many_arguments, reason = "one question, asked three times in `due`")]
    fn scan(
        &self,
        job: JobNo,
        shelf: Shelf,
        from: RangeInclusive<UnixTime>,
        batch: &RangeInclusive<BatchCode>,
        policy: &Policy,
        now: UnixTime,
        due: &mut Vec<Candidate>,
    ) -> Result<()> {
        let first = shelf_prefix(job, shelf, *from.start());
        // All entries of the last moment begin with its prefix, and nothing follows sixteen bytes of 0xff.
        let last = [shelf_prefix(job, shelf, *from.end()).as_slice(), &[0xff; 16]].concat();
        for entry in self.due.range(first.as_slice()..last.as_slice()) {
            let (key, value) = entry?;
            let key = DueKey::parse(&key).ok_or_else(Unreadable::key)?;
            if !batch.contains(&key.place.batch_code) {
                continue;
            }
            let record = DueRecord::from_bytes(&value)?;
            let status = match shelf {
                Shelf::Deferred => self.status(job, key.place)?.unwrap_or_default(),
                _ => PollStatus { level: record.level, last_run: key.from, ..PollStatus::default() },
            };
            if policy.is_due(&status, now) {
                let since = policy.next_due_of_status(&status).unwrap_or(now);
                due.push(Candidate { place: key.place, host: record.host, due: since });
            }
        }
        Ok(())
    }

    /// Connections of a batch that have no status for a job yet, because it never ran (`None`), or its first run was
    /// interrupted. All of them are new.
    ///
    /// # Errors
    /// [`crate::error::Kind::Store`] where the store can't be read.
    pub fn not_enrolled(
        &self,
        app: AppNo,
        job: Option<&Job>,
        batch: &RangeInclusive<BatchCode>,
    ) -> Result<Vec<Candidate>> {
        let mut new = Vec::new();
        for entry in self.older_than(app, job.map_or(Enrolled::Nothing, |job| job.enrolled)) {
            let (key, record) = entry?;
            let waits = match job {
                Some(job) => self.status.get(status_key(job.no, key.place))?.is_none(),
                None => true,
            };
            if waits && !record.disabled && batch.contains(&key.place.batch_code) {
                new.push(Candidate { place: key.place, host: record.host(), due: 0 });
            }
        }
        Ok(new)
    }

    /// The connections of an app behind the point that enrolment has reached.
    fn older_than(&self, app: AppNo, enrolled: Enrolled) -> impl Iterator<Item = Result<(CxnKey, CxnRecord)>> {
        let after = match enrolled {
            Enrolled::UpTo(code, no) => {
                code.try_into().ok().map(|batch_code| CxnKey { app, place: Place { batch_code, no } }.to_bytes())
            }
            Enrolled::Nothing | Enrolled::All => None,
        };
        let after = after.as_ref().map(<[u8; 14]>::as_slice);
        let entries = self.entries(TreeName::Cxn, &app.to_be_bytes(), after);
        (enrolled != Enrolled::All).then_some(entries).into_iter().flatten().map(|entry| {
            let (key, value) = entry?;
            Ok((CxnKey::parse(&key).ok_or_else(Unreadable::key)?, CxnRecord::from_bytes(&value)?))
        })
    }

    /// Gives connections that are older than a job their status, for at most about half a second; tells whether all
    /// have theirs now.
    ///
    /// # Errors
    /// [`crate::error::Kind::Store`] where the store can't be read or written.
    pub fn enrol(&self, job: &Job) -> Result<bool> {
        if job.enrolled == Enrolled::All {
            return Ok(true);
        }
        let began = Instant::now();
        let mut waiting = self.older_than(job.app, job.enrolled);
        while began.elapsed() < SLICE {
            let some = waiting.by_ref().take(AT_ONCE).collect::<Result<Vec<_>>>()?;
            let last = (some.len() == AT_ONCE).then(|| some[AT_ONCE - 1].0.place);
            self.transact(|tx| {
                for (key, record) in &some {
                    // What was imported since the job is known has its status already.
                    if tx.status(job.no, key.place)?.is_none() {
                        let new = PollStatus::default();
                        tx.move_status(job.no, key.place, None, Some((&new, record.disabled, record.host())))?;
                    }
                }
                meta::note_enrolled(tx, job.no, last)
            })?;
            if last.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Loads connections that were selected; those that are gone, disabled or no longer due at `now` (where it is
    /// given) are left out.
    ///
    /// # Errors
    /// [`crate::error::Kind::Store`] where the store can't be read.
    pub fn load(&self, job: &Job, policy: &Policy, now: Option<UnixTime>, selected: &[Candidate]) -> Result<Vec<Task>> {
        let mut tasks = Vec::with_capacity(selected.len());
        for candidate in selected {
            if let Some(task) = self.task(job.app, Some(job), candidate)?
                && !task.cxn.disabled
                && now.is_none_or(|now| policy.is_due(&task.status, now))
            {
                tasks.push(task);
            }
        }
        Ok(tasks)
    }

    /// A connection with its status for a job; `None` where it is gone. One that is not enrolled is new.
    ///
    /// # Errors
    /// [`crate::error::Kind::Store`] where the store can't be read.
    pub fn task(&self, app: AppNo, job: Option<&Job>, candidate: &Candidate) -> Result<Option<Task>> {
        let Candidate { place, host, due } = *candidate;
        let Some(cxn) = self.cxn(CxnKey { app, place })? else { return Ok(None) };
        let status = job.map(|job| self.status(job.no, place)).transpose()?.flatten().unwrap_or_default();
        Ok(Some(Task { place, host, due, cxn, status }))
    }

    /// A connection with its statuses, those of jobs that never polled it left out; `None` where it is gone.
    ///
    /// # Errors
    /// [`crate::error::Kind::Store`] where the store can't be read.
    pub fn connection(&self, key: CxnKey) -> Result<Option<(Cxn, Statuses)>> {
        Ok(match self.cxn(key)? {
            Some(cxn) => Some((cxn, self.statuses(key)?)),
            None => None,
        })
    }

    /// The statuses of a connection by job, those of jobs that never polled it left out.
    fn statuses(&self, key: CxnKey) -> Result<Statuses> {
        let mut statuses = Vec::new();
        for (job, name) in self.job_names(key.app)?.iter() {
            let status = self.status(*job, key.place)?.filter(|status| *status != PollStatus::default());
            statuses.extend(status.map(|status| (name.clone(), status)));
        }
        Ok(statuses)
    }

    /// How many statuses stand at levels from `levels.start` up to, but not including, `levels.end`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Store`] where the store can't be read.
    pub fn count_levels(&self, job: JobNo, levels: std::ops::Range<u32>) -> Result<u64> {
        let [from, to] = [levels.start, levels.end].map(|level| shelf_prefix(job, Shelf::Level(level), 0));
        let mut count = 0;
        for entry in self.due.range(from.as_slice()..to.as_slice()) {
            entry?;
            count += 1;
        }
        Ok(count)
    }
}

impl Tally {
    /// Reads one entry of the due index into a form that [`Tally::add`] takes.
    fn entry(session: &Session, key: &[u8], value: &[u8]) -> Result<Option<(PollStatus, bool)>> {
        let key = DueKey::parse(key).ok_or_else(Unreadable::key)?;
        let record = DueRecord::from_bytes(value)?;
        let mut status =
            PollStatus { level: record.level, count: record.count, last_run: key.from, ..PollStatus::default() };
        if key.shelf == Shelf::Deferred {
            status = session.status(key.job, key.place)?.unwrap_or_default();
        }
        Ok(Some((status, key.shelf == Shelf::Disabled)))
    }

    /// Counts one connection.
    fn add(&mut self, policy: &Policy, now: UnixTime, status: &PollStatus, disabled: bool) {
        let counter = match policy.state(status, disabled, now) {
            State::New => &mut self.new,
            State::Healthy => &mut self.healthy,
            State::GivenUp => &mut self.given_up,
            State::Disabled => &mut self.disabled,
            State::Deferred => &mut self.deferred,
            State::Retrying => {
                let level = status.level as usize;
                if self.levels.len() <= level {
                    self.levels.resize(level + 1, 0);
                }
                &mut self.levels[level]
            }
        };
        *counter += 1;
        if disabled {
            return;
        }
        if policy.is_due(status, now) {
            self.due_now += 1;
        } else if let Some(next) = policy.next_due_of_status(status) {
            self.next_due = Some(self.next_due.map_or(next, |first| first.min(next)));
        }
    }

    /// How many connections were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.new + self.healthy + self.levels.iter().sum::<u64>() + self.given_up + self.disabled + self.deferred
    }
}

impl super::Store {
    /// Visits every connection with its statuses, those that were never polled left out. Goes in slices; who is added
    /// meanwhile is visited too, and who is moved to another app meanwhile may be visited twice.
    ///
    /// # Errors
    /// Those of `emit` and of [`super::Store::session`]; [`crate::error::Kind::Store`] for a connection that can't be read.
    pub fn connections(&self, mut emit: impl FnMut(CxnKey, Cxn, Statuses) -> Result<()>) -> Result<()> {
        self.in_use(|| {
            let mut from = 0;
            loop {
                // Whoever moves to another app gets a new number, and is found again in the next round.
                let to = self.session(Session::next_cxn_no)?;
                if from == to {
                    return Ok(());
                }
                let read = |session: &Session, key: &[u8], value: &[u8]| {
                    let key = CxnKey::parse(key).ok_or_else(Unreadable::key)?;
                    if !(from..to).contains(&key.place.no) {
                        return Ok(None);
                    }
                    Ok(Some((key, session.decode_cxn(key, value)?, session.statuses(key)?)))
                };
                self.paged(TreeName::Cxn, &[], read, |(key, cxn, statuses)| emit(key, cxn, statuses))?;
                from = to;
            }
        })
    }

    /// Counts where the connections stand with a job, in slices.
    ///
    /// # Errors
    /// Those of [`super::Store::session`].
    pub fn tally(&self, job: &Job, policy: &Policy, now: UnixTime) -> Result<Tally> {
        let mut tally = Tally::default();
        self.paged(TreeName::Due, &job.no.to_be_bytes(), Tally::entry, |(status, disabled)| {
            tally.add(policy, now, &status, disabled);
            Ok(())
        })?;
        Ok(tally)
    }
}

//! How many connections are in each state.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use crate::model::{BatchCode, FailureClass, PollStatus, UnixTime};
use crate::retry::{Policy, State};
use crate::store::engine::TreeName;
use crate::store::error::{Error, Result};
use crate::store::schema::{AppNo, CxnKey, DueBucket, DueKey, Job, JobNo, ReadSession, WriteSession, bucket_prefix};
use crate::store::sessions::Sessions;

/// How many connections of a job are in each state.
///
/// Each is counted in exactly one of the numbers, except `due_now`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateCounts {
    /// Never polled.
    pub new: u64,
    /// The last poll was a success.
    pub healthy: u64,
    /// Failing, by level.
    pub levels: Vec<u64>,
    /// Beyond the last level.
    pub given_up: u64,
    /// Disabled.
    pub disabled: u64,
    /// Waiting because the site asked to be deferred.
    pub deferred: u64,
    /// Due at the time that was asked for.
    pub due_now: u64,
    /// When the first of those becomes due that are not due yet; `None` if none will.
    pub next_due: Option<UnixTime>,
    /// Since when the first of those is due that are due and were polled before; `None` if none is.
    pub due_since: Option<UnixTime>,
    /// Those that are failing or given up, by the class of their last failure, if that was asked for.
    ///
    /// The class of one that was imported without its history is not known, and not counted.
    pub failures: BTreeMap<FailureClass, u64>,
}

impl StateCounts {
    /// Counts one connection, and returns its state.
    fn add(&mut self, policy: &Policy, now: UnixTime, status: &PollStatus, disabled: bool) -> State {
        let state = policy.state(status, disabled, now);
        let counter = match state {
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
        let earlier = |first: Option<UnixTime>, due| Some(first.map_or(due, |first| first.min(due)));
        if let Some(due) = policy.when_due(status, disabled, now) {
            if policy.is_due(status, now) {
                self.due_now += 1;
                if !status.is_new() {
                    self.due_since = earlier(self.due_since, due);
                }
            } else {
                self.next_due = earlier(self.next_due, due);
            }
        }
        state
    }

    /// How many connections are in a state.
    #[must_use]
    pub fn of(&self, state: State) -> u64 {
        match state {
            State::New => self.new,
            State::Healthy => self.healthy,
            State::Retrying => self.levels.iter().sum(),
            State::GivenUp => self.given_up,
            State::Disabled => self.disabled,
            State::Deferred => self.deferred,
        }
    }

    /// How many connections were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        State::ALL.into_iter().map(|state| self.of(state)).sum()
    }
}

impl ReadSession {
    /// How many statuses are at the levels of a range.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn count_levels(&self, job: JobNo, levels: Range<u32>) -> Result<u64> {
        let [from, to] = [levels.start, levels.end].map(|level| bucket_prefix(job, DueBucket::Level(level), 0));
        let mut count = 0;
        for entry in self.trees.range(TreeName::Due, &from, &to) {
            entry?;
            count += 1;
        }
        Ok(count)
    }
}

/// Counts the connections of one app or of all apps in batches, also those that cannot be read.
///
/// # Errors
/// Those of [`Sessions::read`].
pub fn cxn_count(sessions: &Sessions, app: Option<AppNo>) -> Result<u64> {
    let mut count = 0;
    sessions.scan_in_batches(
        TreeName::Cxn,
        app.map(AppNo::to_be_bytes).as_ref().map_or(&[], |app| &app[..]),
        |_, _, _| Ok(Some(())),
        |()| {
            count += 1;
            Ok::<_, Error>(())
        },
    )?;
    Ok(count)
}

/// Counts the connections of a job in a batch by state, in short sessions.
///
/// With `classes` it also counts the failures by class, which reads the status of each connection that is failing.
///
/// # Errors
/// Those of [`Sessions::read`].
pub fn state_counts(
    sessions: &Sessions,
    job: &Job,
    policy: &Policy,
    batch: &RangeInclusive<BatchCode>,
    now: UnixTime,
    classes: bool,
) -> Result<StateCounts> {
    let mut counts = StateCounts::default();
    // Counts at once: what is collected until the end of a session limits how long that is.
    let read = |session: &WriteSession, key: &[u8], value: &[u8]| {
        let is_elsewhere = DueKey::parse(key).is_some_and(|key| !batch.contains(&key.locator.batch_code));
        // An entry that cannot be read is skipped.
        let entry = if is_elsewhere { None } else { session.due_entry(job.app, key, value)? };
        let Some((key, _, status)) = entry else { return Ok(None::<()>) };
        let state = counts.add(policy, now, &status, key.bucket == DueBucket::Disabled);
        if classes && matches!(state, State::Retrying | State::GivenUp) {
            let cxn = CxnKey { app: job.app, locator: key.locator };
            let status = session.readable_status(job.no, cxn)?.flatten();
            if let Some(class) = status.and_then(|status| status.attempts.last()?.class) {
                *counts.failures.entry(class).or_default() += 1;
            }
        }
        Ok(None)
    };
    sessions.scan_in_batches(TreeName::Due, &job.no.to_be_bytes(), read, |()| Ok::<_, Error>(()))?;
    Ok(counts)
}

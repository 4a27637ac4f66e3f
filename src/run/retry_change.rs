//! What another retry expression than that of the last run does to sites.

use std::fmt;

use super::{Error, PollRun};
use crate::retry::Policy;
use crate::store::error::Result as StoreResult;
use crate::store::{Job, ReadSession, Store};
use crate::util::text::count;

/// A retry expression that gives up or brings back sites.
///
/// It has fewer or more levels than that of the last run.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryChange {
    /// The expression of the last run.
    before: Policy,
    /// The expression of this run.
    now: Policy,
    /// How many sites are at levels that only one of them has, at least 1.
    pub sites: u64,
}

impl RetryChange {
    /// Compares with the expression of the job's last run; `None` if no site is given up or brought back.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) fn of(session: &ReadSession, job: &Job, now: &Policy) -> StoreResult<Option<Self>> {
        let before = job.retry.as_ref().and_then(|before| before.parse::<Policy>().ok());
        let Some(before) = before.filter(|before| before != now) else { return Ok(None) };
        let [old, new] = [&before, now].map(|policy| u32::try_from(policy.levels().len()).unwrap_or(u32::MAX));
        let sites = session.count_levels(job.no, old.min(new)..old.max(new))?;
        Ok((sites > 0).then(|| Self { before, now: now.clone(), sites }))
    }

    fn gives_up(&self) -> bool {
        self.now.levels().len() < self.before.levels().len()
    }

    /// What the run would do, as an imperative: `give up 41 sites`.
    #[must_use]
    pub fn imperative(&self) -> String {
        let effect = if self.gives_up() { "give up" } else { "bring back" };
        format!("{effect} {}", count(self.sites, "site"))
    }
}

impl fmt::Display for RetryChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, now, sites } = self;
        let effect = if self.gives_up() { "gives up" } else { "brings back" };
        write!(f, "the retry expression '{now}' {effect} {}; the last run's was '{before}'", count(*sites, "site"))
    }
}

impl PollRun {
    /// Returns what the expression of the run would do to sites; `None` if nothing.
    ///
    /// Changes nothing. A poll of one connection leaves the expression of the job as it is.
    ///
    /// # Errors
    /// Those of the store.
    pub fn retry_change(&self, store: &Store) -> Result<Option<RetryChange>, Error> {
        if self.only.is_some() || self.app.disabled {
            return Ok(None);
        }
        let change = store.read(|session| {
            let Some(app) = session.app_no(&self.app.app_id)? else { return Ok(None) };
            let Some(job) = session.job(app, &self.job)? else { return Ok(None) };
            RetryChange::of(session, &job, &self.policy)
        })?;
        Ok(change)
    }
}

//! What a run is to do.

use std::time::Duration;

use super::Summary;
use crate::batch::Batch;
use crate::listener::Listeners;
use crate::model::{AppMeta, CxnId, JobName, Threads, UnixTime};
use crate::retry::Policy;
use crate::store::RunRecord;

/// What a run is to do.
#[derive(Debug, Clone)]
pub struct PollRun {
    /// The app.
    pub app: AppMeta,
    /// The job.
    pub job: JobName,
    /// The batch.
    pub batch: Batch,
    /// The retry expression.
    pub policy: Policy,
    /// The time of the schedule, UTC seconds.
    ///
    /// It decides what is due, and becomes the lastRun of every site that is polled.
    pub now: UnixTime,
    /// How many workers there are.
    pub threads: Threads,
    /// How many polls are in flight on one host, at least 1.
    pub per_host: usize,
    /// No new poll starts after this time; `None` is no limit.
    pub max_runtime: Option<Duration>,
    /// The maximum number of polls; `None` is no limit.
    pub limit: Option<usize>,
    /// Only this connection, due or not; `None` polls what is due.
    pub only: Option<CxnId>,
    /// What is called at each poll and around the run.
    pub listeners: Listeners,
}

impl PollRun {
    /// The shortest default of [`PollRun::max_runtime`].
    const MIN_MAX_RUNTIME: Duration = Duration::from_secs(600);

    /// The usual limit of a run: the period of level 0, but at least ten minutes.
    ///
    /// Later runs decline while one is active. So a longer run would delay the sites that become due meanwhile.
    #[must_use]
    pub fn default_max_runtime(policy: &Policy) -> Duration {
        policy.usual_period().max(Self::MIN_MAX_RUNTIME)
    }

    /// The time at which connections must be due to be polled; `None` if one is polled by hand, due or not.
    pub(super) fn due_at(&self) -> Option<UnixTime> {
        self.only.is_none().then_some(self.now)
    }

    /// A summary of no polls.
    #[must_use]
    pub fn empty_summary(&self) -> Summary {
        let run = RunRecord { now: self.now, batch: self.batch.to_string(), ..RunRecord::default() };
        Summary::new(self.app.app_id.clone(), self.job.clone(), run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_may_take_the_period_of_level_0_but_at_least_ten_minutes() {
        for (retry, seconds) in
            [("1 hour (x48); 1 day (x90)", 3600), ("11 min (x2)", 660), ("1 min (x9); 1 hour (x2)", 600)]
        {
            assert_eq!(PollRun::default_max_runtime(&retry.parse().unwrap()), Duration::from_secs(seconds), "{retry}");
        }
    }
}

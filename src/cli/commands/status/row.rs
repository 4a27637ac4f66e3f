//! A job as `status` shows it.

use serde_json::{Map, Value, json};

use crate::model::{AppId, UnixTime};
use crate::retry::Policy;
use crate::run::{ActiveRun, PollRun, no_run_since, run_json};
use crate::store::{Job, StateCounts};

/// One job and the states of its connections.
pub(super) struct Row {
    pub(super) app_id: AppId,
    pub(super) job: Job,
    pub(super) policy: Policy,
    pub(super) counts: StateCounts,
    pub(super) running: Vec<ActiveRun>,
}

impl Row {
    /// Failing connections by level, one number for each level of the expression.
    pub(super) fn levels(&self) -> Vec<u64> {
        let mut levels = self.counts.levels.clone();
        levels.resize(self.policy.levels().len(), 0);
        levels
    }

    /// When a run last began that had something due or is active; `None` if there was none.
    pub(super) fn last_tick(&self) -> Option<UnixTime> {
        let last_run = self.job.last_run.as_ref().map(|run| run.now);
        self.running.iter().map(|run| run.since).chain([last_run]).flatten().max()
    }

    /// Since when no run has begun although sites were due, if a run is overdue at `now`.
    ///
    /// How often cron starts runs is not known. The usual limit of a run is the longest pause to expect.
    pub(super) fn no_run_since(&self, now: UnixTime) -> Option<UnixTime> {
        let usual_s = i64::try_from(PollRun::default_max_runtime(&self.policy).as_secs()).unwrap_or(i64::MAX);
        no_run_since(&self.job, &self.counts, !self.running.is_empty(), now, usual_s)
    }

    pub(super) fn json(&self) -> Value {
        let counts = &self.counts;
        json!({
            "appId": self.app_id,
            "jobName": self.job.name,
            "retry": self.policy.to_string(),
            "total": counts.total(),
            "new": counts.new,
            "healthy": counts.healthy,
            "levels": self.levels(),
            "givenUp": counts.given_up,
            "disabled": counts.disabled,
            "deferred": counts.deferred,
            "failures": counts.failures.iter().map(|(class, count)| (class.to_string(), json!(count))).collect::<Value>(),
            "dueNow": counts.due_now,
            "dueSince": counts.due_since,
            "nextDue": counts.next_due,
            "lastTick": self.last_tick(),
            "lastRun": self.job.last_run.as_ref().map_or_else(Map::new, run_json),
            "running": self.running,
        })
    }
}

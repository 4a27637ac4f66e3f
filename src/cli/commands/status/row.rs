//! A job as `status` shows it.

use serde_json::{Map, Value, json};

use crate::cli::availability::last_30_days_json;
use crate::model::{AppId, UnixTime};
use crate::report::{Changes, JobReport};
use crate::retry::Policy;
use crate::run::{ActiveRun, PollRun, no_run_since, run_json};
use crate::store::{Job, StateCounts};

/// How many seconds back changes are counted.
pub(super) const CHANGES_S: UnixTime = 86_400;

/// One job and the states of its connections.
pub(super) struct Row {
    pub(super) app_id: AppId,
    pub(super) job: Job,
    pub(super) policy: Policy,
    pub(super) counts: StateCounts,
    pub(super) running: Vec<ActiveRun>,
    /// What changed, and since when; `None` if there is no history.
    pub(super) changes: Option<(UnixTime, Changes)>,
    /// The last 30 days; `None` if that was not asked for.
    pub(super) recent: Option<JobReport>,
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

    /// The object for scripts. With `with_history` it has `last30Days`, null if nothing is known of that time.
    pub(super) fn json(&self, with_history: bool) -> Value {
        let counts = &self.counts;
        let mut json = json!({
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
            "changes": self.changes.map(|(since, changes)| json!({
                "since": since,
                "failing": changes.failing,
                "givenUp": changes.given_up,
                "recovered": changes.recovered,
                "failedMeanwhile": changes.failed_meanwhile,
            })),
        });
        if with_history {
            let last = self.recent.as_ref().map(|job| last_30_days_json(&job.times, Some(json!(job.incidents))));
            json["last30Days"] = json!(last);
        }
        json
    }
}

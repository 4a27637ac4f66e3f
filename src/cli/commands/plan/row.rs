//! A job as `plan` shows it.

use serde_json::{Value, json};

use crate::batch::Batch;
use crate::model::{AppId, CxnId, JobName, Threads, UnixTime};
use crate::retry::Policy;
use crate::run::forecast::{Forecast, ForecastRun, Timetable};
use crate::store::{CxnKey, RunRecord};

/// What is forecast: the runs of one job and batch.
pub(super) struct Question {
    pub(super) app_id: AppId,
    pub(super) job: JobName,
    pub(super) batch: Batch,
    pub(super) policy: Policy,
    pub(super) now: UnixTime,
    pub(super) hours: u16,
    pub(super) threads: Threads,
    pub(super) timetable: Timetable,
    /// Whether a start of a run is known.
    pub(super) has_ticks: bool,
    pub(super) has_run: bool,
    /// What the last run did, of any batch; `None` if none is known.
    pub(super) last_run: Option<RunRecord>,
}

/// One job, and what its next runs are expected to do.
pub(super) struct Row {
    pub(super) question: Question,
    pub(super) counts: SiteCounts,
    pub(super) workers: u64,
    pub(super) forecast: Forecast<CxnKey>,
    /// The sites that will be given up, as far as they are named.
    pub(super) given_up: Vec<GivenUp>,
}

/// The connections of a job and batch, by how they are now.
#[derive(Default)]
pub(super) struct SiteCounts {
    /// Polled sooner or later; those that are new or failing are among them.
    pub(super) scheduled: u64,
    pub(super) new: u64,
    pub(super) failing: u64,
    pub(super) given_up: u64,
    pub(super) disabled: u64,
}

/// A site that will be given up.
pub(super) struct GivenUp {
    pub(super) cxn_id: CxnId,
    pub(super) site_url: String,
    /// The start of the run that gives it up.
    pub(super) at: UnixTime,
}

impl Row {
    pub(super) fn polls(&self) -> u64 {
        self.forecast.runs.iter().map(|run| run.polls).sum()
    }

    /// The first of the runs with the most polls; `None` if no run polls.
    pub(super) fn peak(&self) -> Option<&ForecastRun> {
        self.forecast.runs.iter().rev().max_by_key(|run| run.polls).filter(|run| run.polls > 0)
    }

    /// The runs that would not have ended before the next one begins.
    pub(super) fn late(&self) -> impl Iterator<Item = &ForecastRun> {
        let tick_ms = self.question.timetable.tick_s.unsigned_abs().saturating_mul(1000);
        self.forecast.runs.iter().filter(move |run| run.duration_ms.is_some_and(|duration_ms| duration_ms > tick_ms))
    }

    pub(super) fn json(&self) -> Value {
        let Self { question, counts, .. } = self;
        let tick = |run: &ForecastRun| {
            let duration_s = run.duration_ms.map(|duration_ms| ratio(duration_ms, 1000));
            json!({"at": run.at, "polls": run.polls, "durationS": duration_s})
        };
        json!({
            "appId": question.app_id,
            "jobName": question.job,
            "batch": question.batch.to_string(),
            "retry": question.policy.to_string(),
            "now": question.now,
            "hours": question.hours,
            "tickS": question.timetable.tick_s,
            "workers": self.workers,
            "sites": {
                "scheduled": counts.scheduled,
                "new": counts.new,
                "failing": counts.failing,
                "givenUp": counts.given_up,
                "disabled": counts.disabled,
            },
            "ticks": self.forecast.runs.iter().map(tick).collect::<Value>(),
            "polls": self.polls(),
            "meanPolls": ratio(self.polls(), self.forecast.runs.len() as u64),
            "peak": self.peak().map(|run| json!({"at": run.at, "polls": run.polls})),
            "levels": self.forecast.by_level,
            "late": {"count": self.late().count(), "at": self.late().next().map(|run| run.at)},
            "givenUp": {
                "count": self.forecast.given_up,
                "sites": self.given_up.iter().map(|site| {
                    json!({"cxnId": site.cxn_id, "siteUrl": site.site_url, "at": site.at})
                }).collect::<Value>(),
            },
        })
    }
}

/// The mean of `runs` numbers whose sum is `polls`, with a fraction if it is small.
pub(super) fn mean_text(polls: u64, runs: u64) -> String {
    let mean = ratio(polls, runs);
    if mean < 10.0 && polls > 0 { format!("{mean:.1}") } else { format!("{mean:.0}") }
}

/// The ratio of two numbers; 0 if the second one is.
#[expect(clippy::cast_precision_loss, reason = "larger numbers than 2⁵³ do not occur")]
pub(super) fn ratio(of: u64, by: u64) -> f64 {
    if by == 0 { 0.0 } else { (of as f64 / by as f64 * 1000.0).round() / 1000.0 }
}

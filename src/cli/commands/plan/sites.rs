//! The sites of a job, as `plan` reads them.

use super::row::{GivenUp, Question, Row, SiteCounts};
use crate::cli::error::Result;
use crate::model::{Cxn, JobName, PollStatus, Threads};
use crate::run::forecast::{Fleet, MIN_WORKERS, is_failing};
use crate::store::{AppNo, CxnKey, Store};

/// The sites of a job and batch.
pub(super) struct JobSites {
    app: AppNo,
    question: Question,
    counts: SiteCounts,
    fleet: Fleet<CxnKey>,
    /// How long the polls of the last run took in all, in milliseconds.
    last_polls_ms: u64,
}

impl JobSites {
    pub(super) fn new(app: AppNo, question: Question) -> Self {
        let fleet = Fleet::new(&question.policy, question.timetable);
        Self { app, question, counts: SiteCounts::default(), fleet, last_polls_ms: 0 }
    }

    /// Adds a connection, unless it is of another app or batch.
    pub(super) fn add(&mut self, key: CxnKey, cxn: &Cxn, statuses: &[(JobName, PollStatus)]) {
        if key.app != self.app || !self.question.batch.range().contains(&cxn.batch_code) {
            return;
        }
        let never_polled = PollStatus::default();
        let status =
            statuses.iter().find(|(job, _)| *job == self.question.job).map_or(&never_polled, |(_, status)| status);
        let last =
            status.attempts.last().filter(|last| self.question.last_run.as_ref().is_some_and(|run| run.now == last.at));
        self.last_polls_ms += last.map_or(0, |last| last.duration_ms.into());
        let counts = &mut self.counts;
        if cxn.disabled {
            counts.disabled += 1;
        } else if self.question.policy.next_due_of_status(status).is_none() {
            counts.given_up += 1;
        } else {
            counts.scheduled += 1;
            counts.new += u64::from(status.is_new());
            counts.failing += u64::from(is_failing(status));
            self.fleet.add(key, status);
        }
    }

    /// How many sites are polled at a time.
    fn workers(&self) -> u64 {
        match self.question.threads {
            Threads::Fixed(workers) => workers as u64,
            Threads::Auto => {
                // So many polls ran at a time in the last run that it had at least as many workers.
                let elapsed_ms = self.question.last_run.as_ref().map_or(0, |run| run.elapsed_ms);
                self.last_polls_ms.checked_div(elapsed_ms).unwrap_or(0).max(MIN_WORKERS)
            }
        }
    }

    /// Forecasts the runs, and reads which sites they give up.
    pub(super) fn forecast(self, store: &Store) -> Result<Row> {
        let workers = self.workers();
        let forecast = self.fleet.forecast(workers);
        let given_up = store.read(|session| {
            let sites = forecast.first_given_up.iter().map(|(key, at)| {
                let cxn = session.cxn(*key)?;
                Ok(cxn.map(|cxn| GivenUp { cxn_id: cxn.cxn_id, site_url: cxn.site_url.to_string(), at: *at }))
            });
            sites.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(Row { question: self.question, counts: self.counts, workers, forecast, given_up })
    }
}

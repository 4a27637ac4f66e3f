//! `cxnpoll plan`: a forecast of the polls of the next hours.

mod chart;
mod row;
mod sites;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;

use crate::batch::Batch;
use crate::cli::context::{Context, ScheduleArgs};
use crate::cli::error::{Error, Result};
use crate::cli::ui::output;
use crate::cli::values;
use crate::config::JobTable;
use crate::exit;
use crate::model::{AppId, JobName, Threads};
use crate::run::forecast::Timetable;
use crate::run::ticks_of;
use crate::store::{AppNo, Job, ReadSession, Store};
use row::{Question, Row};
use sites::JobSites;
use text::Text;

/// Forecast the polls of the next hours
///
/// For each job: how many sites each run will poll, how long the runs will take, and which sites will be given up.
///
/// Runs go on at their usual interval. A site whose last poll succeeded is expected to succeed, and so is a new one. A site that
/// is failing is expected to fail. Disabled apps and connections are left out.
#[derive(Args)]
#[command(
    after_help = "In the chart: █ the mean number of polls of a run, │ the largest run\n\nExamples:\n  cxnpoll plan org.civicrm.myapp\n  cxnpoll plan --hours 168 --retry '30min (x48); 1day (x30)'    # the week with another expression"
)]
pub(in crate::cli) struct PollPlan {
    /// Forecast only this app
    #[arg(value_name = "APP", value_parser = values::app)]
    app: Option<AppId>,
    /// Forecast only this job
    #[arg(long, value_name = "J", value_parser = values::job)]
    name: Option<JobName>,
    /// Forecast as many hours, up to 744
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=744))]
    hours: u16,
    /// Forecast runs of only part I of N equal parts of the sites; I counts from 0
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    batch: Batch,
    /// Number of sites that are polled at the same time; auto is as many as in the last run, at least 32 [default: that of the
    /// job in the configuration, or auto]
    #[arg(long, value_name = "auto|N", value_parser = values::threads)]
    threads: Option<Threads>,
    #[command(flatten)]
    schedule: ScheduleArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl PollPlan {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store()?;
        if let Some(app_id) = &self.app {
            context.app(&store, app_id)?;
        }
        let (mut jobs, mut disabled_apps) = (Vec::new(), Vec::new());
        for (app, app_id) in store.read(ReadSession::apps)? {
            if self.app.as_ref().is_some_and(|wanted| *wanted != app_id) {
                continue;
            }
            if context.config.app(&app_id)?.is_some_and(|app| app.disabled) {
                disabled_apps.push(app_id);
                continue;
            }
            for (name, job) in self.jobs_of(context, &store, (app, &app_id))? {
                jobs.push(self.sites(context, &store, (app, app_id.clone()), name, job)?);
            }
        }
        if let Some(name) = self.name.as_ref().filter(|_| jobs.is_empty() && disabled_apps.is_empty()) {
            return Err(Error::UnknownJob(name.clone()));
        }
        if !jobs.is_empty() {
            store.for_each_cxn(|key, cxn, statuses| {
                for job in &mut jobs {
                    job.add(key, &cxn, &statuses);
                }
                Ok::<_, Error>(())
            })?;
        }
        let mut rows = jobs.into_iter().map(|job| job.forecast(&store)).collect::<Result<Vec<_>>>()?;
        rows.sort_by(|a, b| (&a.question.app_id, &a.question.job).cmp(&(&b.question.app_id, &b.question.job)));
        disabled_apps.sort();
        if self.json {
            output::json(&rows.iter().map(Row::json).collect());
        } else {
            Text::new().print(&rows, &disabled_apps);
        }
        Ok(exit::OK)
    }

    /// The jobs of an app that are forecast: those that ran, and those of the configuration.
    ///
    /// If there are none, that is the one which a first run would have.
    fn jobs_of(&self, context: &Context, store: &Store, app: (AppNo, &AppId)) -> Result<Vec<(JobName, Option<Job>)>> {
        let stored = store.read(|session| session.jobs(Some(app.0)))?;
        let mut jobs: BTreeMap<JobName, Option<Job>> =
            stored.into_iter().map(|job| (job.name.clone(), Some(job))).collect();
        let tables = context.config.jobs.keys().filter(|(id, _)| id == app.1);
        let configured: BTreeSet<_> = tables.map(|(_, name)| name.clone()).collect();
        for name in &configured {
            jobs.entry(name.clone()).or_default();
        }
        let has_run = |job: &Option<Job>| job.as_ref().is_some_and(|job| job.retry.is_some());
        match &self.name {
            Some(name) => jobs.retain(|job, _| job == name),
            None if configured.is_empty() && !jobs.values().any(has_run) => {
                let default = JobName::default();
                let job = jobs.remove(&default).flatten();
                return Ok(vec![(default, job)]);
            }
            None => jobs.retain(|name, job| has_run(job) || configured.contains(name)),
        }
        Ok(jobs.into_iter().collect())
    }

    fn sites(
        &self,
        context: &Context,
        store: &Store,
        app: (AppNo, AppId),
        name: JobName,
        job: Option<Job>,
    ) -> Result<JobSites> {
        let now = self.schedule.clock.now(context);
        let policy = self.schedule.policy(&context.config, &app.1, &name, job.as_ref())?;
        let options = JobTable { threads: self.threads, ..JobTable::default() };
        let values = context.config.job_values(&app.1, &name, &options);
        let ticks = ticks_of(store, &app.1, &name);
        let question = Question {
            app_id: app.1,
            job: name,
            batch: self.batch,
            policy,
            now,
            hours: self.hours,
            threads: values.threads.value,
            timetable: Timetable::new(&ticks, now, i64::from(self.hours) * 3600),
            has_ticks: ticks.last().is_some(),
            has_run: job.as_ref().is_some_and(|job| job.retry.is_some()),
            last_run: job.and_then(|job| job.last_run),
        };
        Ok(JobSites::new(app.0, question))
    }
}

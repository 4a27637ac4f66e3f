//! `cxnpoll status`: the state of connections per app and job.

mod row;
mod text;

use clap::Args;

use crate::batch::Batch;
use crate::cli::context::{Context, ScheduleArgs};
use crate::cli::error::Result;
use crate::cli::selection::Filter;
use crate::cli::ui::output;
use crate::cli::values;
use crate::exit;
use crate::model::{AppId, JobName, UnixTime};
use crate::report::{RECENT_S, changes};
use crate::run::active_runs;
use crate::store::{History, Store};
use row::{CHANGES_S, Row};
use text::Text;

/// Show the state of connections per app and job
///
/// For each job: how many connections are in each state; the failures of those that are failing or given up, by the class of
/// their last poll; how many are due; the last run that had something due; the runs that are active.
///
/// A run with nothing due is not recorded. If sites have been due for longer than runs usually need, and no run has begun
/// since, a line says for how long there was no run.
///
/// From history, a line says how many connections began to fail, were given up or recovered in the last 24 hours. With
/// --history there is also the availability of the last 30 days, with a mark for each day as in `explain`.
#[derive(Args)]
#[command(
    after_help = "In the bar: ○ new, █ healthy, ▓▒░ failing by level, ~ deferred, - disabled, × given up\n\nExamples:\n  cxnpoll status org.civicrm.myapp\n  cxnpoll get --state retrying,given-up --failure tls    # the connections behind a number"
)]
pub(in crate::cli) struct Status {
    /// Show only this app
    #[arg(value_name = "APP", value_parser = values::app)]
    app: Option<AppId>,
    /// Show only this job
    #[arg(long, value_name = "J", value_parser = values::job)]
    name: Option<JobName>,
    #[command(flatten)]
    schedule: ScheduleArgs,
    /// Also show the availability of the last 30 days. That reads all connections, and takes longer
    #[arg(long)]
    history: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let now = self.schedule.clock.now(context);
        let store = context.store()?;
        if let Some(app_id) = &self.app {
            context.app(&store, app_id)?;
        }
        let apps = store.read(|session| {
            let apps = session.apps()?.into_iter();
            let apps = apps.filter(|(_, app_id)| self.app.as_ref().is_none_or(|wanted| wanted == app_id));
            apps.map(|(no, app_id)| Ok((no, app_id, session.jobs(Some(no))?))).collect::<Result<Vec<_>, _>>()
        })?;
        let mut rows = Vec::new();
        let mut without_job = Vec::new();
        for (no, app_id, mut jobs) in apps {
            jobs.retain(|job| job.retry.is_some());
            if jobs.is_empty() && self.name.is_none() && !self.json {
                without_job.push((store.cxn_count(Some(no))?, app_id.clone()));
            }
            for job in jobs.into_iter().filter(|job| self.name.as_ref().is_none_or(|name| *name == job.name)) {
                let policy = self.schedule.policy(&context.config, &app_id, &job.name, Some(&job))?;
                let running = active_runs(&store, &app_id, &job.name);
                let counts = store.state_counts(&job, &policy, &Batch::default().range(), now, true)?;
                rows.push(Row { app_id: app_id.clone(), job, policy, counts, running, changes: None, recent: None });
            }
        }
        rows.sort_by(|a, b| (&a.app_id, &a.job.name).cmp(&(&b.app_id, &b.job.name)));
        add_changes(&mut rows, &store.history(), now)?;
        if self.history && !rows.is_empty() {
            let filter = Filter::of_jobs(self.app, self.name.clone(), self.schedule);
            add_recent(&mut rows, context, &store, &filter)?;
        }
        without_job.sort_by(|(_, a), (_, b)| a.cmp(b));
        if self.json {
            output::json(&rows.iter().map(|row| row.json(self.history)).collect());
        } else {
            Text::new(now, context.global.color).print(&rows, &without_job, self.name.as_ref());
        }
        Ok(exit::OK)
    }
}

/// Adds what changed since a day ago, or since history began. Without history there is nothing to add.
fn add_changes(rows: &mut [Row], history: &History, now: UnixTime) -> Result<()> {
    let Some(began) = history.began()? else { return Ok(()) };
    let since = began.max(now.saturating_sub(CHANGES_S));
    let found = changes(history, since, now)?;
    for row in rows {
        let key = (row.app_id.clone(), row.job.name.clone());
        row.changes = Some((since, found.get(&key).copied().unwrap_or_default()));
    }
    Ok(())
}

/// Adds the availability of the last 30 days of the jobs of a filter.
fn add_recent(rows: &mut [Row], context: &Context, store: &Store, filter: &Filter) -> Result<()> {
    let from = filter.now(context).saturating_sub(RECENT_S);
    let ledger = filter.collector(context, store, &[], from)?.read_recent(&store.history())?;
    for report in ledger.report(0).jobs {
        let row = rows.iter_mut().find(|row| row.app_id == report.app_id && row.job.name == report.job);
        if let Some(row) = row {
            row.recent = Some(report);
        }
    }
    Ok(())
}

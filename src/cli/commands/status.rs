//! `cxnpoll status`: the state of connections per app and job.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::batch::Batch;
use crate::cli::context::{Context, ScheduleArgs};
use crate::cli::error::Result;
use crate::cli::ui::table::{self, Table};
use crate::cli::ui::{outage, output, skipped_hosts, time};
use crate::cli::values;
use crate::exit;
use crate::model::{AppId, JobName, UnixTime};
use crate::retry::Policy;
use crate::run::{run_json, run_text};
use crate::store::{Job, ReadSession, StateCounts};
use crate::util::text;

/// Show the state of connections per app and job
///
/// Shows how many connections are in each state, how many are due, when the next one is due, and what the last run did.
#[derive(Args)]
#[command(
    after_help = "In the bar of levels: ○ new, █ healthy, ▓▒░ failing by level, ~ deferred, - disabled, × given up\n\nExample:\n  cxnpoll status org.civicrm.myapp"
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
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One job and the states of its connections.
struct Row {
    app_id: AppId,
    job: Job,
    policy: Policy,
    counts: StateCounts,
}

impl Status {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let now = self.schedule.clock.now(context);
        let store = context.store()?;
        if let Some(app_id) = &self.app {
            context.app(&store, app_id)?;
        }
        let jobs = store.read(|session| {
            let mut jobs = Vec::new();
            for (no, app_id) in session.apps()? {
                if self.app.as_ref().is_none_or(|wanted| *wanted == app_id) {
                    jobs.extend(session.jobs(Some(no))?.into_iter().map(|job| (app_id.clone(), job)));
                }
            }
            Ok(jobs)
        })?;
        let apps = store.read(ReadSession::apps)?.into_iter().map(|(_, app_id)| app_id);
        let mut idle: BTreeSet<AppId> =
            apps.filter(|app_id| self.app.as_ref().is_none_or(|app| app == app_id)).collect();
        let mut rows = Vec::new();
        for (app_id, job) in jobs {
            let wanted = self.name.as_ref().is_none_or(|name| *name == job.name);
            if wanted && job.retry.is_some() {
                let policy = self.schedule.policy(Some(&job))?;
                idle.remove(&app_id);
                let counts = store.state_counts(&job, &policy, &Batch::default().range(), now)?;
                rows.push(Row { app_id, job, policy, counts });
            }
        }
        rows.sort_by(|a, b| (&a.app_id, &a.job.name).cmp(&(&b.app_id, &b.job.name)));
        if self.json {
            output::json(&rows.iter().map(Row::json).collect());
        } else if rows.is_empty() {
            output::line("No job has run yet.");
        } else {
            print(&rows, now)?;
            for app_id in idle.iter().filter(|_| self.name.is_none()) {
                output::line(&format!("\nNo job of {} has run yet.", app_id.short()));
            }
        }
        Ok(exit::OK)
    }
}

impl Row {
    /// Failing connections by level, one number for each level of the expression.
    fn levels(&self) -> Vec<u64> {
        let mut levels = self.counts.levels.clone();
        levels.resize(self.policy.levels().len(), 0);
        levels
    }

    fn json(&self) -> Value {
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
            "dueNow": counts.due_now,
            "nextDue": counts.next_due,
            "lastRun": self.job.last_run.as_ref().map_or_else(Map::new, run_json),
        })
    }
}

/// The length of the bar of levels, in cells.
const BAR: u64 = 12;

impl Row {
    /// Draws the shares of the states.
    ///
    /// New is `○`, healthy `█`, failing by level `▓▒░`, deferred `~`, disabled `-`, given up `×`. Every state that occurs
    /// has at least one cell.
    fn bar(&self) -> String {
        let counts = &self.counts;
        let levels = self.levels();
        let shades = ['▓', '▒', '░'].into_iter().chain(std::iter::repeat('░'));
        let mut parts = vec![('○', counts.new), ('█', counts.healthy)];
        parts.extend(shades.zip(levels));
        parts.extend([('~', counts.deferred), ('-', counts.disabled), ('×', counts.given_up)]);
        parts.retain(|(_, count)| *count > 0);
        let total: u64 = parts.iter().map(|(_, count)| count).sum();
        let mut cells: Vec<u64> = parts.iter().map(|(_, count)| (count * BAR / total.max(1)).max(1)).collect();
        // The largest part makes up for rounding.
        let sum: u64 = cells.iter().sum();
        if let Some(largest) = cells.iter_mut().max() {
            *largest = (*largest + BAR).saturating_sub(sum).max(1);
        }
        parts.iter().zip(cells).flat_map(|((c, _), cells)| (0..cells).map(|_| *c)).collect()
    }

    /// `1 new, 2 healthy, 0/1 failing, 1 given up`
    fn numbers(&self) -> String {
        let counts = &self.counts;
        let failing: Vec<String> = self.levels().iter().map(ToString::to_string).collect();
        let rare = [(counts.deferred, "deferred"), (counts.disabled, "disabled"), (counts.given_up, "given up")];
        let rare = text::counts_above_zero(&rare);
        format!("{} new, {} healthy, {} failing{rare}", counts.new, counts.healthy, failing.join("/"))
    }
}

fn print(rows: &[Row], now: UnixTime) -> Result<()> {
    let mut table = Table::new(["APP", "JOB", "TOTAL", "LEVELS", "GIVEN UP", "DUE", "NEXT DUE"]);
    for row in rows {
        let counts = &row.counts;
        let next = if counts.due_now > 0 { Some(now) } else { counts.next_due };
        table.add(&[
            row.app_id.short().to_owned(),
            row.job.name.to_string(),
            counts.total().to_string(),
            row.bar(),
            counts.given_up.to_string(),
            counts.due_now.to_string(),
            next.map_or_else(|| "never".to_owned(), |at| time::relative(at, now)),
        ]);
    }
    table.print()?;
    for row in rows {
        output::line("");
        table::print_wrapped(&format!("{} {}: {}", row.app_id.short(), row.job.name, row.numbers()));
        if let Some(run) = &row.job.last_run {
            let (at, batch) = (time::relative(run.now, now), &run.batch);
            table::print_wrapped(&format!("Last run {at}, batch {batch}: {}", run_text(run)));
            for line in skipped_hosts::lines(run) {
                table::print_wrapped(&line);
            }
            if let Some(outage) = outage::of_run(run) {
                table::print_wrapped(&format!("It met {outage}. Failures that this caused were not counted."));
                // A run that polled nothing does not end the outage, and met none.
                if let Some(since) = row.job.outage_since.filter(|since| *since < run.now) {
                    let relative = time::relative(since, now);
                    table::print_wrapped(&format!("So did all runs since {} ({relative}).", time::utc(since)));
                }
            }
        }
    }
    Ok(())
}

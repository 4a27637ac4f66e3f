//! `cxnpoll status`: where the connections of each app and job stand.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Context, Judge, output};
use crate::error::Result;
use crate::exit;
use crate::model::{AppId, JobName, UnixTime};
use crate::retry::Policy;
use crate::runner::{run_json, run_text};
use crate::store::{Job, Session, Tally};

/// Tell where the connections of each app and job stand
#[derive(Args)]
#[command(
    after_help = "In the bar of levels: ○ new, █ healthy, ▓▒░ failing by level, ~ deferred, - disabled, × given up\n\nExample:\n  cxnpoll status org.civicrm.myapp"
)]
pub(super) struct Status {
    /// This app alone
    #[arg(value_name = "APP", value_parser = super::app)]
    app: Option<AppId>,
    /// This job alone
    #[arg(long, value_name = "J", value_parser = super::job)]
    name: Option<JobName>,
    #[command(flatten)]
    judge: Judge,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One job and how its connections stand.
struct Row {
    app_id: AppId,
    job: Job,
    policy: Policy,
    tally: Tally,
}

impl Status {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let now = self.judge.now(context);
        let store = context.store()?;
        if let Some(app_id) = &self.app {
            context.app(&store, app_id)?;
        }
        let jobs = store.session(|session| {
            let mut jobs = Vec::new();
            for (no, app_id) in session.apps()? {
                if self.app.as_ref().is_none_or(|wanted| *wanted == app_id) {
                    jobs.extend(session.jobs(Some(no))?.into_iter().map(|job| (app_id.clone(), job)));
                }
            }
            Ok(jobs)
        })?;
        let apps = store.session(Session::apps)?.into_iter().map(|(_, app_id)| app_id);
        let mut idle: BTreeSet<AppId> =
            apps.filter(|app_id| self.app.as_ref().is_none_or(|app| app == app_id)).collect();
        let mut rows = Vec::new();
        for (app_id, job) in jobs {
            let wanted = self.name.as_ref().is_none_or(|name| *name == job.name);
            if wanted && job.retry.is_some() {
                let policy = self.judge.policy(Some(&job))?;
                idle.remove(&app_id);
                let tally = store.tally(&job, &policy, now)?;
                rows.push(Row { app_id, job, policy, tally });
            }
        }
        rows.sort_by(|a, b| (&a.app_id, &a.job.name).cmp(&(&b.app_id, &b.job.name)));
        if self.json {
            output::json(&rows.iter().map(Row::json).collect())?;
        } else if rows.is_empty() {
            output::line("No job has run yet.")?;
        } else {
            print(&rows, now)?;
            for app_id in idle.iter().filter(|_| self.name.is_none()) {
                output::line(&format!("\nNo job of {} has run yet.", app_id.short()))?;
            }
        }
        Ok(exit::OK)
    }
}

impl Row {
    /// Failing connections by level, one number for each level of the expression.
    fn levels(&self) -> Vec<u64> {
        let mut levels = self.tally.levels.clone();
        levels.resize(self.policy.levels().len(), 0);
        levels
    }

    fn json(&self) -> Value {
        let tally = &self.tally;
        json!({
            "appId": self.app_id,
            "jobName": self.job.name,
            "retry": self.policy.to_string(),
            "total": tally.total(),
            "new": tally.new,
            "healthy": tally.healthy,
            "levels": self.levels(),
            "givenUp": tally.given_up,
            "disabled": tally.disabled,
            "deferred": tally.deferred,
            "dueNow": tally.due_now,
            "nextDue": tally.next_due,
            "lastRun": self.job.last_run.as_ref().map_or_else(Map::new, run_json),
        })
    }
}

/// How many cells the bar of levels has.
const BAR: u64 = 12;

impl Row {
    /// A bar of who stands where: new `○`, healthy `█`, failing by level `▓▒░`, deferred `~`, disabled `-`, given up `×`. Who
    /// is there at all is seen.
    fn bar(&self) -> String {
        let tally = &self.tally;
        let levels = self.levels();
        let shades = ['▓', '▒', '░'].into_iter().chain(std::iter::repeat('░'));
        let mut parts = vec![('○', tally.new), ('█', tally.healthy)];
        parts.extend(shades.zip(levels));
        parts.extend([('~', tally.deferred), ('-', tally.disabled), ('×', tally.given_up)]);
        parts.retain(|(_, count)| *count > 0);
        let total: u64 = parts.iter().map(|(_, count)| count).sum();
        let mut cells: Vec<u64> = parts.iter().map(|(_, count)| (count * BAR / total.max(1)).max(1)).collect();
        // What rounding left over, or took too much, is the largest part's.
        let sum: u64 = cells.iter().sum();
        if let Some(largest) = cells.iter_mut().max() {
            *largest = (*largest + BAR).saturating_sub(sum).max(1);
        }
        parts.iter().zip(cells).flat_map(|((c, _), cells)| (0..cells).map(|_| *c)).collect()
    }

    /// `1 new, 2 healthy, 0/1 failing, 1 given up`
    fn numbers(&self) -> String {
        let tally = &self.tally;
        let failing: Vec<String> = self.levels().iter().map(ToString::to_string).collect();
        let rare = [(tally.deferred, "deferred"), (tally.disabled, "disabled"), (tally.given_up, "given up")];
        let rare = rare.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
        let rare: String = rare.collect();
        format!("{} new, {} healthy, {} failing{rare}", tally.new, tally.healthy, failing.join("/"))
    }
}

fn print(rows: &[Row], now: UnixTime) -> Result<()> {
    let mut table = output::narrow_table(&["APP", "JOB", "TOTAL", "LEVELS", "GIVEN UP", "DUE", "NEXT DUE"]);
    for row in rows {
        let tally = &row.tally;
        let next = if tally.due_now > 0 { Some(now) } else { tally.next_due };
        table.add_row([
            row.app_id.short().to_owned(),
            row.job.name.to_string(),
            tally.total().to_string(),
            row.bar(),
            tally.given_up.to_string(),
            tally.due_now.to_string(),
            next.map_or_else(|| "never".to_owned(), |moment| output::relative(moment, now)),
        ]);
    }
    output::keep_whole(&mut table, 2..);
    output::print_table(&mut table)?;
    for row in rows {
        output::line("")?;
        output::wrapped(&format!("{} {}: {}", row.app_id.short(), row.job.name, row.numbers()))?;
        if let Some(run) = &row.job.last_run {
            let (at, batch) = (output::relative(run.now, now), &run.batch);
            output::wrapped(&format!("Last run {at}, batch {batch}: {}", run_text(run)))?;
        }
    }
    Ok(())
}

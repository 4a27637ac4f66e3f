//! `cxnpoll poll`: a run.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use clap::Args;
use serde_json::json;
use tracing::{info, warn};

use super::{Context, logging, output};
use crate::batch::Batch;
use crate::config::Backups;
use crate::error::{Error, Kind, Result};
use crate::exit;
use crate::model::{AppId, JobName, UnixTime, safe_text};
use crate::retry::Policy;
use crate::runner::{Plan, Signals, Summary, suspended};
use crate::site::Target;
use crate::store::{Store, Task};
use crate::transfer::backup;

/// Poll the sites of an app that are due
#[derive(Args)]
#[command(
    after_help = "Example, in a crontab:\n  */5 * * * * cxnpoll poll org.civicrm.myapp --retry='20min (x6); 1hour (x24); 1day (x30)'"
)]
pub(super) struct Poll {
    /// The app, such as org.civicrm.myapp
    #[arg(value_name = "APP", value_parser = super::app)]
    app: AppId,
    /// The job's name
    #[arg(long, value_name = "J", default_value = "default", value_parser = super::job)]
    name: JobName,
    /// Poll one of several equal parts of the sites alone: I counts from 0
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    batch: Batch,
    /// How often to poll, and what to do about sites that fail: '20min (x6); 1hour (x24); 1day (x30)'
    #[arg(long, value_name = "EXPR", default_value_t)]
    retry: Policy,
    /// How many sites to poll at the same time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    threads: u16,
    /// How many sites to poll at the same time on one host
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=4096))]
    per_host: u16,
    /// How many seconds one call to a site may take [default: `timeouts.call` of the configuration, which is 60]
    #[arg(long, value_name = "S", value_parser = super::some_seconds)]
    timeout: Option<Duration>,
    /// After how many seconds no new poll starts
    #[arg(long, value_name = "S", value_parser = super::some_seconds)]
    max_runtime: Option<Duration>,
    /// Poll at most so many sites, the most overdue first
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Poll this connection alone, now, due or not
    #[arg(long, value_name = "ID")]
    cxn: Option<String>,
    /// List what would be polled, and poll nothing
    #[arg(long)]
    dry_run: bool,
    /// Exit with 3 if any site failed
    #[arg(long)]
    strict: bool,
    /// Write metrics in Prometheus text form into this folder: a file for each app, job and batch
    #[arg(long, value_name = "DIR")]
    metrics: Option<PathBuf>,
    /// Call this URL when the run ends well
    #[arg(long, value_name = "URL", value_parser = url)]
    heartbeat: Option<String>,
    /// Pretend that it is this moment: RFC 3339, or seconds since 1970
    #[arg(long, value_name = "T", value_parser = super::moment)]
    now: Option<UnixTime>,
    /// Print the summary (or the list of --dry-run) as JSON
    #[arg(long)]
    json: bool,
}

impl Poll {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store()?;
        let app = context.app(&store, &self.app)?;
        let only = match &self.cxn {
            Some(text) => store.session(|session| session.cxn(Context::find(session, text)?))?.map(|cxn| cxn.cxn_id),
            None => None,
        };
        let terminal = io::stderr().is_terminal();
        let plan = Plan {
            job: self.name.clone(),
            batch: self.batch,
            policy: self.retry.clone(),
            now: self.now.unwrap_or(context.started),
            threads: self.threads.into(),
            per_host: self.per_host.into(),
            max_runtime: self.max_runtime,
            limit: self.limit,
            only,
            progress: terminal && !context.global.quiet,
            listeners: context.listeners.clone(),
            app,
        };
        if self.dry_run {
            return self.list(&plan, &store);
        }
        self.poll(context, &plan, &store)
    }

    fn poll(&self, context: &Context, plan: &Plan, store: &Store) -> Result<u8> {
        let show = !context.global.quiet && (plan.progress || context.global.verbose > 0);
        let signals = Signals::listen()
            .map_err(|error| Error::new(Kind::Internal, format!("can't listen to signals: {error}")))?;
        let client = Arc::new(context.client(&plan.app, self.timeout)?);
        let summary = match plan.run(store, &client, &context.config, &signals) {
            Ok(summary) => summary,
            // That another runner is at work is no news to cron, nor to who has stopped waiting for it.
            Err(error) if error.kind == Kind::Declined && (!show || signals.asked().is_some()) => {
                return Ok(signals.asked().unwrap_or(exit::DECLINED));
            }
            Err(error) => return Err(error),
        };
        info!(target: logging::FILE_ONLY, "{summary}");
        if plan.only.is_none() {
            back_up(context, store, &signals);
        }
        if self.json {
            output::json(&summary.to_json())?;
        }
        if show {
            suspended(|| writeln!(io::stderr(), "{summary}")).ok();
        }
        // Who asks about one site wants to know; a deferral is no success.
        let failed = summary.run.failed > 0 || (plan.only.is_some() && summary.run.deferred > 0);
        let about_sites = self.strict || plan.only.is_some();
        let code = match summary.interrupted {
            Some(code) => code,
            None if summary.run.outage => exit::OWN_OUTAGE,
            None if about_sites && failed => exit::SITE_FAILED,
            None => exit::OK,
        };
        self.report(context, plan, store, &summary, code == exit::OK);
        Ok(code)
    }

    /// Tells those who watch over us how it went. A run that is well does not fail for it.
    fn report(&self, context: &Context, plan: &Plan, store: &Store, summary: &Summary, ended_well: bool) {
        if let Some(folder) = self.metrics.as_ref().filter(|_| plan.only.is_none()) {
            let size = store.file_size().unwrap_or_default();
            if let Err(error) = summary.write_metrics(folder, Utc::now().timestamp(), ended_well, size) {
                warn!("metrics could not be written to {}: {error}", folder.display());
            }
        }
        if let Some(url) = self.heartbeat.as_ref().filter(|_| ended_well) {
            // The address is the administrator's own choice, and may hold a key.
            let beat = context.watcher().map(|client| client.get(url));
            match beat {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => warn!("the heartbeat was not heard: {failure}"),
                Err(error) => warn!("the heartbeat was not heard: {error}"),
            }
        }
    }

    /// `--dry-run`: a line for each site, and nothing is touched.
    fn list(&self, plan: &Plan, store: &Store) -> Result<u8> {
        let due = |task: &Task| plan.policy.next_due_of_status(&task.status);
        if self.json {
            plan.dry_run(store, |task| {
                let status = &task.status;
                let line = json!({
                    "cxnId": task.cxn.cxn_id,
                    "siteUrl": task.cxn.site_url,
                    "pollLevel": status.level,
                    "pollCount": status.count,
                    "lastRun": status.last_run,
                    "due": due(&task),
                });
                output::line(&line.to_string())
            })?;
            return Ok(exit::OK);
        }
        let mut table = output::table(&["CXN", "SITE", "LEVEL", "FAILED", "DUE"]);
        plan.dry_run(store, |task| {
            let since =
                if task.status.is_new() { "new".to_owned() } else { due(&task).map_or_else(String::new, output::time) };
            let (level, count) = (task.status.level.to_string(), task.status.count.to_string());
            table.add_row([task.cxn.cxn_id.as_str(), &safe_text(&task.cxn.site_url), &level, &count, &since]);
            Ok(())
        })?;
        output::print_table(&mut table)?;
        Ok(exit::OK)
    }
}

/// A URL that can be called.
fn url(text: &str) -> Result<String, String> {
    Target::new(text, None).map(|_| text.to_owned()).map_err(|_| "expected a URL of http or https".to_owned())
}

/// Backs up the store where that is due. A run that is well does not fail for it.
fn back_up(context: &Context, store: &Store, signals: &Signals) {
    let Backups { every_hours, keep } = context.config.backups;
    let every = i64::from(every_hours) * 3600;
    let stop = || signals.asked().is_some();
    let done = || {
        if every == 0 || stop() || !backup::is_due(store, Utc::now(), every)? {
            return Ok(None);
        }
        backup::back_up(store, keep.get(), stop)
    };
    match done() {
        Ok(Some(backup)) => info!("backed up {} connections to {}", backup.cxns, backup.path.display()),
        Ok(None) => {}
        Err(error) => warn!("no backup could be written: {error}"),
    }
}

//! `cxnpoll poll`: a run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use clap::Args;
use serde_json::json;
use tracing::{info, warn};

use crate::batch::Batch;
use crate::cli::context::{Clock, Context};
use crate::cli::cxn_arg::CxnArg;
use crate::cli::error::{Error, Report, Result, bad_backup};
use crate::cli::notifying::Notifying;
use crate::cli::ui::progress::RunProgress;
use crate::cli::ui::prompt::{Change, Confirmation, Preview};
use crate::cli::ui::table::Table;
use crate::cli::ui::{logging, notice, output, skipped_hosts, terminal, time};
use crate::cli::values;
use crate::config::{BackupTable, Config, HeartbeatUrl, JobTable, JobValues, MAX_PER_HOST, Origin};
use crate::exit;
use crate::model::{AppId, AppMeta, CxnId, JobName, Threads};
use crate::retry::Policy;
use crate::retry::duration::TimeLimit;
use crate::run::{self, PollRun, Signals, Summary, Update};
use crate::store::{PollTask, RunEntry, Store};
use crate::transfer::backup;
use crate::util::text::{count, sanitize};
use crate::util::time::unix_now;

/// Poll the sites of an app that are due
///
/// The retry expression decides which sites are due, and when each is due next after its poll. Without a terminal, a
/// successful run prints nothing; if the site of --cxn fails, a line says why. If another run is polling the same sites, this
/// one declines with exit code 75. A failure of this machine or its network is not counted, and the exit code is 69. After
/// SIGHUP, SIGINT or SIGTERM a run ends cleanly: polls in flight get ten seconds, and their outcomes are recorded.
///
/// An option takes precedence over the value of the job in the configuration: `[jobs."APP".J]`. At a terminal, a run with
/// another retry expression than the last one asks first, if that gives up or brings back sites.
#[derive(Args)]
#[command(
    after_help = "Example, in a crontab:\n  */5 * * * * cxnpoll poll org.civicrm.myapp --retry='20min (x6); 1hour (x24); 1day (x30)'"
)]
pub(in crate::cli) struct Poll {
    /// App, such as org.civicrm.myapp
    #[arg(value_name = "APP", value_parser = values::app)]
    pub(in crate::cli) app: AppId,
    /// Job name
    #[arg(long, value_name = "J", default_value = "default", value_parser = values::job)]
    pub(in crate::cli) name: JobName,
    /// Poll only part I of N equal parts of the sites; I counts from 0
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    pub(in crate::cli) batch: Batch,
    /// How often to poll, and how long to retry sites that fail: '20min (x6); 1hour (x24); 1day (x30)'
    /// [default: 1 hour (x48); 1 day (x90)]
    #[arg(long, value_name = "EXPR")]
    retry: Option<Policy>,
    /// Number of sites to poll at the same time, up to 4096; auto starts with 32 and adds more as needed [default: auto]
    #[arg(long, value_name = "auto|N", value_parser = values::threads)]
    threads: Option<Threads>,
    /// Number of sites to poll at the same time per host [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_PER_HOST)))]
    per_host: Option<u16>,
    /// Limit of each call to a site: 30s, 2m, or a number of seconds [default: `timeouts.call` of the configuration, or 60]
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    timeout: Option<Duration>,
    /// Start no new poll after this time: 20m, 2h, or a number of seconds [default: the period of the first retry level, at least
    /// 10m]
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    max_runtime: Option<Duration>,
    /// Poll at most this many sites, those that are the latest relative to their period first
    #[arg(long, value_name = "N")]
    pub(in crate::cli) limit: Option<usize>,
    /// Poll only this connection, now, whether or not it is due
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) cxn: Option<CxnArg>,
    /// List the sites that would be polled, and poll none
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Exit with 3 if any site failed
    #[arg(long)]
    strict: bool,
    /// Write metrics in Prometheus text format to this directory, one file per app, job and batch
    #[arg(long, value_name = "DIR", value_parser = values::path())]
    metrics: Option<PathBuf>,
    /// Call this URL when the run ends with exit code 0 [default: `CXNPOLL_HEARTBEAT`, or `heartbeat` of the configuration]
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) heartbeat: Option<String>,
    #[command(flatten)]
    clock: Clock,
    #[command(flatten)]
    confirmation: Confirmation,
    /// Print the summary as JSON; with --dry-run, one JSON object per line
    #[arg(long)]
    json: bool,
}

impl Poll {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        if !self.dry_run {
            logging::name_run(&self.app, &self.name, self.batch);
        }
        let values = self.values(&context.config);
        let heartbeat = values.heartbeat()?;
        let found = context.store_for(!self.dry_run).and_then(|store| Ok((context.app(&store, &self.app)?, store)));
        let (app, store) = found.map_err(|error| self.cannot_begin(context, &values, error))?;
        let only = match &self.cxn {
            Some(name) => Some(name.load(&store)?.cxn_id),
            None => None,
        };
        let plan = self.plan(context, &values, app, only);
        if self.dry_run {
            if let Some(change) = plan.retry_change(&store)? {
                warn!("{change}");
            }
            return self.list(&plan, &store);
        }
        if !self.confirm_retry(context, &plan, &store)? {
            return Ok(exit::OK);
        }
        // A poll by hand does not show that cron works, so only an option makes it call.
        let heartbeat = heartbeat.filter(|(_, origin)| plan.only.is_none() || *origin == Origin::Option);
        self.poll(context, &values, &plan, &store, heartbeat.map(|(url, _)| url))
    }

    /// The values of the job with these options.
    pub(in crate::cli) fn values(&self, config: &Config) -> JobValues {
        config.job_values(&self.app, &self.name, &self.options())
    }

    /// The options that are given and that the table of a job may have, too.
    pub(in crate::cli) fn options(&self) -> JobTable {
        JobTable {
            retry: self.retry.clone(),
            threads: self.threads,
            per_host: self.per_host,
            timeout: self.timeout.map(TimeLimit),
            max_runtime: self.max_runtime.map(TimeLimit),
            metrics: self.metrics.clone(),
            heartbeat: self.heartbeat.clone().map(HeartbeatUrl),
        }
    }

    fn plan(&self, context: &Context, values: &JobValues, app: AppMeta, only: Option<CxnId>) -> PollRun {
        let policy = values.retry.value.clone();
        // One poll needs no limit of the whole run.
        let default = || only.is_none().then(|| PollRun::default_max_runtime(&policy));
        PollRun {
            max_runtime: values.max_runtime.value.or_else(default),
            job: self.name.clone(),
            batch: self.batch,
            policy,
            now: self.clock.now(context),
            threads: values.threads.value,
            per_host: values.per_host.value.into(),
            limit: self.limit,
            only,
            listeners: context.listeners.clone(),
            app,
        }
    }

    /// Returns whether the run may begin, asking at the terminal if its expression affects sites.
    fn confirm_retry(&self, context: &Context, plan: &PollRun, store: &Store) -> Result<bool> {
        // Without a terminal there is nothing to look up. A run that is certainly idle has the expression of the last one.
        if self.confirmation.yes || !terminal::can_ask() || plan.is_certainly_idle(store) {
            return Ok(true);
        }
        let Some(change) = plan.retry_change(store)? else { return Ok(true) };
        let mut preview = Preview::default();
        preview.add(|| change.to_string().replacen('t', "T", 1) + ".");
        let question = Change {
            action: if context.can_ask() { "go on".to_owned() } else { change.imperative() },
            count: usize::try_from(change.sites).ok(),
            is_confirmed: false,
            asks_about_one: true,
            hint: "confirm with --yes, or list what would be polled with --dry-run",
        };
        context.confirm(question, &preview)
    }

    /// Returns the error of a run that cannot use the store. Its metrics show the exit code.
    fn cannot_begin(&self, context: &Context, values: &JobValues, error: Error) -> Error {
        if self.dry_run || self.cxn.is_some() || !matches!(error, Error::Store(_)) {
            return error;
        }
        let report = Report::from(error);
        let plan = self.plan(context, values, AppMeta::bare(self.app.clone()), None);
        write_metrics(values, &plan, None, &plan.empty_summary(), report.exit_code);
        Error::Reported(report)
    }

    fn poll(
        &self,
        context: &Context,
        values: &JobValues,
        plan: &PollRun,
        store: &Store,
        heartbeat: Option<&str>,
    ) -> Result<u8> {
        let signals = Signals::listen().map_err(Error::Signals)?;
        let notifying = Notifying::begin(context, store, plan, &signals);
        let client = Arc::new(context.client(&plan.app, Some(values.timeout.value))?);
        let declines_silently = context.global.quiet || plan.only.is_none() && !context.shows_notices();
        let mut progress = RunProgress::new(context.progress_display());
        let mut figures = plan.empty_summary();
        let mut observe = |update: Update<'_>| {
            if let Update::Ended { summary } = &update {
                figures.clone_from(summary);
            }
            progress.update(update);
        };
        let summary = match plan.run(store, &client, &context.config, &signals, &mut observe) {
            Ok(summary) => summary,
            // A declined run prints nothing for cron, nor after a signal.
            Err(run::Error::Declined { .. }) if declines_silently || signals.stop_code().is_some() => {
                return Ok(signals.stop_code().unwrap_or(exit::DECLINED));
            }
            // The metrics are those of the run that is active.
            Err(error @ run::Error::Declined { .. }) => return Err(error.into()),
            Err(error) => {
                let report = Report::from(Error::from(error));
                write_metrics(values, plan, Some(store), &figures, report.exit_code);
                add_to_history(context, plan, store, &figures, report.exit_code);
                notifying.finish(&figures);
                return Err(Error::Reported(report));
            }
        };
        context.notify(&summary.to_string());
        for line in skipped_hosts::lines(&summary.run) {
            notice::show(&line, context.shows_notices());
        }
        if plan.only.is_none() {
            back_up(context, &store.clone().with_cancel(signals.stop_flag()), &signals);
        }
        if self.json {
            output::json(&summary.to_json());
        }
        let code = summary.exit_code(self.strict, plan.only.is_some());
        let exit_code = context.exit_code(code);
        write_metrics(values, plan, Some(store), &summary, exit_code);
        if summary.run.due > 0 {
            add_to_history(context, plan, store, &summary, exit_code);
        }
        if let Some(url) = heartbeat.filter(|_| exit_code == exit::OK) {
            call_heartbeat(context, url);
        }
        notifying.finish(&summary);
        Ok(code)
    }

    /// Lists the sites that would be polled.
    fn list(&self, plan: &PollRun, store: &Store) -> Result<u8> {
        let due = |task: &PollTask| {
            let PollTask { status, .. } = task;
            Some(plan.policy.next_due_of_status(status)?.max(status.last_run))
        };
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
                output::json_line(&line);
                output::check()
            })?;
            return Ok(exit::OK);
        }
        let mut table = Table::new(["CXN", "SITE", "LEVEL", "FAILED", "DUE"]);
        plan.dry_run(store, |task| -> Result<()> {
            let since =
                if task.status.is_new() { "new".to_owned() } else { due(&task).map_or_else(String::new, time::utc) };
            let (level, count) = (task.status.level.to_string(), task.status.count.to_string());
            let (cxn_id, site) = (task.cxn.cxn_id.to_string(), sanitize(&task.cxn.site_url.to_string()));
            table.add(&[cxn_id, site, level, count, since]);
            Ok(())
        })?;
        table.print()?;
        Ok(exit::OK)
    }
}

/// Writes the metrics; `store` is `None` if it cannot be used. A failure does not fail the run.
fn write_metrics(values: &JobValues, plan: &PollRun, store: Option<&Store>, summary: &Summary, exit_code: u8) {
    if let Some(directory) = values.metrics.value.as_ref().filter(|_| plan.only.is_none())
        && let Err(error) = plan.write_metrics(directory, store, summary, exit_code, unix_now())
    {
        warn!("cannot write metrics to {}: {error}", directory.display());
    }
}

/// Adds the run to history, and removes what is too old, unless it polled one connection by hand.
///
/// A failure does not fail the run.
fn add_to_history(context: &Context, plan: &PollRun, store: &Store, summary: &Summary, exit_code: u8) {
    if plan.only.is_some() {
        return;
    }
    let (history, entry) = (store.history(), RunEntry { run: summary.run.clone(), exit_code });
    if let Err(error) = history.add_run(&plan.app.app_id, &plan.job, &entry) {
        warn!("the run is missing in the history: {}", Report::from(Error::from(error)));
    }
    if let Err(error) = history.remove_old(plan.now, context.config.history.days) {
        warn!("old history stays: {}", Report::from(Error::from(error)));
    }
}

/// Calls the heartbeat URL. A failure does not fail the run.
fn call_heartbeat(context: &Context, url: &str) {
    // The warning leaves the URL out, because it may hold a key.
    match context.client_for_own_urls().map(|client| client.get(url)) {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => warn!("the heartbeat failed: {failure}"),
        Err(error) => warn!("the heartbeat failed: {}", Report::from(error)),
    }
}

/// Backs up the store if a backup is due. A failure does not fail the run.
fn back_up(context: &Context, store: &Store, signals: &Signals) {
    let BackupTable { every_hours, keep, verify, .. } = context.config.backups;
    let every_s = i64::from(every_hours) * 3600;
    let stop = || signals.stop_code().is_some();
    let backup = || -> Result<_> {
        let now = Utc::now();
        if every_s == 0 || stop() || !backup::is_due(store, now, every_s)? {
            return Ok(None);
        }
        store.lock_shared(|| {
            // A compaction that was waited for has written one.
            if !backup::is_due(store, now, every_s)? {
                return Ok(None);
            }
            backup::warn_of_future(store, now)?;
            Ok(backup::back_up(store, now, keep.get(), &context.config.backup_recipients(&[])?, stop)?)
        })
    };
    match backup() {
        Ok(Some((backup, key))) => {
            info!("backed up {} to {}", count(backup.cxns, "connection"), backup.path.display());
            if verify && let Err(error) = backup::rehearse(Some(store), &backup.path, &key, stop) {
                warn!("cannot check the backup: {}", bad_backup(error));
            }
        }
        Ok(None) => {}
        Err(error) => warn!("cannot write a backup: {}", Report::from(error)),
    }
}

//! `cxnpoll doctor`: everything that a run needs.

mod backups;
mod clock;
mod last_runs;
mod machine;
mod report;
pub(in crate::cli) mod schedule;
mod store;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use clap::Args;

use self::last_runs::LastRun;
use self::schedule::entry::ParsePoll;
use self::schedule::rules::{self, Job, Schedules};
use self::schedule::sources::Sources;
use self::schedule::{cron, files, systemd};
use self::store::Facts;
use super::config::findings as config_findings;
use super::findings::{Check, Findings, unreadable};
use super::users;
use crate::cli::context::{Context, Global};
use crate::cli::error::Error;
use crate::config::Config;
use crate::exit;
use crate::model::AppId;
use crate::notify::Notifier;
use crate::run::max_workers;
use crate::site::check_each_name_server;
use crate::util::text::shell_quoted;
use crate::util::time::utc;

/// Check everything a run needs, and print what is wrong with its remedy
///
/// It checks the configuration, the certificates of apps and authorities, listener programs, name servers, the clock, the
/// store and its backups, limits of the system, the crontabs and timers that start runs, and the last run of each job. It
/// changes nothing. To compare the clock, it asks up to five healthy sites for the header of their front page.
///
/// Without a terminal nothing is printed if all is well; -v prints every check. The exit code is 0 without a finding, and
/// 78 with one.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  sudo -u cxnpoll cxnpoll doctor\n  cxnpoll doctor --json | jq -r '.findings[].remedy'\n\n\
                  Run it as the user that the runs belong to. What that user may not read is listed as skipped."
)]
pub(in crate::cli) struct Doctor {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(in crate::cli) fn run(self, context: &Context, parse: ParsePoll) -> u8 {
        let mut findings = Findings::default();
        let is_config_read = check_config(context, &mut findings);
        // The path of the store may be in the configuration that cannot be read.
        let facts = if is_config_read || context.names_store() {
            store::check(context, &mut findings)
        } else {
            findings.skip(Check::Store, "the configuration that names it cannot be read");
            Facts::default()
        };
        if let Some(content) = &facts.content {
            if is_config_read {
                find_missing_certificates(context, &content.with_cxns, &mut findings);
            }
            clock::check(context, content.healthy.clone(), &mut findings);
        } else {
            findings.skip(Check::Clock, "the store names no site that can be asked");
        }
        find_undelivered(context, &mut findings);
        machine::check(&mut findings);
        check_schedule(context, parse, is_config_read, &facts, &mut findings);
        for finding in &mut findings.found {
            finding.remedy = with_options(&finding.remedy, &context.global);
        }
        report::print(context, &findings, self.json);
        if findings.found.is_empty() { exit::OK } else { exit::CONFIG }
    }
}

/// A remedy whose commands use the same configuration and store as this one.
fn with_options(remedy: &str, global: &Global) -> String {
    let named = [("--config", &global.config), ("--store", &global.store)];
    let options = named.iter().filter_map(|(name, path)| Some(format!("{name} {} ", shell_quoted(path.as_ref()?))));
    let options: String = options.collect();
    ["store", "doctor", "config", "notify"].iter().fold(remedy.to_owned(), |remedy, command| {
        remedy.replace(&format!("cxnpoll {command} "), &format!("cxnpoll {options}{command} "))
    })
}

/// Checks the configuration, and returns whether it can be read.
fn check_config(context: &Context, findings: &mut Findings) -> bool {
    let config = Config::load(context.global.config.as_deref());
    let is_read = config.is_ok();
    if let Err(error) = config {
        let remedy = "correct the file, and see docs/configuration.md; `cxnpoll config init` writes a new one";
        let error = Error::from(error);
        let access = unreadable(&error).and_then(users::access_remedy);
        findings.add_error(Check::Config, error, access.as_deref().unwrap_or(remedy));
    }
    let config = &context.config;
    config_findings::find(context, &config.app_names(), findings);
    if findings.found.iter().all(|finding| finding.check != Check::NameServers) {
        for failure in check_each_name_server() {
            let remedy = "remove it from /etc/resolv.conf, or repair it: each lookup waits for it first";
            findings.add(Check::NameServers, failure.message, remedy);
        }
    }
    if let Some((file, metadata)) = config.file.as_ref().and_then(|file| Some((file, fs::metadata(file).ok()?))) {
        findings.check([Check::ConfigAccess]);
        let file = file.display();
        if metadata.mode() & 0o002 != 0 {
            let message = format!("all users may write {file}, and so choose programs that runs start");
            findings.add(Check::ConfigAccess, message, format!("protect it: chmod o-w {file}"));
        }
        if metadata.mode() & 0o004 != 0 && config.has_heartbeat() {
            let message = format!("all users may read {file}, which holds the heartbeat URL");
            findings.add(Check::ConfigAccess, message, format!("make it private: chmod o-r {file}"));
        } else if metadata.mode() & 0o004 != 0 && config.notify.as_ref().is_some_and(|table| table.webhook.is_some()) {
            let message = format!("all users may read {file}, which holds the URL of the webhook");
            findings.add(Check::ConfigAccess, message, format!("make it private: chmod o-r {file}"));
        }
    }
    is_read
}

/// Finds channels that do not accept their message.
fn find_undelivered(context: &Context, findings: &mut Findings) {
    let Ok(Some(store)) = context.existing_store(false) else { return };
    let notifier = Notifier::new(context.config.notify.as_ref(), &store);
    for (channel, at) in notifier.and_then(|notifier| notifier.undelivered().ok()).unwrap_or_default() {
        let (name, at) = (channel.name(), utc(at));
        let message = format!("the notification by {name} of {at} is not delivered yet");
        findings.add(Check::Notify, message, format!("see why: cxnpoll notify test --channel {name}"));
    }
}

/// Finds apps with connections whose sites get an empty certificate.
fn find_missing_certificates(context: &Context, with_cxns: &BTreeSet<AppId>, findings: &mut Findings) {
    let config = &context.config;
    for app_id in with_cxns {
        // A file that is empty or cannot be read is a finding already.
        let has_none = match config.app(app_id) {
            // A directory of the app without metadata is a finding already.
            Ok(None) => !config.app_names().iter().any(|name| name == app_id.short()),
            Ok(Some(app)) => app.app_cert.trim().is_empty() && config.certificate_file(app_id).is_none(),
            Err(_) => false,
        };
        if has_none {
            let message = format!("{app_id} has connections and no certificate, so that its sites get an empty one");
            let remedy = format!("name it in cxnpoll.toml: [apps.\"{}\"] and app-cert = \"FILE\"", app_id.short());
            findings.add(Check::Certificates, message, remedy);
        }
    }
}

/// Checks what starts runs, and the last run of each job.
fn check_schedule(context: &Context, parse: ParsePoll, is_config_read: bool, facts: &Facts, findings: &mut Findings) {
    let mut sources = Sources::default();
    cron::read(&mut sources);
    systemd::read(&mut sources);
    for (check, message, remedy) in std::mem::take(&mut sources.found) {
        findings.add(check, message, remedy);
    }
    for (check, reason) in std::mem::take(&mut sources.skipped) {
        findings.skip(check, reason);
    }
    let path = context.store_path().ok();
    let mut schedules = Schedules::with_broken(std::mem::take(&mut sources.broken), sources.has_unknown);
    let mut starts: Vec<_> = sources.entries.iter().flat_map(|entry| entry.starts(parse)).collect();
    starts.retain(|start| !files::is_elsewhere(start, path.as_deref(), findings) && !schedules.add_off(start));
    for start in &starts {
        files::check(start, &context.config, path.as_deref(), findings);
    }
    let is_switched_off =
        |app_id: &&AppId| context.config.app(app_id).is_ok_and(|app| app.is_some_and(|app| app.disabled));
    let stored = || facts.content.iter().flat_map(|content| content.apps.iter().map(|app| app.short().to_owned()));
    let apps: Vec<_> = context.config.app_names().into_iter().chain(stored()).collect();
    let are_all_known = is_config_read && (facts.content.is_some() || facts.owner.is_none());
    let with_cxns = facts.content.iter().flat_map(|content| &content.with_cxns);
    // Runs need not be root's because root made the store by mistake, which is a finding of the store.
    let owner = facts.owner.filter(|uid| *uid != 0 || users::current() == 0).map(users::name);
    let jobs: Vec<_> =
        facts.content.iter().flat_map(|content| content.jobs.iter().map(store::JobState::facts)).collect();
    let rule_facts = rules::Facts {
        apps: are_all_known.then_some(apps.as_slice()),
        polled: &with_cxns.filter(|app_id| !is_switched_off(app_id)).cloned().collect(),
        jobs: &jobs,
        owner: owner.as_deref(),
        program: &program(context),
        has_template: sources.has_template,
        max_workers: max_workers(),
        config: &context.config,
        now: context.started,
    };
    if sources.has_scheduler || !starts.is_empty() {
        rules::check_entries(&starts, &rule_facts, &mut schedules, findings);
        if facts.content.is_some() {
            rules::check_jobs(&schedules, &rule_facts, findings);
        } else {
            findings.skip(Check::Jobs, "the store, which has the jobs, cannot be read");
        }
    } else {
        findings.skip(Check::Jobs, "neither cron nor systemd is on this machine");
    }
    if let Some(content) = &facts.content {
        let runs = content.jobs.iter().filter(|state| rule_facts.polled.contains(&state.app));
        let runs: Vec<_> = runs
            .map(|state| LastRun { app: &state.app, job: &state.job, counts: &state.counts, active: &state.active })
            .collect();
        last_runs::check(&runs, &schedules, context.started, findings);
    }
}

/// The program with its whole path, since cron looks in few directories.
///
/// It names the configuration if that is in no usual place.
fn program(context: &Context) -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "cxnpoll".into());
    let file = context.config.file.as_ref().filter(|file| Config::default_file().as_ref() != Some(file));
    let config = file.map_or_else(String::new, |file| format!(" --config {}", shell_quoted(file)));
    format!("{}{config}", shell_quoted(&program))
}

impl store::JobState {
    /// What the rules of schedules need to know.
    fn facts(&self) -> Job {
        Job {
            app: self.app.clone(),
            name: self.job.name.clone(),
            retry: self.policy.clone(),
            last_run: self.job.last_run.as_ref().map(|run| run.now),
            codes: self.codes.clone(),
        }
    }
}

//! `cxnpoll config check`: whether the configuration is valid, and the machine has what runs need.

use clap::Args;
use serde_json::json;
use tracing::{error, warn};

use super::apps::{app, file};
use crate::cli::context::Context;
use crate::cli::error::{Error, ListenerProblem, Report, Result};
use crate::cli::ui::output;
use crate::cli::values;
use crate::config::Config;
use crate::exit;
use crate::listener::Action;
use crate::site::{check_authorities, check_name_servers};
use crate::store::ReadSession;
use crate::util::text::count;

/// Check the configuration, apps, certificates, listeners, CA certificates and name servers
///
/// Every listener program must be there and executable. The exit code is 78 if there is a problem; a warning does not change it.
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll config check --config /etc/cxnpoll/cxnpoll.toml")]
pub(in crate::cli) struct Check {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a check finds.
#[derive(Default)]
struct Findings {
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Check {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let config = &context.config;
        let names = config.app_names();
        let Findings { problems, warnings } = findings(context, &names);
        if self.json {
            let line = json!({"file": config.file, "apps": names.len(), "problems": problems, "warnings": warnings});
            output::json(&line);
        } else {
            for problem in &problems {
                error!("{problem}");
            }
            for warning in &warnings {
                warn!("{warning}");
            }
        }
        let file = file(config);
        if !problems.is_empty() {
            return Err(Error::ConfigProblems { count: problems.len(), file });
        }
        if !self.json {
            context.notify(&format!("{file} is valid: {}", count(names.len() as u64, "app")));
        }
        Ok(exit::OK)
    }
}

fn findings(context: &Context, names: &[String]) -> Findings {
    let config = &context.config;
    let mut findings = Findings::default();
    if let Some(directory) = config.apps_dir.as_ref().filter(|directory| !directory.is_dir()) {
        findings.problems.push(format!("apps-dir: there is no directory {}", directory.display()));
    }
    let message = |error: Error| Report::from(error).message;
    find_missing_trust(config, &mut findings);
    findings.problems.extend(check_name_servers().err().map(|failure| failure.message));
    findings.problems.extend(config.heartbeat(None).err().map(|error| message(error.into())));
    for name in names {
        match app(config, name) {
            Ok(app) => {
                let problems = config.certificate_problems(&app, context.started);
                findings.problems.extend(problems.iter().map(ToString::to_string));
                findings.warnings.extend(app.tls_warning());
            }
            Err(error) => findings.problems.push(message(error)),
        }
    }
    findings.problems.extend(context.store_path().err().map(message));
    for listener in context.listeners.iter() {
        if let Action::Program(program) = &listener.action {
            let event = &listener.event;
            let problem = |error| ListenerProblem::Program { event, error }.to_string();
            findings.problems.extend(program.problems().into_iter().map(problem));
        }
    }
    find_unknown_apps(context, names, &mut findings);
    findings
}

/// Finds a `ca-file` that cannot be used, and a machine without certificates of authorities.
fn find_missing_trust(config: &Config, findings: &mut Findings) {
    let missing = check_authorities().err().map(|failure| failure.message);
    match config.authorities() {
        // The file adds to those of the machine. An installation of its own may need no others.
        Ok(more) if !more.is_empty() => findings.warnings.extend(missing),
        Ok(_) => findings.problems.extend(missing),
        Err(error) => {
            findings.problems.push(Report::from(Error::from(error)).message);
            findings.problems.extend(missing);
        }
    }
}

/// Finds the listeners of apps that neither the configuration nor the store has.
fn find_unknown_apps(context: &Context, configured: &[String], findings: &mut Findings) {
    let events = context.listeners.iter().map(|listener| &listener.event);
    let of_apps = events.filter_map(|event| Some((event, event.job.as_ref()?.0.short())));
    let mut unknown: Vec<_> = of_apps.filter(|(_, app)| configured.iter().all(|name| name != app)).collect();
    if unknown.is_empty() {
        return;
    }
    let (stored, found) = match stored_apps(context) {
        Ok(stored) => (stored, &mut findings.problems),
        Err(error) => {
            let reason = Report::from(error).message;
            findings.warnings.push(format!("cannot read which apps the store has: {reason}"));
            (Vec::new(), &mut findings.warnings)
        }
    };
    unknown.retain(|(_, app)| stored.iter().all(|name| name != app));
    let names = [configured, &stored].concat();
    found.extend(unknown.into_iter().map(|(event, app)| {
        ListenerProblem::UnknownApp { event, suggestion: values::closest(app, &names) }.to_string()
    }));
}

/// The names of the apps that the store has, without `app:`; empty if there is no store.
fn stored_apps(context: &Context) -> Result<Vec<String>> {
    let Some(store) = context.existing_store(false)? else { return Ok(Vec::new()) };
    let apps = store.read(ReadSession::apps)?;
    Ok(apps.into_iter().map(|(_, app_id)| app_id.short().to_owned()).collect())
}

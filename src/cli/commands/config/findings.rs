//! What is wrong with the configuration, or missing on this machine.

use std::path::Path;

use super::apps::{app, job_table};
use super::notify;
use super::programs::program_remedy;
use super::registration;
use crate::cli::commands::findings::{Check, Findings, unreadable};
use crate::cli::commands::users;
use crate::cli::context::Context;
use crate::cli::error::{Error, ListenerProblem, Report, Result};
use crate::cli::values;
use crate::config::{CertificateDefect, CertificateProblem, Config, Error as ConfigError};
use crate::listener::{Action, EventName};
use crate::model::{AppId, JobName};
use crate::site::{check_authorities, check_name_servers};
use crate::store::ReadSession;
use crate::util::text::shell_quoted;

const CORRECT_FILE: &str = "correct the configuration; `cxnpoll config show` prints what is in effect";
const NAME_CA_FILE: &str = "name a PEM file of CA certificates as `ca-file`, or remove the key";
const INSTALL_AUTHORITIES: &str = "install the CA certificates: apt-get install ca-certificates";
const CORRECT_NAME_SERVERS: &str = "name a server that answers in /etc/resolv.conf, and try: getent hosts example.org";

/// Checks the configuration, and what runs need of the machine.
pub(in crate::cli) fn find(context: &Context, names: &[String], findings: &mut Findings) {
    use Check as C;
    let config = &context.config;
    findings.check([C::Config, C::Heartbeat, C::Certificates, C::Listeners, C::Authorities, C::NameServers]);
    if let Some(directory) = &config.apps_dir {
        if let Some(remedy) = users::access_remedy(directory) {
            findings.add(C::Config, format!("apps-dir: {} cannot be read", directory.display()), remedy);
        } else if !directory.is_dir() {
            let message = format!("apps-dir: there is no directory {}", directory.display());
            findings.add(C::Config, message, "name the directory that has one directory per app, or remove the key");
        }
    }
    find_missing_trust(config, findings);
    if let Err(failure) = check_name_servers() {
        let access = users::access_remedy(Path::new("/etc/resolv.conf"));
        findings.add(C::NameServers, failure.message, access.as_deref().unwrap_or(CORRECT_NAME_SERVERS));
    }
    if let Err(error) = config.heartbeat(None) {
        findings.add_error(C::Heartbeat, Error::from(error), "write the whole URL, with https://");
    }
    if let Err(error) = config.backup_recipients(&[]) {
        findings.add_error(C::Config, error, CORRECT_FILE);
    }
    notify::find(config, findings);
    for name in names {
        match app(config, name) {
            Ok(app) => {
                for problem in config.certificate_problems(&app, context.started) {
                    findings.add(C::Certificates, problem.to_string(), certificate_remedy(config, &problem));
                }
                if let Some(warning) = app.tls_warning() {
                    findings.note(C::Config, warning);
                }
            }
            Err(error @ Error::Config(ConfigError::NoCertificate { .. })) => {
                findings.add_error(C::Certificates, error, "put the certificate there, or correct `app-cert`");
            }
            Err(error @ Error::NoAppMetadata(_)) => {
                let dir = config.apps_dir.iter().map(|dir| dir.join(name)).next().unwrap_or_default();
                let dir = shell_quoted(&dir);
                let remedy =
                    format!("put the metadata.json of cxnapp into {dir}, or remove the directory: rm -r {dir}");
                findings.add_error(C::Config, error, &remedy);
            }
            Err(error) => {
                let remedy = unreadable(&error).and_then(users::access_remedy);
                findings.add_error(C::Config, error, remedy.as_deref().unwrap_or(CORRECT_FILE));
            }
        }
    }
    registration::find(context, names, findings);
    if let Err(error) = context.store_path() {
        findings.add_error(C::Store, error, CORRECT_FILE);
    }
    for listener in context.listeners.iter() {
        if let Action::Program(program) = &listener.action {
            let event = &listener.event;
            for error in program.problems() {
                let remedy = program_remedy(&error.path, "program");
                findings.add(C::Listeners, ListenerProblem::Program { event, error }.to_string(), remedy);
            }
        }
    }
    find_unknown_apps(context, names, findings);
}

/// What to do about a certificate.
fn certificate_remedy(config: &Config, problem: &CertificateProblem) -> String {
    let file = config.certificate_file(&problem.app_id);
    let file = file.map_or("its file".to_owned(), |file| file.display().to_string());
    match problem.defect {
        CertificateDefect::Empty { .. } | CertificateDefect::Unreadable => {
            format!("put the certificate of {}, X.509 in PEM, into {file}", problem.app_id)
        }
        CertificateDefect::NotYetValid { .. } => {
            format!("check the clock with `date -u`; if it is right, put a certificate that is valid now into {file}")
        }
        CertificateDefect::Expired { .. } | CertificateDefect::ExpiresSoon { .. } => {
            format!("get a new certificate from the authority that issued it, and replace {file}")
        }
        CertificateDefect::OtherApp { .. } => format!("replace {file} by the certificate of {}", problem.app_id),
    }
}

/// Finds a `ca-file` that cannot be used, and a machine without certificates of authorities.
fn find_missing_trust(config: &Config, findings: &mut Findings) {
    let missing = check_authorities().err().map(|failure| failure.message);
    let more = config.authorities();
    let has_more = more.as_ref().is_ok_and(|more| !more.is_empty());
    if let Err(error) = more {
        let error = Error::from(error);
        let remedy = unreadable(&error).and_then(users::access_remedy);
        findings.add_error(Check::Authorities, error, remedy.as_deref().unwrap_or(NAME_CA_FILE));
    }
    match missing {
        // The file adds to those of the machine. An installation of its own may need no others.
        Some(missing) if has_more => findings.note(Check::Authorities, missing),
        Some(missing) => findings.add(Check::Authorities, missing, INSTALL_AUTHORITIES),
        None => {}
    }
}

/// Finds the listeners and the tables of jobs of apps that neither the configuration nor the store has.
fn find_unknown_apps(context: &Context, configured: &[String], findings: &mut Findings) {
    let events = context.listeners.iter().map(|listener| &listener.event);
    let of_listeners = events.filter_map(|event| Some((event.app.as_ref()?.short(), Mention::Listener(event))));
    let of_jobs = context.config.jobs.keys().map(|(app, name)| (app.short(), Mention::Job(app, name)));
    let mut unknown: Vec<_> =
        of_listeners.chain(of_jobs).filter(|(app, _)| configured.iter().all(|name| name != app)).collect();
    let Some((_, first)) = unknown.first() else { return };
    let stored = stored_apps(context);
    if let Err(error) = &stored {
        findings.note(first.check(), format!("cannot read which apps the store has: {}", error.message));
    }
    let is_known = stored.is_ok();
    let stored = stored.unwrap_or_default();
    unknown.retain(|(app, _)| stored.iter().all(|name| name != app));
    let names = [configured, &stored].concat();
    for (app, place) in unknown {
        let suggestion = values::closest(app, &names);
        let (text, key) = match place {
            Mention::Listener(event) => (ListenerProblem::UnknownApp { event, suggestion }.to_string(), "`event`"),
            Mention::Job(app, name) => {
                let similar = suggestion.map_or_else(String::new, |name| format!("; did you mean {name}?"));
                let table = job_table(&context.config, app, name);
                (format!("{table} is never used: there is no such app{similar}"), "the id")
            }
        };
        if is_known {
            findings.add(place.check(), text, format!("correct {key}, or import connections of the app"));
        } else {
            findings.note(place.check(), text);
        }
    }
}

/// What names an app in the configuration.
#[derive(Clone, Copy)]
enum Mention<'a> {
    Listener(&'a EventName),
    Job(&'a AppId, &'a JobName),
}

impl Mention<'_> {
    fn check(self) -> Check {
        match self {
            Self::Listener(_) => Check::Listeners,
            Self::Job(..) => Check::Config,
        }
    }
}

/// The names of the apps that the store has, without `app:`; empty if there is no store.
fn stored_apps(context: &Context) -> Result<Vec<String>, Report> {
    let Some(store) = context.existing_store(false)? else { return Ok(Vec::new()) };
    let apps = store.read(ReadSession::apps)?;
    Ok(apps.into_iter().map(|(_, app_id)| app_id.short().to_owned()).collect())
}

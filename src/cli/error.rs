//! Turns every error into what the user gets: a message, a hint where one helps, and the exit code.
//!
//! Messages are lower-case fragments without a full stop; hints are imperatives.

mod backlog;
mod config;
mod edit;
mod file;
mod import;
mod listener;
pub(in crate::cli) mod notify;
mod outage;
mod registration;
mod report;
mod results;
mod run;
mod store;
#[cfg(test)]
mod tests;
mod transfer;

use std::io;
use std::path::PathBuf;

use crate::config::Error as ConfigError;
use crate::exit;
use crate::listener::{Error as ListenerError, InvalidListener};
use crate::model::{AppId, CxnId, Failure, FailureClass, InvalidId, JobName, UnixTime};
use crate::registration::Error as RegistrationError;
use crate::retry::InvalidRetry;
use crate::run::Error as RunError;
use crate::store::{Error as StoreError, Skipped};
use crate::transfer::Error as TransferError;
use crate::util::text::count;
use crate::util::time::rfc3339;

pub(in crate::cli) use backlog::{backlog_text, stop_text};
pub(in crate::cli) use config::hide_urls;
pub(in crate::cli) use edit::EditError;
pub(in crate::cli) use import::{Excess, RejectedLines, Rest, Spared};
pub(in crate::cli) use listener::ListenerProblem;
pub(in crate::cli) use outage::outage_text;
pub(in crate::cli) use report::{ALLOW_OWN_NETWORK, Report, argument};
pub(in crate::cli) use results::ResultsProblem;
pub(in crate::cli) use transfer::{Named, bad_backup};

/// What can go wrong in a command.
#[derive(Debug)]
pub(in crate::cli) enum Error {
    /// Neither the store nor the configuration has this app.
    UnknownApp {
        /// The requested app.
        app_id: AppId,
        /// A similar known name.
        suggestion: Option<String>,
    },
    /// The store has no such connection; this is the text that was given.
    UnknownCxn(String),
    /// The store has no job of this name.
    UnknownJob(JobName),
    /// An option gives a time from which on a command looks, which is not before the current time.
    NotBefore {
        /// The option: `--since`.
        option: &'static str,
        /// Its time.
        at: UnixTime,
        /// The current time, or that of `--now`.
        now: UnixTime,
    },
    /// The connection belongs to another app than the one that was given.
    OtherApp {
        /// The connection.
        cxn_id: CxnId,
        /// The app that it belongs to.
        app_id: AppId,
        /// The app that was given.
        expected: AppId,
    },
    /// A command that changes connections was given neither connections, nor a filter, nor `--all`.
    NoCxnSelected {
        /// What the command does to connections: `remove`.
        verb: &'static str,
    },
    /// A change needs a confirmation, and there is no terminal to ask at.
    Unconfirmed {
        /// What would be done: `remove 7 connections`.
        action: String,
        /// What confirms it, as a hint.
        hint: &'static str,
    },
    /// `results` cannot do what it was asked for.
    Results(ResultsProblem),
    /// The directory holds no backup of the store that is not from the future.
    NoBackup {
        /// The directory.
        dir: PathBuf,
        /// The number of backups from the future.
        future: usize,
    },
    /// An import rejected lines.
    RejectedLines(RejectedLines),
    /// An import was given an input without a record: this file, or standard input.
    EmptyInput(Option<PathBuf>),
    /// `import --prune` was given an input without connections.
    EmptyPrune,
    /// `import --prune` would remove more connections of these apps than it may.
    PruneOverLimit(Vec<Excess>),
    /// The input file of an import cannot be read.
    InputFile {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Standard input cannot be read.
    Stdin(io::Error),
    /// The temporary file of an import cannot be written or read.
    Spool {
        /// The directory of temporary files.
        dir: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The output file of an export cannot be written.
    OutputFile {
        /// The file.
        path: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
    /// The output file of an export exists.
    OutputExists(PathBuf),
    /// A file of a new key exists.
    KeyExists(PathBuf),
    /// An app has no private key.
    NoKey(AppId),
    /// The key of an app, or what it signs, cannot be made.
    KeyNotMade(io::Error),
    /// The output file of an export has the name of something else.
    NotAFile {
        /// The text that was given.
        text: String,
        /// What has this name.
        named: Named,
    },
    /// The output file of an export has the name of a compressed file.
    NotCompressed(PathBuf),
    /// A path cannot be written to a configuration file.
    PathNotUtf8(PathBuf),
    /// The directory for the store of the demo has entries.
    DemoDirNotEmpty(PathBuf),
    /// The temporary directory of the demo cannot be made.
    DemoDir {
        /// The directory of temporary files.
        dir: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The store of the demo cannot be made.
    DemoStore(StoreError),
    /// The simulated sites of the demo cannot be served.
    DemoServer(io::Error),
    /// An export would print secrets to a terminal.
    SecretsAtTerminal,
    /// Another command is writing a backup of the store.
    BackupInProgress,
    /// A compaction would remove what cannot be read.
    NotCompacted,
    /// The one site that a command is about failed.
    SiteFailed {
        /// The connection.
        cxn_id: CxnId,
        /// How it failed.
        failure: Failure,
    },
    /// An app's name in the configuration cannot be an app id.
    InvalidAppName {
        /// The name.
        name: String,
        /// Why.
        error: InvalidId,
    },
    /// The configuration names an app without metadata.
    NoAppMetadata(String),
    /// `config check` found problems, and has printed them.
    ConfigProblems {
        /// How many.
        count: usize,
        /// The file, or a phrase for none.
        file: String,
    },
    /// The retry expression that the store holds for a job cannot be read.
    StoredRetry(InvalidRetry),
    /// There is no such directory to write to.
    NoDirectory(PathBuf),
    /// There is no such command to describe.
    UnknownCommand(String),
    /// The log file cannot be opened.
    LogFile {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Standard output cannot be written.
    Stdout(io::Error),
    /// The question cannot be asked at the terminal.
    Prompt(io::Error),
    /// A manual page cannot be written.
    ManualPage(io::Error),
    /// The signal handlers cannot be installed.
    Signals(io::Error),
    /// An error that is turned into a report already.
    Reported(Report),
    /// The program panicked, with this message.
    Panic(String),
    /// The command skipped these entries of the store, because they cannot be read.
    Skipped(Vec<Skipped>),
    /// A connection is not changed.
    Edit(EditError),
    /// An error of the store.
    Store(StoreError),
    /// An error of the configuration.
    Config(ConfigError),
    /// An error of the transfer of connections.
    Transfer(TransferError),
    /// An error of a listener.
    Listener(ListenerError),
    /// A listener of the program that embeds this library cannot be added.
    InvalidListener(InvalidListener),
    /// An error of a run.
    Run(RunError),
    /// A fault on this side, while a registration was answered.
    Registration(RegistrationError),
}

/// The result of a command.
pub(in crate::cli) type Result<T, E = Error> = std::result::Result<T, E>;

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<TransferError> for Error {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

impl From<ListenerError> for Error {
    fn from(error: ListenerError) -> Self {
        Self::Listener(error)
    }
}

impl From<InvalidListener> for Error {
    fn from(error: InvalidListener) -> Self {
        Self::InvalidListener(error)
    }
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

impl From<Error> for Report {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownApp { app_id, suggestion } => unknown_app(&app_id, suggestion),
            Error::UnknownCxn(text) => Self::not_found(format!("there is no connection {text}"))
                .hint("list the connections with `cxnpoll get`"),
            Error::UnknownJob(name) => {
                Self::not_found(format!("there is no job {name}")).hint("list the jobs with `cxnpoll status`")
            }
            Error::NotBefore { option, at, now } => {
                Self::usage(format!("{option} is {}, and the current time is {}", rfc3339(at), rfc3339(now)))
                    .hint(format!("give {option} an earlier time, or --now a later one"))
            }
            Error::OtherApp { cxn_id, app_id, expected } => {
                Self::not_found(format!("{cxn_id} is a connection of {app_id}, not of {expected}"))
            }
            Error::Results(problem) => problem.into(),
            Error::NoBackup { dir, future: 0 } => {
                Self::not_found(format!("there is no backup in {}", dir.display())).hint("name a backup file")
            }
            Error::NoBackup { dir, future: _ } => {
                Self::not_found(format!("{} has only backups from the future", dir.display()))
                    .hint("correct the clock, or name a backup file")
            }
            Error::NoDirectory(path) => Self::not_found(format!("there is no directory {}", path.display())),
            Error::InputFile { path, error } => Self::not_found(format!("cannot read {}: {error}", path.display())),
            Error::OutputFile { path, kind } => transfer::output_file(&path, kind),
            Error::OutputExists(path) => Self::usage(format!("{} exists; nothing was written", path.display()))
                .hint("replace it with --force, or name another file"),
            Error::KeyExists(path) => Self::usage(format!("{} exists; nothing was written", path.display())).hint(
                "name another directory with --dir, or make a request for the key: cxnpoll config app-keys request",
            ),
            Error::KeyNotMade(error) => Self::cannot("make the key or its request", &error),
            Error::NoKey(app_id) => Self::config(format!("{app_id} has no private key"))
                .hint(format!("make one: cxnpoll config app-keys create {}", app_id.short())),
            Error::NotAFile { text, named } => transfer::not_a_file(&text, named),
            Error::NotCompressed(path) => Self::usage(format!(
                "an export is not compressed, and {} would be; nothing was written",
                path.display()
            ))
            .hint("compress it with `cxnpoll export --format … | gzip`"),
            Error::PathNotUtf8(path) => {
                Self::usage(format!("{} is not UTF-8, as paths in a configuration file must be", path.display()))
            }
            Error::DemoDirNotEmpty(path) => {
                Self::usage(format!("{} is not empty; nothing was changed", path.display()))
                    .hint("name a directory that is empty or does not exist yet, or use --keep without one")
            }
            Error::DemoDir { dir, error } => file::temp_dir(&dir, &error),
            Error::DemoStore(error) => store::demo(error),
            Error::DemoServer(error) => Self::cannot("serve simulated sites on 127.0.0.1", &error),
            Error::NoCxnSelected { verb } => Self::usage(format!("no connections selected to {verb}"))
                .hint("name connections, filter them (--state, --app, --url, …), or use --all"),
            Error::Unconfirmed { action, hint } => {
                Self::usage(format!("refusing to {action} without asking; nothing was changed")).hint(hint)
            }
            Error::SecretsAtTerminal => Self::usage("an export has secrets, which a terminal should not show")
                .hint("name a file, or use --redact or --with-secrets"),
            Error::UnknownCommand(name) => {
                Self::usage(format!("there is no command {name}")).hint("list the commands with `cxnpoll help`")
            }
            Error::InvalidAppName { name, error } => Self::config(format!("app '{name}': {error}")),
            Error::NoAppMetadata(name) => Self::config(format!("app '{name}': there is no metadata.json")),
            Error::ConfigProblems { count, file } => Self::config(config_problems(count, &file)),
            Error::LogFile { path, error } => Self::config(format!("cannot write the log {}: {error}", path.display()))
                .hint("name a file in a directory that exists and that other users cannot write to"),
            Error::Stdin(error) => Self::cannot("read standard input", &error),
            Error::Stdout(error) => Self::new(exit::OUTPUT, format!("cannot write to standard output: {error}")),
            Error::Spool { dir, error } => import::spool(&dir, &error),
            Error::Prompt(error) => Self::cannot("ask at the terminal", &error),
            Error::ManualPage(error) => Self::new(exit::OUTPUT, format!("cannot write the manual page: {error}")),
            Error::Signals(error) => Self::cannot("handle signals", &error),
            Error::Reported(report) => report,
            Error::Panic(message) => panicked(&message),
            Error::RejectedLines(lines) => lines.into(),
            Error::EmptyInput(path) => import::empty(path.as_deref()),
            Error::EmptyPrune => Self::new(exit::BAD_DATA, "the input has no connections, so --prune would remove all")
                .hint("remove all connections of an app with `cxnpoll remove --app APP`"),
            Error::PruneOverLimit(excess) => import::prune_over_limit(&excess),
            Error::BackupInProgress => Self::new(exit::DECLINED, "another command is writing a backup of this store"),
            Error::SiteFailed { cxn_id, failure } => {
                let report = Self::new(exit::SITE_FAILED, format!("{cxn_id} failed: {failure}"));
                if failure.class == FailureClass::Blocked { report.hint(ALLOW_OWN_NETWORK) } else { report }
            }
            Error::StoredRetry(error) => stored_retry(&error),
            Error::NotCompacted => {
                Self::new(exit::STORE, "nothing was compacted, because that would remove these records")
            }
            Error::Skipped(entries) => store::skipped(&entries),
            Error::Edit(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Config(error) => error.into(),
            Error::Transfer(error) => error.into(),
            Error::Listener(error) => error.into(),
            Error::InvalidListener(error) => error.into(),
            Error::Run(error) => error.into(),
            Error::Registration(error) => error.into(),
        }
    }
}

fn unknown_app(app_id: &AppId, suggestion: Option<String>) -> Report {
    let hint = suggestion.map_or_else(
        || "list the apps of the store with `cxnpoll status`; the configuration may name others".to_owned(),
        |name| format!("did you mean {name}?"),
    );
    Report::not_found(format!("there is no app {app_id}")).hint(hint)
}

fn config_problems(problems: usize, file: &str) -> String {
    format!("{} in {file}", count(problems as u64, "problem"))
}

fn panicked(message: &str) -> Report {
    Report::new(exit::INTERNAL, format!("this is a bug: {message}"))
        .hint("repeat the command with --log-file to record where it failed; everything recorded so far is kept")
}

fn stored_retry(error: &InvalidRetry) -> Report {
    Report::new(exit::STORE, format!("cannot read the job's stored retry expression: {error}"))
}

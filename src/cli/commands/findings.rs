//! What `doctor` and `config check` find.

use std::collections::BTreeSet;
use std::path::Path;

use crate::cli::error::{Error, Report};
use crate::config::Error as ConfigError;

/// What is checked. The order is that of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) enum Check {
    Config,
    ConfigAccess,
    Heartbeat,
    Notify,
    Certificates,
    Registration,
    Listeners,
    Authorities,
    NameServers,
    Clock,
    Store,
    StoreAccess,
    Records,
    Space,
    Backups,
    OpenFiles,
    Processes,
    Memory,
    TempDir,
    DevNull,
    Entries,
    EntryFiles,
    Jobs,
    LastRuns,
}

impl Check {
    /// All checks.
    pub(in crate::cli) const ALL: [Self; 24] = [
        Self::Config,
        Self::ConfigAccess,
        Self::Heartbeat,
        Self::Notify,
        Self::Certificates,
        Self::Registration,
        Self::Listeners,
        Self::Authorities,
        Self::NameServers,
        Self::Clock,
        Self::Store,
        Self::StoreAccess,
        Self::Records,
        Self::Space,
        Self::Backups,
        Self::OpenFiles,
        Self::Processes,
        Self::Memory,
        Self::TempDir,
        Self::DevNull,
        Self::Entries,
        Self::EntryFiles,
        Self::Jobs,
        Self::LastRuns,
    ];

    /// The name in the report and in JSON.
    pub(in crate::cli) fn id(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::ConfigAccess => "config-access",
            Self::Heartbeat => "heartbeat",
            Self::Notify => "notify",
            Self::Certificates => "certificates",
            Self::Registration => "registration",
            Self::Listeners => "listeners",
            Self::Authorities => "authorities",
            Self::NameServers => "name-servers",
            Self::Clock => "clock",
            Self::Store => "store",
            Self::StoreAccess => "store-access",
            Self::Records => "records",
            Self::Space => "space",
            Self::Backups => "backups",
            Self::OpenFiles => "open-files",
            Self::Processes => "processes",
            Self::Memory => "memory",
            Self::TempDir => "temp-dir",
            Self::DevNull => "dev-null",
            Self::Entries => "entries",
            Self::EntryFiles => "entry-files",
            Self::Jobs => "jobs",
            Self::LastRuns => "last-runs",
        }
    }
}

/// Something that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Finding {
    pub(in crate::cli) check: Check,
    /// A fragment, as that of an error.
    pub(in crate::cli) message: String,
    /// An imperative, as the hint of an error.
    pub(in crate::cli) remedy: String,
}

/// The results of checks.
#[derive(Debug, Default)]
pub(in crate::cli) struct Findings {
    pub(in crate::cli) found: Vec<Finding>,
    /// What deserves to be known, and is not wrong.
    pub(in crate::cli) notes: Vec<(Check, String)>,
    /// What was checked, at least in part.
    pub(in crate::cli) checked: BTreeSet<Check>,
    /// What could not be checked, and why not.
    pub(in crate::cli) skipped: Vec<(Check, String)>,
}

impl Findings {
    /// Notes that these checks are made.
    pub(in crate::cli) fn check(&mut self, checks: impl IntoIterator<Item = Check>) {
        self.checked.extend(checks);
    }

    /// Adds something that is wrong.
    pub(in crate::cli) fn add(&mut self, check: Check, message: impl Into<String>, remedy: impl Into<String>) {
        self.checked.insert(check);
        self.found.push(Finding { check, message: message.into(), remedy: remedy.into() });
    }

    /// Adds an error; `remedy` is what to do if it has no hint.
    pub(in crate::cli) fn add_error(&mut self, check: Check, error: impl Into<Report>, remedy: &str) {
        let Report { message, hint, .. } = error.into();
        self.add(check, message, hint.unwrap_or_else(|| remedy.to_owned()));
    }

    /// Adds what deserves to be known.
    pub(in crate::cli) fn note(&mut self, check: Check, message: impl Into<String>) {
        self.checked.insert(check);
        self.notes.push((check, message.into()));
    }

    /// Adds what could not be checked.
    pub(in crate::cli) fn skip(&mut self, check: Check, reason: impl Into<String>) {
        self.skipped.push((check, reason.into()));
    }
}

/// The file that an error could not read; `None` for other errors.
pub(in crate::cli) fn unreadable(error: &Error) -> Option<&Path> {
    match error {
        Error::Config(ConfigError::File(error)) => Some(&error.path),
        Error::Config(ConfigError::UnreadableAuthorities { path, .. }) => Some(path),
        _ => None,
    }
}

#[cfg(test)]
impl Findings {
    /// The checks with a finding, in the order in which they were found.
    pub(in crate::cli) fn ids(&self) -> Vec<&'static str> {
        self.found.iter().map(|finding| finding.check.id()).collect()
    }
}

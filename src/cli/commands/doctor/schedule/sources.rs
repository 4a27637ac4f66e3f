//! What the crontabs and the timers of this machine hold.

use super::entry::Entry;
use crate::cli::commands::findings::Check;

/// The entries that start this program, and what is wrong with the files that hold them.
#[derive(Default)]
pub(in super::super) struct Sources {
    pub(in super::super) entries: Vec<Entry>,
    /// Whether cron or systemd is on this machine.
    pub(in super::super) has_scheduler: bool,
    /// Whether the template of a systemd timer is installed.
    pub(in super::super) has_template: bool,
    /// Whether something may start runs that could not be read.
    pub(in super::super) has_unknown: bool,
    /// Lines that cron cannot read.
    pub(in super::super) broken: Vec<String>,
    /// What is wrong: the check, the message, the remedy.
    pub(in super::super) found: Vec<(Check, String, String)>,
    /// What could not be read.
    pub(in super::super) skipped: Vec<(Check, String)>,
}

impl Sources {
    pub(super) fn add(&mut self, check: Check, message: impl Into<String>, remedy: impl Into<String>) {
        self.found.push((check, message.into(), remedy.into()));
    }

    pub(super) fn skip(&mut self, check: Check, reason: impl Into<String>) {
        self.skipped.push((check, reason.into()));
    }

    /// Adds something that could not be read, and may start runs.
    pub(super) fn skip_jobs(&mut self, check: Check, reason: impl Into<String>) {
        self.has_unknown = true;
        self.skip(check, reason);
    }
}

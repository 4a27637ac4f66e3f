//! Something that starts a run, and what is in it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::calendar::Gaps;
use super::sandbox::Sandbox;
use super::shell::{self, Simple};
use crate::cli::commands::poll::Poll;
use crate::cli::context::Global;
use crate::cli::error::hide_urls;

/// Parses the arguments of a run; `None` if they are of another command.
pub(in crate::cli) type ParsePoll = fn(Vec<OsString>) -> Result<Option<(Global, Poll)>, clap::Error>;

/// A command that cron or systemd starts.
///
/// It has no `Debug`, because its variables may be secret.
#[derive(Clone)]
pub(in super::super) struct Entry {
    /// Where it is, for a message: `line 3 of /etc/crontab`.
    pub(super) place: String,
    /// How to change it: `crontab -e`.
    pub(super) edit: String,
    /// The user that it runs as; `None` if that is not known.
    pub(super) user: Option<String>,
    /// Why it starts nothing, or only once; `None` if it starts again and again.
    pub(super) off: Option<Off>,
    /// The times between two starts; `None` if they are not known.
    pub(super) gaps: Option<Gaps>,
    /// The variables that are set for it.
    pub(super) variables: BTreeMap<String, String>,
    /// The directories in which its program is looked up.
    pub(super) path: String,
    /// What it may write.
    pub(super) sandbox: Sandbox,
    /// A file with variables that this user may not read; `None` if all were read.
    pub(super) unread: Option<PathBuf>,
    /// Its commands.
    pub(super) commands: Vec<Simple>,
}

/// Why an entry does not start again and again.
#[derive(Clone)]
pub(super) struct Off {
    /// Completes the name of the entry: `is masked`.
    pub(super) reason: &'static str,
    pub(super) remedy: String,
}

/// A run that an entry starts.
pub(in super::super) struct Start<'a> {
    pub(super) entry: &'a Entry,
    /// The user that it runs as; `None` if that is not known.
    pub(super) user: Option<String>,
    /// The program as the entry names it.
    pub(super) program: String,
    /// The files that its output is redirected to.
    pub(super) outputs: &'a [String],
    /// The variables that are set for it.
    pub(super) variables: BTreeMap<String, String>,
    /// Its options.
    pub(super) run: Run,
}

/// The options of a run in an entry.
pub(super) enum Run {
    /// They are valid.
    Poll(Box<(Global, Poll)>),
    /// They are not, and this is why. The words may still name the app.
    Invalid { reason: String, words: Vec<String> },
    /// They depend on variables whose values are not known.
    Unknown,
}

impl Entry {
    /// Finds the runs that the entry starts.
    pub(in super::super) fn starts(&self, parse: ParsePoll) -> impl Iterator<Item = Start<'_>> {
        self.commands.iter().filter_map(move |command| self.start(command, parse))
    }

    fn start<'a>(&'a self, command: &'a Simple, parse: ParsePoll) -> Option<Start<'a>> {
        let mut variables = self.variables.clone();
        variables.extend(shell::assignments(&command.words));
        let words = shell::expand(command.words.clone(), &variables);
        let words = shell::invocation(&words)?;
        let is_open = words.iter().any(|word| word.contains(['$', '`']));
        let run = match parse(words.iter().map(OsString::from).collect()) {
            _ if self.unread.is_some() => Run::Unknown,
            Ok(Some((_, poll))) if [poll.app.short(), poll.name.as_str()].iter().any(|name| name.contains('$')) => {
                Run::Unknown
            }
            Ok(parsed) => Run::Poll(Box::new(parsed?)),
            Err(error) if !error.use_stderr() => return None,
            Err(_) if is_open => Run::Unknown,
            Err(error) => Run::Invalid { reason: first_line(&error), words: words.to_vec() },
        };
        let user = shell::other_user(&self.commands).unwrap_or_else(|| self.user.clone());
        Some(Start { entry: self, user, program: words[0].clone(), outputs: &command.outputs, variables, run })
    }
}

/// The message of the parser, without the usage below it.
fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    hide_urls(lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: "))
}

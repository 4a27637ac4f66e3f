//! A listener as the configuration file defines it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::listener::{Action, Call, EventName, Listener, Phase, Program};
use crate::retry::duration::TimeLimit;
use crate::util::home;

/// A table `[[listeners]]` whose keys go together.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "RawTable")]
pub struct ListenerTable(RawTable);

/// The keys of a table, before they are checked.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawTable {
    event: EventName,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    stop: bool,
    calls: Option<Vec<Call>>,
    keep: Option<bool>,
    program: Option<Vec<String>>,
    reuse: Option<bool>,
    timeout: Option<TimeLimit>,
    #[serde(default, deserialize_with = "home::deserialize")]
    folder: Option<PathBuf>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

/// How long a program may take for one event, unless `timeout` is set.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// The same where a web server waits for the answer: most of them wait for a minute.
const DEFAULT_REGISTRATION_TIMEOUT: Duration = Duration::from_secs(20);

/// Why the keys of a table do not go together.
///
/// serde needs the text, which becomes part of a TOML error with its line.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableProblem {
    #[error("expected either `calls` or `program`")]
    NoAction,
    #[error("`calls` is empty")]
    NoCalls,
    #[error("`reuse`, `timeout`, `folder` and `env` are for a listener with `program`")]
    ProgramKeys,
    #[error("{0} has no site that could be called: expected `program`")]
    NoSite(EventName),
    #[error("`program` is empty: expected a list such as [\"python3\", \"listener.py\"]")]
    NoProgram,
    #[error("`keep` is for a listener with `calls`: a program chooses itself what is kept")]
    KeepOfProgram,
}

impl TryFrom<RawTable> for ListenerTable {
    type Error = TableProblem;

    fn try_from(table: RawTable) -> Result<Self, TableProblem> {
        let of_programs =
            table.reuse.is_some() || table.timeout.is_some() || table.folder.is_some() || !table.env.is_empty();
        match (&table.calls, &table.program) {
            (Some(_), Some(_)) | (None, None) => Err(TableProblem::NoAction),
            (Some(calls), None) if calls.is_empty() => Err(TableProblem::NoCalls),
            (Some(_), None) if of_programs => Err(TableProblem::ProgramKeys),
            (Some(_), None) if table.event.phase != Phase::Poll => Err(TableProblem::NoSite(table.event)),
            (None, Some(command)) if command.first().is_none_or(String::is_empty) => Err(TableProblem::NoProgram),
            (None, Some(_)) if table.keep.is_some() => Err(TableProblem::KeepOfProgram),
            _ => Ok(Self(table)),
        }
    }
}

impl ListenerTable {
    /// Makes the listener of the table. Paths of a program are relative to `base`.
    pub(super) fn listener(&self, base: &Path) -> Listener {
        let table = self.0.clone();
        let action = if let Some(calls) = table.calls {
            Action::Calls { calls, keep: table.keep.unwrap_or(false) }
        } else {
            let default_timeout = match table.event.phase {
                Phase::Register | Phase::Unregister => DEFAULT_REGISTRATION_TIMEOUT,
                Phase::PrePoll | Phase::Poll | Phase::PostPoll => DEFAULT_TIMEOUT,
            };
            let program = Program {
                command: table.program.unwrap_or_default(),
                directory: table.folder.unwrap_or_default(),
                env: table.env,
                reuse: table.reuse.unwrap_or(false),
                timeout: table.timeout.map_or(default_timeout, |limit| limit.0),
                ..Program::default()
            };
            Action::Program(program.in_directory_of(base))
        };
        Listener { event: table.event, priority: table.priority, stop: table.stop, action }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_web_server_waits_less_long_than_a_run() {
        for (event, expected) in [("civi_cxn.poll", 120), ("civi_cxn.register", 20), ("civi_cxn.unregister", 20)] {
            let text = format!("[[listeners]]\nevent = \"{event}\"\nprogram = [\"./x\"]");
            let config = Config::parse(&text, Path::new("")).unwrap();
            let Action::Program(program) = config.listeners[0].listener(Path::new("")).action else { panic!() };
            assert_eq!(program.timeout.as_secs(), expected, "{event}");
        }
    }

    #[test]
    fn keys_that_do_not_go_together_are_reported_with_their_line() {
        let parse = |text: &str| Config::parse(&format!("[[listeners]]\n{text}"), Path::new(""));
        let poll = "event = \"civi_cxn.poll\"\n";
        assert!(parse(&format!("{poll}calls = [{{ api = \"System.get\" }}]\nkeep = true")).is_ok());
        assert!(parse(&format!("{poll}program = [\"./x\"]\nreuse = true\ntimeout = 0.5")).is_ok());
        assert!(parse(&format!("{poll}program = [\"./x\"]\ntimeout = \"2m\"")).is_ok());
        for (bad, expected) in [
            (poll.to_owned(), "either `calls` or `program`"),
            ("event = \"civi_cxn.pol\"".to_owned(), "unknown name 'pol'"),
            (format!("{poll}calls = []"), "`calls` is empty"),
            (format!("{poll}program = []"), "`program` is empty"),
            (format!("{poll}program = \"x\""), "expected a sequence"),
            (format!("{poll}program = [\"x\"]\nkeep = true"), "`keep`"),
            (format!("{poll}program = [\"x\"]\ntimeout = -1"), "timeout = -1"),
            (format!("{poll}program = [\"x\"]\ntimeout = \"x\""), "expected a duration"),
            (format!("{poll}calls = [{{ api = \"System.get\" }}]\nreuse = true"), "`program`"),
            ("event = \"civi_cxn.pre-poll\"\ncalls = [{ api = \"System.get\" }]".to_owned(), "no site"),
        ] {
            let error = parse(&bad).unwrap_err().to_string();
            assert!(error.contains("line ") && error.contains(expected), "{bad}: {error}");
        }
    }
}

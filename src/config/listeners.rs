//! Listeners as the configuration file writes them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Config;
use crate::listener::{Action, Call, EventName, Listener, Listeners, Phase, Program};

/// A table `[[listeners]]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct ListenerTable(Written);

/// What is written in one, before it is known to make sense.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Written {
    event: EventName,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    stop: bool,
    calls: Option<Vec<Call>>,
    keep: Option<bool>,
    program: Option<Vec<String>>,
    reuse: Option<bool>,
    timeout: Option<f64>,
    folder: Option<PathBuf>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

/// How long a program may take for one event, unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(120);

impl TryFrom<Written> for ListenerTable {
    type Error = String;

    fn try_from(table: Written) -> Result<Self, String> {
        let of_programs =
            table.reuse.is_some() || table.timeout.is_some() || table.folder.is_some() || !table.env.is_empty();
        match (&table.calls, &table.program) {
            (Some(_), Some(_)) | (None, None) => Err("expected either `calls` or `program`".to_owned()),
            (Some(calls), None) if calls.is_empty() => Err("`calls` is empty".to_owned()),
            (Some(_), None) if of_programs => {
                Err("`reuse`, `timeout`, `folder` and `env` are for a listener with `program`".to_owned())
            }
            (Some(_), None) if table.event.phase != Phase::Poll => {
                Err(format!("{} has no site that could be called: expected `program`", table.event))
            }
            (None, Some(command)) if command.first().is_none_or(String::is_empty) => {
                Err("`program` is empty: expected a list such as [\"python3\", \"listener.py\"]".to_owned())
            }
            (None, Some(_)) if table.keep.is_some() => {
                Err("`keep` is for a listener with `calls`; a program says itself what to keep".to_owned())
            }
            _ => match table.timeout.map(Duration::try_from_secs_f64) {
                Some(Err(_) | Ok(Duration::ZERO)) => Err("`timeout`: expected a number of seconds above 0".to_owned()),
                _ => Ok(Self(table)),
            },
        }
    }
}

impl Config {
    /// The listeners of the file.
    #[must_use]
    pub fn listeners(&self) -> Listeners {
        let mut listeners = Listeners::default();
        let base = self.file.as_deref().and_then(std::path::Path::parent).unwrap_or(std::path::Path::new(""));
        for ListenerTable(table) in self.listeners.iter().cloned() {
            let action = if let Some(calls) = table.calls {
                Action::Calls { calls, keep: table.keep.unwrap_or(false) }
            } else {
                let timeout = table.timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                let program = Program {
                    command: table.program.unwrap_or_default(),
                    folder: table.folder.unwrap_or_default(),
                    env: table.env,
                    reuse: table.reuse.unwrap_or(false),
                    timeout: timeout.unwrap_or(TIMEOUT),
                    ..Program::default()
                };
                Action::Program(program.in_folder(base))
            };
            listeners.add(Listener { event: table.event, priority: table.priority, stop: table.stop, action });
        }
        listeners
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_listener_that_makes_no_sense_is_told() {
        let parse = |text: &str| Config::parse(&format!("[[listeners]]\n{text}"), Path::new(""));
        let poll = "event = \"civi_cxn.poll\"\n";
        assert!(parse(&format!("{poll}calls = [{{ api = \"System.get\" }}]\nkeep = true")).is_ok());
        assert!(parse(&format!("{poll}program = [\"./x\"]\nreuse = true\ntimeout = 0.5")).is_ok());
        for (bad, expected) in [
            (poll.to_owned(), "either `calls` or `program`"),
            ("event = \"civi_cxn.pol\"".to_owned(), "unknown name 'pol'"),
            (format!("{poll}calls = []"), "`calls` is empty"),
            (format!("{poll}program = []"), "`program` is empty"),
            (format!("{poll}program = \"x\""), "expected a sequence"),
            (format!("{poll}program = [\"x\"]\nkeep = true"), "`keep`"),
            (format!("{poll}program = [\"x\"]\ntimeout = -1"), "`timeout`"),
            (format!("{poll}calls = [{{ api = \"System.get\" }}]\nreuse = true"), "`program`"),
            ("event = \"civi_cxn.pre-poll\"\ncalls = [{ api = \"System.get\" }]".to_owned(), "no site"),
        ] {
            let error = parse(&bad).unwrap_err().to_string();
            assert!(error.contains("line ") && error.contains(expected), "{bad}: {error}");
        }
    }
}

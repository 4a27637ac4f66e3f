//! What may be given for an argument: apps, jobs, connections and commands.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Command;
use clap_complete::engine::{CompletionCandidate, ValueCompleter};

use super::line::Line;
use crate::cli::reference::CONFIGURATION_PAGE;
use crate::config::Config;
use crate::store::{self, ReadSession, Store};
use crate::util::text::{is_printable, sanitize};

/// How long a completion waits for each lock of the store.
const LOCK_TIMEOUT: Duration = Duration::from_millis(300);
/// How long a completion waits before it looks again whether the store is settled.
const PAUSE: Duration = Duration::from_millis(10);
/// How many connections are offered at most.
const MAX_CONNECTIONS: usize = 200;

/// The configuration of the line; `None` if it cannot be read.
fn config() -> Option<Config> {
    Config::load(Line::of_process().path("--config").as_deref()).ok()
}

/// Reads the store of the line; `None` if that may change something or takes too long.
///
/// While another process uses a store, it is not settled.
fn read<T: Send>(work: impl FnOnce(&ReadSession) -> store::Result<T> + Send) -> Option<T> {
    let path = config()?.store_path(Line::of_process().path("--store").as_deref()).ok()?;
    let store = Store::open(&path, LOCK_TIMEOUT).ok()?;
    let began = Instant::now();
    while !store.is_settled() {
        if began.elapsed() > LOCK_TIMEOUT {
            return None;
        }
        thread::sleep(PAUSE);
    }
    store.read(work).ok()
}

/// Those of `names` that begin with the word, in order.
fn beginning_with(word: &OsStr, names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let word = word.to_string_lossy();
    let names: BTreeSet<_> = names.into_iter().filter(|name| name.starts_with(&*word) && is_printable(name)).collect();
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// The apps of the configuration and the store.
pub(super) struct Apps;

impl ValueCompleter for Apps {
    fn complete(&self, word: &OsStr) -> Vec<CompletionCandidate> {
        let of_config = config().map(|config| config.app_names()).unwrap_or_default();
        let of_store = read(ReadSession::apps).unwrap_or_default();
        let names = of_store.into_iter().map(|(_, app_id)| app_id.short().to_owned()).chain(of_config);
        let prefix = if word.to_string_lossy().starts_with("app:") { "app:" } else { "" };
        beginning_with(word, names.map(|name| format!("{prefix}{name}")))
    }
}

/// The jobs of the apps that the line names, or else of all apps, in the configuration and the store.
pub(super) struct Jobs;

impl ValueCompleter for Jobs {
    fn complete(&self, word: &OsStr) -> Vec<CompletionCandidate> {
        let mut jobs: Vec<_> = config().into_iter().flat_map(|config| config.jobs.into_keys()).collect();
        let of_store = read(|session| {
            session
                .apps()?
                .into_iter()
                .map(|(no, app)| Ok((app, session.jobs(Some(no))?)))
                .collect::<Result<Vec<_>, _>>()
        });
        let mut apps: Vec<_> = jobs.iter().map(|(app, _)| app.clone()).collect();
        for (app, of_app) in of_store.into_iter().flatten() {
            jobs.extend(of_app.into_iter().map(|job| (app.clone(), job.name)));
            apps.push(app);
        }
        let line = Line::of_process();
        apps.retain(|app| line.words().any(|word| word == app.short() || word == app.as_str()));
        jobs.retain(|(app, _)| apps.is_empty() || apps.contains(app));
        beginning_with(word, jobs.into_iter().map(|(_, name)| name.as_str().to_owned()))
    }
}

/// The connections of the store, in the order of their ids. An id may be given without `cxn:`.
pub(super) struct Connections;

impl ValueCompleter for Connections {
    fn complete(&self, word: &OsStr) -> Vec<CompletionCandidate> {
        let Some(word) = word.to_str() else { return Vec::new() };
        let with_prefix = format!("cxn:{word}");
        let found = read(|session| match session.cxns_by_prefix(word, MAX_CONNECTIONS)? {
            found if found.is_empty() => Ok(("cxn:", session.cxns_by_prefix(&with_prefix, MAX_CONNECTIONS)?)),
            found => Ok(("", found)),
        });
        let Some((prefix, found)) = found else { return Vec::new() };
        let shown = found.into_iter().filter(|cxn| is_printable(cxn.cxn_id.as_str()));
        let candidates = shown.map(|cxn| {
            let cxn_id = cxn.cxn_id.as_str().strip_prefix(prefix).unwrap_or(cxn.cxn_id.as_str());
            CompletionCandidate::new(cxn_id).help(Some(sanitize(&cxn.host()).into()))
        });
        candidates.collect()
    }
}

/// The commands of the program, of which `man` shows the pages.
pub(super) struct CommandNames(pub(super) Arc<Command>);

impl ValueCompleter for CommandNames {
    /// Completes a command below the one that the words before it name.
    fn complete(&self, word: &OsStr) -> Vec<CompletionCandidate> {
        let line = Line::of_process();
        let mut before: Vec<_> = line.words().skip_while(|word| *word != "man").skip(1).collect();
        before.pop_if(|last| *last == word);
        let above = before.into_iter().try_fold(&*self.0, |command, name| command.find_subcommand(name));
        let names = above.into_iter().flat_map(Command::get_subcommands).map(|below| below.get_name().to_owned());
        let is_first = above.is_some_and(|above| above.get_name() == self.0.get_name());
        beginning_with(word, names.chain(is_first.then(|| CONFIGURATION_PAGE.to_owned())))
    }
}

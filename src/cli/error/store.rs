//! The texts, hints and kinds of the store's errors.

use std::io;
use std::path::Path;

use super::file;
use super::report::Report;
use crate::exit;
use crate::store::{self, Problem, Skipped};
use crate::util::text::count;

const DISK_FULL_HINT: &str = "free some disk space and try again; no acknowledged change is lost";

const REPAIR_HINT: &str =
    "repair the store with `cxnpoll store check --repair`, which keeps what it removes in kept/set-aside.jsonl";

impl From<store::Error> for Report {
    fn from(error: store::Error) -> Self {
        use store::Error as E;
        match error {
            E::NoStore { path } => Self::not_found(format!("there is no store in {}", path.display()))
                .hint("name one with --store, CXNPOLL_STORE or the configuration, or create it with `cxnpoll import`"),
            E::NotAStore { path } => Self::not_found(format!("{} is not a store and not empty", path.display()))
                .hint("name a directory that is empty or does not exist yet"),
            E::NotADirectory { path } => Self::not_found(format!("{} is not a directory", path.display())),
            E::WrongOwner { path, owner, caller } => {
                let message =
                    format!("cannot open store {}: it belongs to user {owner}, not to user {caller}", path.display());
                Self::new(exit::STORE, message).hint(format!("run as the store's owner: sudo -u '#{owner}' cxnpoll …"))
            }
            E::UnknownDatabase { path, newest_backup } => {
                Self::new(exit::STORE, format!("{} does not name a database of this store", path.display()))
                    .hint(backup_hint(newest_backup.as_deref()))
            }
            E::File(error) | E::ResultsFile { error, .. } if error.source.kind() == io::ErrorKind::StorageFull => {
                Self::new(exit::STORE, file::text(&error)).hint(DISK_FULL_HINT)
            }
            E::File(error) => Self::new(exit::STORE, file::text(&error)),
            E::DueHint(error) => Self::new(exit::STORE, file::text(&error))
                .hint("it must be a file that can be replaced: remove what is there, and make its directory writable"),
            E::Busy { path, waited, owner } => {
                let owner = owner.map_or_else(String::new, |owner| format!("; it is held by {owner}"));
                let (path, waited) = (path.display(), waited.as_secs_f64());
                Self::new(exit::DECLINED, format!("the store {path} stayed busy for {waited} s{owner}"))
                    .hint("wait longer with --store-wait")
            }
            E::Cancelled => Self::new(exit::DECLINED, "the wait for the store was cancelled"),
            E::InUse { path, waited, last_session } => {
                let last =
                    last_session.map_or_else(String::new, |owner| format!("; the last session was that of {owner}"));
                let (path, waited) = (path.display(), waited.as_secs_f64());
                let message =
                    format!("a run or another command is still using the store {path} after {waited} s{last}");
                Self::new(exit::DECLINED, message).hint("try again when it has ended, or wait longer with --store-wait")
            }
            E::NewerFormat { found, known } => {
                let message = format!("the store has version {found}, this program reads only up to version {known}");
                Self::new(exit::STORE, message)
                    .hint("use the cxnpoll that wrote the store, or a newer one; nothing was changed")
            }
            E::Database { problem, newest_backup } => {
                Self::new(exit::STORE, problem_text(&problem)).hint(database_hint(&problem, newest_backup.as_deref()))
            }
            E::Results { problem, path } => {
                Self::new(exit::STORE, problem_text(&problem)).hint(results_hint(&problem, &path))
            }
            E::ResultsFile { error, dir } => {
                Self::new(exit::STORE, file::text(&error)).hint(without_results_hint(&dir))
            }
            E::Compress(error) => Self::new(exit::INTERNAL, format!("cannot compress a result: {error}")),
            E::Random(error) => Self::new(exit::INTERNAL, format!("the system has no random numbers: {error}")),
            E::NoThread(error) => Self::new(exit::STORE, format!("cannot start the store's thread: {error}")),
            E::NumbersExhausted => Self::new(exit::STORE, "the store has run out of numbers"),
            E::RecordTooLarge(item) => Self::new(exit::STORE, format!("{item} is too large to be stored")),
        }
    }
}

/// How many skipped records are named.
const MAX_NAMED: usize = 20;

/// The report of records that a command skipped.
pub(super) fn skipped(entries: &[Skipped]) -> Report {
    let records = count(entries.len() as u64, "record");
    let mut lines = vec![format!("skipped {records} of the store that cannot be read:")];
    lines.extend(entries.iter().take(MAX_NAMED).map(|Skipped { key, cxn_id, item, .. }| {
        let owner = cxn_id.as_ref().map_or_else(|| format!("key {}", hex::encode(key)), ToString::to_string);
        format!("  {owner}: {item}")
    }));
    if entries.len() > MAX_NAMED {
        lines.push(format!("  and {} more", entries.len() - MAX_NAMED));
    }
    Report::new(exit::STORE, lines.join("\n")).hint(REPAIR_HINT)
}

fn database_hint(problem: &Problem, newest_backup: Option<&Path>) -> String {
    match problem {
        Problem::StorageFull => DISK_FULL_HINT.to_owned(),
        Problem::Unreadable(_) | Problem::MissingCxn(_) => REPAIR_HINT.to_owned(),
        _ => backup_hint(newest_backup),
    }
}

fn results_hint(problem: &Problem, path: &Path) -> String {
    match problem {
        Problem::StorageFull => DISK_FULL_HINT.to_owned(),
        _ => without_results_hint(path),
    }
}

fn without_results_hint(dir: &Path) -> String {
    format!("remove {} to give up all kept results; everything else works without it", dir.display())
}

fn backup_hint(newest: Option<&Path>) -> String {
    match newest {
        Some(newest) => format!(
            "see `cxnpoll store check`, or restore the newest backup with `cxnpoll store restore {}`",
            newest.display()
        ),
        None => "there is no backup: copy the store's directory before you try anything".to_owned(),
    }
}

fn problem_text(problem: &Problem) -> String {
    match problem {
        Problem::Damaged { damage, rebuild_failed } => {
            let rebuild = if *rebuild_failed { ", and so is its log" } else { "" };
            format!("the store's database is damaged ({damage}){rebuild}")
        }
        Problem::StorageFull => "the store's database failed: the disk is full".to_owned(),
        Problem::Failed(text) | Problem::Panicked(text) => format!("the store's database failed: {text}"),
        Problem::Unreadable(item) => format!("{item} cannot be read"),
        Problem::MissingCxn(cxn_id) => format!("{cxn_id} has a number but no record"),
    }
}

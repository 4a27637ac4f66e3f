//! The texts, hints and kinds of the store's errors.

use std::io::ErrorKind;
use std::path::Path;

use super::file;
use super::report::{MORE_THREADS_HINT, Report};
use crate::exit;
use crate::store::{self, Item, Problem};

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
            E::File(error) => {
                Self { hint: space_hint(error.source.kind()), ..Self::new(exit::STORE, file::text(&error)) }
            }
            E::DueHint(error) => Self::new(exit::STORE, file::text(&error))
                .hint("it must be a file that can be replaced: remove what is there, and make its directory writable"),
            E::Busy { path, waited, owner } => {
                let owner = owner.map_or_else(String::new, |owner| format!("; it is held by {owner}"));
                let (path, waited) = (path.display(), waited.as_secs_f64());
                Self::new(exit::DECLINED, format!("the store {path} stayed busy for {waited} s{owner}"))
                    .hint("wait longer with --store-wait")
            }
            E::Cancelled => Self::new(exit::DECLINED, "the wait for the store was cancelled"),
            E::InUse { path } => {
                Self::new(exit::DECLINED, format!("a run or another command is using the store {}", path.display()))
                    .hint("try again when it has ended")
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
                let hint = space_hint(error.source.kind()).unwrap_or_else(|| without_results_hint(&dir));
                Self::new(exit::STORE, file::text(&error)).hint(hint)
            }
            E::Compress(error) => Self::new(exit::INTERNAL, format!("cannot compress a result: {error}")),
            E::Random(error) => Self::new(exit::INTERNAL, format!("the system has no random numbers: {error}")),
            E::NoThread(error) => {
                Self::new(exit::STORE, format!("cannot start the store's threads: {error}")).hint(MORE_THREADS_HINT)
            }
            E::NumbersExhausted => Self::new(exit::STORE, "the store has run out of numbers"),
        }
    }
}

/// What helps if a file of the store cannot grow; `None` for other errors.
fn space_hint(kind: ErrorKind) -> Option<String> {
    file::space_hint(kind).map(|hint| format!("{hint}; no acknowledged change is lost"))
}

/// What helps if a file of a database cannot grow; `None` for other problems.
fn growth_hint(problem: &Problem) -> Option<String> {
    match problem {
        Problem::StorageFull => space_hint(ErrorKind::StorageFull),
        Problem::FileTooLarge => space_hint(ErrorKind::FileTooLarge),
        _ => None,
    }
}

fn database_hint(problem: &Problem, newest_backup: Option<&Path>) -> String {
    growth_hint(problem).unwrap_or_else(|| backup_hint(newest_backup))
}

fn results_hint(problem: &Problem, path: &Path) -> String {
    if let Some(hint) = growth_hint(problem) {
        return hint;
    }
    match problem {
        Problem::Unreadable(Item::StoredResult) => {
            "remove the results of a connection with `cxnpoll results --remove`".to_owned()
        }
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
        Problem::FileTooLarge => "the store's database failed: a file would exceed the limit of file sizes".to_owned(),
        Problem::Failed(text) | Problem::Panicked(text) => format!("the store's database failed: {text}"),
        Problem::Unreadable(item) => format!("{item} cannot be read"),
        Problem::MissingCxn(cxn_id) => format!("{cxn_id} has a number but no record"),
    }
}

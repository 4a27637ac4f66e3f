//! The texts, hints and kinds of the store's errors.

use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::file;
use super::report::{MORE_THREADS_HINT, Report};
use crate::exit;
use crate::store::{self, Problem, Refusal, Skipped};
use crate::util::file_error::{FileError, FileOp};
use crate::util::text::count;

const DISK_FULL_HINT: &str = "free some disk space and try again; no acknowledged change is lost";
const FILE_SIZE_HINT: &str = "raise the limit of file sizes (ulimit -f) and try again; no acknowledged change is lost";
const UNREADABLE_HINT: &str =
    "the disk cannot be read: check it, then try again; everything acknowledged is still stored";
const NOT_WRITTEN_HINT: &str = "check the disk, then try again; everything acknowledged is stored, but changes that this \
                                command did not acknowledge may be missing";

const REPAIR_HINT: &str =
    "repair the store with `cxnpoll store check --repair`, which keeps what it removes in kept/set-aside.jsonl";

impl From<store::Error> for Report {
    fn from(error: store::Error) -> Self {
        use store::Error as E;
        match error {
            E::NoStore { path } => Self::not_found(format!("there is no store in {}", path.display())).hint(
                "name one with --store, CXNPOLL_STORE or the configuration, or create it with `cxnpoll store create`",
            ),
            E::NotAStore { path } => Self::not_found(format!("{} is not a store and not empty", path.display()))
                .hint("name a directory that is empty or does not exist yet"),
            E::NotADirectory { path } => Self::not_found(format!("{} is not a directory", path.display())),
            E::WrongOwner { path, owner, caller } => {
                let message =
                    format!("cannot open store {}: it belongs to user {owner}, not to user {caller}", path.display());
                Self::new(exit::STORE, message).hint(owner_hint(&path, owner, caller))
            }
            E::NotWritable(refusal) => not_writable(&refusal),
            E::Copy { path, dir, error } => copy_failed(&path, &dir, &error),
            E::UnknownDatabase { path, newest_backup } => {
                Self::new(exit::STORE, format!("{} does not name a database of this store", path.display()))
                    .hint(backup_hint(newest_backup.as_deref()))
            }
            E::File(error) => file_report(&error, foreign_hint(&error).or_else(|| history_hint(&error))),
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
            E::ResultsFile { error, dir } => file_report(&error, Some(without_results_hint(&dir))),
            E::Compress(error) => Self::new(exit::INTERNAL, format!("cannot compress a result: {error}")),
            E::Random(error) => Self::new(exit::INTERNAL, format!("the system has no random numbers: {error}")),
            E::NoThread(error) => {
                Self::new(exit::STORE, format!("cannot start the store's threads: {error}")).hint(MORE_THREADS_HINT)
            }
            E::NumbersExhausted => Self::new(exit::STORE, "the store has run out of numbers"),
            E::RecordTooLarge(item) => Self::new(exit::STORE, format!("{item} is too large to be stored")),
        }
    }
}

fn not_writable(refusal: &Refusal) -> Report {
    let Refusal { store, path, errno, owner, caller } = refusal;
    let message = format!("cannot write {}: {}", path.display(), io::Error::from(*errno));
    Report::new(exit::STORE, message).hint(match *errno {
        Errno::ROFS => "mount the file system for writing; commands that only read work without".to_owned(),
        _ if owner == caller => format!("make it writable: chmod -R u+rwX {}", store.display()),
        _ => owner_hint(store, *owner, *caller),
    })
}

/// What helps against a store or a directory of another user. A store that root creates would belong to root for good.
fn owner_hint(path: &Path, owner: u32, caller: u32) -> String {
    match owner {
        0 => format!("let user {caller} own it: chown -R {caller} {}", path.display()),
        owner => format!("run as the store's owner: sudo -u '#{owner}' cxnpoll …"),
    }
}

/// The report of a store that is read from a copy, which cannot be made.
fn copy_failed(path: &Path, dir: &Path, error: &io::Error) -> Report {
    let (path, dir, reason) = (path.display(), dir.display(), file::temp_reason(error));
    let message = format!("cannot copy {path}, which can only be read, to the temporary directory {dir}: {reason}");
    let hint = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::IO) => UNREADABLE_HINT.to_owned(),
        _ => "set TMPDIR to a directory that you can write to, with enough free space".to_owned(),
    };
    Report::new(exit::STORE, message).hint(hint)
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

/// The report of an operation on a file. `hint` is that of errors which do not pass by themselves.
fn file_report(error: &FileError, hint: Option<String>) -> Report {
    let report = Report::new(exit::STORE, file::text(error));
    let space_hint = match error.source.kind() {
        io::ErrorKind::StorageFull => Some(DISK_FULL_HINT),
        io::ErrorKind::FileTooLarge => Some(FILE_SIZE_HINT),
        _ => None,
    };
    let is_read = matches!(error.op, FileOp::Inspect | FileOp::Open | FileOp::Read | FileOp::List | FileOp::Lock);
    let of_number = |number| passing_hint(number, is_read);
    let create_hint = is_refused_creation(error)
        .then_some("name a store in a directory that you can write, with --store or CXNPOLL_STORE");
    let passing = space_hint.or(create_hint).or_else(|| error.source.raw_os_error().and_then(of_number));
    let hint = passing.map(str::to_owned).or(hint);
    hint.map_or(report.clone(), |hint| report.hint(hint))
}

/// The hint where something that is no regular file is in place of a file of history.
fn history_hint(error: &FileError) -> Option<String> {
    let name = error.path.file_name().and_then(|name| name.to_str())?;
    let is_no_file = error.source.kind() == io::ErrorKind::IsADirectory && store::is_history_file(name);
    is_no_file.then(|| "repair it with `cxnpoll store check --repair`, which moves what is there to kept/".to_owned())
}

/// The hint for a store in a directory that this user may not even look into.
fn foreign_hint(error: &FileError) -> Option<String> {
    let foreign = error.op == FileOp::Inspect && error.source.kind() == io::ErrorKind::PermissionDenied;
    foreign.then(|| "run as the user to which the store belongs, for example: sudo -u cxnpoll cxnpoll …".to_owned())
}

/// Whether this user may create nothing there.
fn is_refused_creation(error: &FileError) -> bool {
    let kind = error.source.kind();
    error.op == FileOp::Create && matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// The report of a store that `demo` cannot make. No option but `--keep` names its place.
pub(super) fn demo(error: store::Error) -> Report {
    match error {
        store::Error::File(error) if is_refused_creation(&error) => Report::new(exit::STORE, file::text(&error))
            .hint("name a directory that you can write with --keep, or leave out its name for a temporary one"),
        error => error.into(),
    }
}

/// The hint of an error of the system that is not about what a file contains.
fn passing_hint(number: i32, is_read: bool) -> Option<&'static str> {
    match Errno::from_raw_os_error(number) {
        Errno::NOSPC | Errno::DQUOT => Some(DISK_FULL_HINT),
        Errno::IO if is_read => Some(UNREADABLE_HINT),
        Errno::IO => Some(NOT_WRITTEN_HINT),
        Errno::MFILE | Errno::NFILE => Some("too many files are open: raise the limit, or try again later"),
        Errno::NOMEM => Some("there is too little memory: raise the limit, or try again later"),
        _ => None,
    }
}

fn database_hint(problem: &Problem, newest_backup: Option<&Path>) -> String {
    match problem {
        Problem::Damaged { .. } => backup_hint(newest_backup),
        Problem::Unreadable(_) | Problem::MissingCxn(_) => REPAIR_HINT.to_owned(),
        problem => problem_hint(problem).to_owned(),
    }
}

/// The hint of a problem that may pass by itself.
fn problem_hint(problem: &Problem) -> &'static str {
    let passing = match problem {
        Problem::StorageFull => Some(DISK_FULL_HINT),
        Problem::FileTooLarge => Some(FILE_SIZE_HINT),
        Problem::NotWritten => Some(NOT_WRITTEN_HINT),
        Problem::System(number) => passing_hint(*number, true),
        _ => None,
    };
    passing.unwrap_or("try again; if it fails again, check the disk, and the store with `cxnpoll store check`")
}

fn results_hint(problem: &Problem, path: &Path) -> String {
    match problem {
        Problem::Damaged { .. } | Problem::Unreadable(_) => without_results_hint(path),
        problem => problem_hint(problem).to_owned(),
    }
}

fn without_results_hint(dir: &Path) -> String {
    format!("remove {} to give up all kept results; everything else works without it", dir.display())
}

fn backup_hint(newest: Option<&Path>) -> String {
    match newest {
        Some(newest) => format!(
            "see `cxnpoll store check`, or restore the newest backup with `{}`",
            file::restore_command("", newest)
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
        Problem::NotWritten => "the disk failed to write the store's database".to_owned(),
        Problem::System(number) => {
            format!("the store's database failed: {}", io::Error::from_raw_os_error(*number))
        }
        Problem::Failed(text) | Problem::Panicked(text) => format!("the store's database failed: {text}"),
        Problem::Unreadable(item) => format!("{item} cannot be read"),
        Problem::MissingCxn(cxn_id) => format!("{cxn_id} has a number but no record"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Damage;
    use crate::store::Item;

    #[test]
    fn only_damage_suggests_a_backup() {
        let damaged = Problem::Damaged { damage: Damage::Checksum, rebuild_failed: false };
        for (problem, expected) in [
            (damaged, "restore the newest backup"),
            (Problem::StorageFull, "free some disk space"),
            (Problem::NotWritten, "did not acknowledge may be missing"),
            (Problem::System(Errno::IO.raw_os_error()), "the disk cannot be read"),
            (Problem::System(Errno::MFILE.raw_os_error()), "too many files are open"),
            (Problem::System(Errno::NOMEM.raw_os_error()), "too little memory"),
            (Problem::System(Errno::ACCESS.raw_os_error()), "try again"),
            (Problem::Failed("no".to_owned()), "try again"),
            (Problem::Panicked("no".to_owned()), "try again"),
            (Problem::Unreadable(Item::Perm), "cxnpoll store check"),
        ] {
            let newest_backup = Some("/backups/1".into());
            let name = format!("{problem:?}");
            let Report { hint, .. } = store::Error::Database { problem, newest_backup }.into();
            let hint = hint.unwrap();
            assert!(hint.contains(expected), "{name}: {hint}");
            assert_eq!(hint.contains("backup"), expected.contains("backup"), "{name}: {hint}");
        }
    }

    #[test]
    fn a_copy_that_cannot_be_made_names_the_temporary_directory_once() {
        let dir = "/no/such/directory";
        let error = tempfile::tempdir_in(dir).unwrap_err();
        let report = Report::from(store::Error::Copy { path: "/data".into(), dir: dir.into(), error });
        assert_eq!(report.message.matches(dir).count(), 1, "{}", report.message);
    }

    #[test]
    fn hint_of_a_file_depends_on_the_error_and_the_operation() {
        let hint = |op, source: io::Error| {
            let error = FileError { op, path: "/store/db-1/db".into(), source };
            Report::from(store::Error::File(error)).hint.unwrap_or_default()
        };
        for op in [FileOp::Read, FileOp::Open, FileOp::List] {
            assert!(hint(op, Errno::IO.into()).contains("the disk cannot be read"), "{op:?}");
        }
        assert!(hint(FileOp::Sync, Errno::IO.into()).contains("did not acknowledge may be missing"));
        assert_eq!(hint(FileOp::Write, Errno::DQUOT.into()), DISK_FULL_HINT);
        assert_eq!(hint(FileOp::Write, io::ErrorKind::StorageFull.into()), DISK_FULL_HINT);
        assert_eq!(hint(FileOp::Open, Errno::ACCESS.into()), "");
        assert!(hint(FileOp::Inspect, Errno::ACCESS.into()).contains("sudo -u cxnpoll"));
        assert!(hint(FileOp::Create, Errno::ROFS.into()).contains("CXNPOLL_STORE"));
    }

    #[test]
    fn hint_of_a_store_that_cannot_be_written_never_suggests_root() {
        let hint = |errno, owner| {
            let (store, path) = ("/data".into(), "/data/db-1/db".into());
            Report::from(store::Error::NotWritable(Refusal { store, path, errno, owner, caller: 7 })).hint.unwrap()
        };
        assert!(hint(Errno::ROFS, 7).starts_with("mount the file system for writing"));
        assert_eq!(hint(Errno::ACCESS, 7), "make it writable: chmod -R u+rwX /data");
        assert_eq!(hint(Errno::ACCESS, 0), "let user 7 own it: chown -R 7 /data");
        assert_eq!(hint(Errno::ACCESS, 8), "run as the store's owner: sudo -u '#8' cxnpoll …");
        let Report { hint, .. } = store::Error::WrongOwner { path: "/data".into(), owner: 0, caller: 7 }.into();
        assert_eq!(hint.as_deref(), Some("let user 7 own it: chown -R 7 /data"));
    }
}

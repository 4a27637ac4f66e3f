//! The backups of the store.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::{Access, access};

use crate::cli::commands::findings::{Check, Findings};
use crate::cli::commands::users;
use crate::cli::context::Context;
use crate::cli::error::Report;
use crate::cli::ui::time;
use crate::model::UnixTime;
use crate::store::Store;
use crate::transfer::Error as TransferError;
use crate::transfer::backup::{self, Rehearsals};
use crate::util::encryption::Identities;
use crate::util::text::shell_quoted;

/// How long the newest backup is read.
const MAX_VERIFY: Duration = Duration::from_secs(3);

/// Finds backups that are missing, damaged, too old, or cannot be written.
///
/// `last_run` is when the last run of any job began; `None` if there was none.
pub(super) fn check(context: &Context, store: &Store, last_run: Option<UnixTime>, findings: &mut Findings) {
    let every_s = i64::from(context.config.backups.every_hours) * 3600;
    if every_s == 0 {
        return findings.note(Check::Backups, "runs write no backups: `every-hours` is 0");
    }
    findings.check([Check::Backups]);
    let dir = store.backup_dir();
    if dir.is_file() {
        let shown = shell_quoted(&dir);
        let message = format!("backups cannot be written: {} is a file", dir.display());
        return findings.add(Check::Backups, message, format!("move it away: mv {shown} {shown}.old"));
    }
    if dir.exists() && access(&dir, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let message = format!("backups cannot be written to {}", dir.display());
        return findings.add(Check::Backups, message, make_writable(&dir));
    }
    let times = match store.backup_times(context.started) {
        Ok(times) => times,
        Err(error) => return findings.add_error(Check::Backups, error, "make the directory of backups readable"),
    };
    if let Some(backup) = times.future.first() {
        let message = format!("the time of the backup {} is in the future", backup.display());
        findings.add(
            Check::Backups,
            message,
            format!("check the clock, then rename or remove it: rm {}", backup.display()),
        );
    }
    verify_newest(context, store, findings);
    if let Some((bad, at)) = Rehearsals::read(store).bad(store) {
        let message = format!("{} could not be restored when it was checked at {}", bad.display(), time::utc(at));
        findings.add(Check::Backups, message, "write another and check it: cxnpoll store backup --verify");
    }
    // Only a run writes a backup, at its end. The runs that a restored store remembers were another's.
    let activated = fs::metadata(store.path().join("CURRENT")).map_or(0, |metadata| metadata.mtime());
    let Some(last_run) = last_run.filter(|last_run| *last_run >= activated) else { return };
    let write = "write one, which shows what is wrong: cxnpoll store backup";
    match times.latest {
        None if times.future.is_empty() => findings.add(Check::Backups, "there is no backup of the store", write),
        Some(latest) if last_run - latest > 2 * every_s => {
            let age = time::duration(context.started - latest);
            let every = context.config.backups.every_hours;
            findings.add(
                Check::Backups,
                format!("the newest backup is {age} old, although `every-hours` is {every}"),
                write,
            );
        }
        Some(_) | None => {}
    }
}

/// Reads the newest backup as a restore would, unless that takes too long.
fn verify_newest(context: &Context, store: &Store, findings: &mut Findings) {
    let newest = store.backups(context.started).ok().and_then(|backups| backups.past.into_iter().next());
    let Some(path) = newest else { return };
    let (sender, receiver) = mpsc::channel();
    let read = path.clone();
    // After the limit nothing waits for it.
    let verify = move || sender.send(backup::verify(&read, &Identities::default()));
    let started = thread::Builder::new().spawn(verify);
    match started.ok().and_then(|_| receiver.recv_timeout(MAX_VERIFY).ok()) {
        Some(Ok(_)) => {}
        Some(Err(TransferError::Undecryptable { .. })) => findings.skip(
            Check::Backups,
            "the newest backup is encrypted: check it with `cxnpoll store restore --check --identity FILE`",
        ),
        Some(Err(error)) => {
            let access = users::access_remedy(&path);
            let Report { message, .. } = error.into();
            let remedy = access.unwrap_or_else(|| "write a new one: cxnpoll store backup".to_owned());
            findings.add(Check::Backups, format!("the newest backup cannot be restored: {message}"), remedy);
        }
        None => findings.skip(Check::Backups, "the newest backup could not be read in time"),
    }
}

/// How to let this user write to a directory.
fn make_writable(dir: &Path) -> String {
    let (shown, user) = (shell_quoted(dir), users::name(users::current()));
    if fs::metadata(dir).is_ok_and(|metadata| metadata.uid() != users::current()) {
        return format!("give it to {user} as root: chown -R {user} {shown}");
    }
    format!("make it writable: chmod u+rwx {shown}")
}

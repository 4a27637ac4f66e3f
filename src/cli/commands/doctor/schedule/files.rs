//! The files that entries name: programs, logs, metrics, configurations.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};
use rustix::io::Errno;

use super::entry::{Entry, Run, Start};
use crate::cli::commands::findings::{Check, Findings};
use crate::cli::commands::users;
use crate::config::{CONFIG_VARIABLE, Config, HEARTBEAT_VARIABLE, STORE_VARIABLE};

/// Whether an entry polls another store than this one, which is noted.
pub(in super::super) fn is_elsewhere(start: &Start, store: Option<&Path>, findings: &mut Findings) -> bool {
    let Run::Poll(poll) = &start.run else { return false };
    let named = poll.0.store.clone().or_else(|| variable(&start.variables, STORE_VARIABLE));
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match named.zip(store) {
        Some((named, store)) if real(&named) != real(store) => {
            let message = format!("{} polls another store: {}", start.entry.place, named.display());
            findings.note(Check::Entries, message);
            true
        }
        _ => false,
    }
}

fn variable(variables: &BTreeMap<String, String>, name: &str) -> Option<PathBuf> {
    variables.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Checks the files that an entry names. `store` is that of the command, `None` if it is not known.
pub(in super::super) fn check(start: &Start, config: &Config, store: Option<&Path>, findings: &mut Findings) {
    findings.check([Check::EntryFiles]);
    let (place, edit) = (&start.entry.place, &start.entry.edit);
    if let Some(reason) = program_problem(&start.program, &start.entry.path) {
        let message = format!("{place} starts {}, {reason}", start.program);
        findings.add(
            Check::Entries,
            message,
            format!("write the whole path, which `command -v cxnpoll` prints: {edit}"),
        );
    }
    for dir in start.entry.sandbox.required.iter().filter(|dir| is_missing(dir)) {
        let text = dir.display();
        let message = format!("{place} cannot start: ReadWritePaths= of its unit has {text}, which does not exist");
        findings.add(Check::EntryFiles, message, format!("create it, or write -{text} instead: {edit}"));
    }
    let mut logs: Vec<PathBuf> = start.outputs.iter().map(PathBuf::from).collect();
    if let Run::Poll(poll) = &start.run {
        let (global, poll) = &**poll;
        logs.extend(global.log_file.clone().filter(|path| path.as_os_str() != "-"));
        let named = global.config.clone().or_else(|| variable(&start.variables, CONFIG_VARIABLE));
        if let Some(path) = named.map(|path| absolute(start, &path)).filter(|path| is_missing(path)) {
            let message = format!("{place} names the configuration {}, which does not exist", path.display());
            findings.add(Check::EntryFiles, message, format!("correct the path: {edit}"));
        }
        if config.heartbeat(poll.heartbeat.as_deref()).is_err() && poll.heartbeat.is_some() {
            let message = format!("{place} has a --heartbeat that is not an http or https URL");
            findings.add(Check::Heartbeat, message, format!("write the whole URL, with https://: {edit}"));
        }
        let url = start.variables.get(HEARTBEAT_VARIABLE).filter(|url| !url.is_empty() && poll.heartbeat.is_none());
        if url.is_some_and(|url| config.heartbeat(Some(url)).is_err()) {
            let message = format!("{place} sets {HEARTBEAT_VARIABLE}, which is not an http or https URL");
            findings.add(Check::Heartbeat, message, format!("write the whole URL, with https://: {edit}"));
        }
        if let Some(dir) = poll.values(config).metrics.value.map(|dir| absolute(start, &dir)) {
            check_dir(start, &dir, findings);
            check_sandbox(start, &dir, "metrics", findings);
        }
        if let Some(store) = store {
            check_sandbox(start, store, "the store", findings);
        }
        if let Some(log) = global.log_file.as_ref().map(|log| absolute(start, log)) {
            check_sandbox(start, log.parent().unwrap_or(&log), "a log", findings);
        }
    }
    for log in logs.iter().map(|log| absolute(start, log)).filter(|log| !log.starts_with("/dev")) {
        check_log(start, &log, findings);
    }
}

/// A path as the entry's process sees it: cron starts it in the home directory of its user.
fn absolute(start: &Start, path: &Path) -> PathBuf {
    let home = start.user.as_deref().and_then(users::home);
    home.map_or_else(|| path.to_owned(), |home| home.join(path))
}

/// Why a program cannot be started; `None` if it can.
fn program_problem(program: &str, search: &str) -> Option<String> {
    let can_start = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if !program.contains('/') {
        let is_found = search.split(':').any(|dir| can_start(&Path::new(dir).join(program)));
        return (!is_found).then(|| format!("which is not in its PATH ({search})"));
    }
    let path = Path::new(program);
    if can_start(path) {
        return None;
    }
    let reason = if is_missing(path) { "which does not exist" } else { "which cannot be executed" };
    Some(reason.to_owned())
}

/// Whether there is certainly no such file. `false` if this user may not look.
fn is_missing(path: &Path) -> bool {
    fs::metadata(path).is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
}

/// Whether there is certainly no such directory. `false` if this user may not look.
fn is_no_dir(path: &Path) -> bool {
    is_missing(path) || path.is_file()
}

/// Finds a directory that the unit of an entry makes read-only for it.
fn check_sandbox(start: &Start, dir: &Path, what: &str, findings: &mut Findings) {
    let Entry { place, edit, sandbox, .. } = start.entry;
    let text = dir.display();
    if dir.is_absolute() && sandbox.is_read_only(dir) {
        let message = format!("{place} writes {what} to {text}, which the sandbox of its unit makes read-only");
        findings.add(Check::EntryFiles, message, format!("add ReadWritePaths={text} to its [Service]: {edit}"));
    }
}

fn check_dir(start: &Start, dir: &Path, findings: &mut Findings) {
    let user = start.user.as_deref().unwrap_or("USER");
    let (place, dir_text) = (&start.entry.place, dir.display());
    if is_no_dir(dir) {
        let message = format!("{place} writes metrics to {dir_text}, which is not a directory");
        findings.add(Check::EntryFiles, message, format!("create it: install -d -o {user} {dir_text}"));
    } else if let Some(problem) = write_problem(start, dir) {
        let message = format!("{place} writes metrics to {dir_text}, {}", problem.reason);
        let let_own = format!("let {user} own it: chown {user} {dir_text}");
        findings.add(Check::EntryFiles, message, problem.remedy.unwrap_or(let_own));
    }
}

fn check_log(start: &Start, log: &Path, findings: &mut Findings) {
    // A name with a variable or a date is not known.
    let is_unknown = log.to_string_lossy().contains(['$', '`', '~']);
    if is_unknown || start.entry.sandbox.created.iter().any(|dir| log.starts_with(dir)) {
        return;
    }
    let user = start.user.as_deref().unwrap_or("USER");
    let (place, text) = (&start.entry.place, log.display());
    let dir = log.parent().unwrap_or(Path::new("/"));
    if log.is_dir() {
        let message = format!("{place} writes to {text}, which is a directory");
        findings.add(Check::EntryFiles, message, format!("name a file in it: {}", start.entry.edit));
    } else if is_no_dir(dir) {
        let message = format!("{place} writes to {text}, whose directory does not exist");
        findings.add(Check::EntryFiles, message, format!("create it: install -d -o {user} {}", dir.display()));
    } else if let Some(problem) = write_problem(start, if log.exists() { log } else { dir }) {
        let message = format!("{place} writes to {text}, {}", problem.reason);
        let own = if log.exists() {
            format!("let {user} own it: chown {user} {text}")
        } else {
            format!("create it: install -o {user} -m 640 /dev/null {text}")
        };
        findings.add(Check::EntryFiles, message, problem.remedy.unwrap_or(own));
    }
}

/// Why something cannot be written.
struct WriteProblem {
    /// Completes its name: `which cxnpoll may not write`.
    reason: String,
    /// `None` if its owner or mode is wrong.
    remedy: Option<String>,
}

/// Why the user of an entry cannot write to a file or a directory.
///
/// `None` if it can, or if that cannot be found out.
fn write_problem(start: &Start, path: &Path) -> Option<WriteProblem> {
    let (user, text) = (start.user.as_deref()?, path.display());
    if users::uid(user) == Some(users::current())
        && let Err(error) = access(path, Access::WRITE_OK)
    {
        let (reason, remedy) = if error == Errno::ROFS {
            let remedy = format!("mount it for writing as root: mount -o remount,rw \"$(stat -c %m {text})\"");
            ("on a file system that can only be read".to_owned(), Some(remedy))
        } else {
            (format!("which {user} may not write"), None)
        };
        return Some(WriteProblem { reason, remedy });
    }
    let is_full = statvfs(path).is_ok_and(|found| found.f_blocks > 0 && found.f_bavail == 0);
    let remedy = || format!("free some space: du -xh \"$(stat -c %m {text})\" | sort -h | tail");
    is_full.then(|| WriteProblem { reason: "on a file system that is full".to_owned(), remedy: Some(remedy()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_path_or_in_the_path() {
        assert_eq!(program_problem("/bin/sh", ""), None);
        assert_eq!(program_problem("sh", "/nowhere:/bin"), None);
        assert_eq!(program_problem("sh", "/nowhere").as_deref(), Some("which is not in its PATH (/nowhere)"));
        assert_eq!(program_problem("/bin/no-such", "").as_deref(), Some("which does not exist"));
        assert_eq!(program_problem("/etc/passwd", "").as_deref(), Some("which cannot be executed"));
    }

    #[test]
    fn what_this_user_may_not_look_up_is_not_missing() {
        // The system cannot look up a name that is too long, either.
        for (path, expected) in
            [("/no/such", true), ("/etc/passwd/x", true), ("/etc", false), (&"/x".repeat(5000), false)]
        {
            assert_eq!((is_missing(Path::new(path)), is_no_dir(Path::new(path))), (expected, expected), "{path}");
        }
        assert!(is_no_dir(Path::new("/etc/passwd")));
    }
}

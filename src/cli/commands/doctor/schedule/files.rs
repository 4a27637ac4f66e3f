//! The files that entries name: programs, logs, metrics, configurations.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::super::users;
use super::entry::{Run, Start};
use crate::cli::commands::findings::{Check, Findings};
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

/// Checks the files that an entry names.
pub(in super::super) fn check(start: &Start, config: &Config, findings: &mut Findings) {
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

/// Whether a file may be written by the user of an entry; `true` if that cannot be found out.
fn is_writable(start: &Start, path: &Path) -> bool {
    let is_own = start.user.as_deref().is_some_and(|user| users::uid(user) == Some(users::current()));
    !is_own || access(path, Access::WRITE_OK).is_ok()
}

fn check_dir(start: &Start, dir: &Path, findings: &mut Findings) {
    let user = start.user.as_deref().unwrap_or("USER");
    let (place, dir_text) = (&start.entry.place, dir.display());
    if is_no_dir(dir) {
        let message = format!("{place} writes metrics to {dir_text}, which is not a directory");
        findings.add(Check::EntryFiles, message, format!("create it: install -d -o {user} {dir_text}"));
    } else if !is_writable(start, dir) {
        let message = format!("{place} writes metrics to {dir_text}, which {user} may not write");
        findings.add(Check::EntryFiles, message, format!("let {user} own it: chown {user} {dir_text}"));
    }
}

fn check_log(start: &Start, log: &Path, findings: &mut Findings) {
    // A name with a variable or a date is not known.
    let is_unknown = log.to_string_lossy().contains(['$', '`', '~']);
    if is_unknown || start.entry.created.iter().any(|dir| log.starts_with(dir)) {
        return;
    }
    let user = start.user.as_deref().unwrap_or("USER");
    let (place, text) = (&start.entry.place, log.display());
    let dir = log.parent().unwrap_or(Path::new("/"));
    if log.exists() && !is_writable(start, log) {
        let message = format!("{place} writes to {text}, which {user} may not write");
        findings.add(Check::EntryFiles, message, format!("let {user} own it: chown {user} {text}"));
    } else if is_no_dir(dir) {
        let message = format!("{place} writes to {text}, whose directory does not exist");
        findings.add(Check::EntryFiles, message, format!("create it: install -d -o {user} {}", dir.display()));
    } else if is_missing(log) && !is_writable(start, dir) {
        let message = format!("{place} writes to {text}, which {user} may not create");
        findings.add(Check::EntryFiles, message, format!("create it: install -o {user} -m 640 /dev/null {text}"));
    }
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

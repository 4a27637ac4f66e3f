//! The crontabs of this machine.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::crontab::{self, Line};
use super::entry::{Entry, Off};
use super::sandbox::Sandbox;
use super::sources::Sources;
use super::{script, shell};
use crate::cli::commands::findings::Check;
use crate::cli::commands::users;

/// The directories in which cron looks programs up.
const CRON_PATH: &str = "/usr/bin:/bin";
/// Where the crontabs of users are.
const SPOOLS: [&str; 3] = ["/var/spool/cron/crontabs", "/var/spool/cron", "/var/spool/cron/tabs"];
/// The programs that start the entries of crontabs.
const DAEMONS: [&str; 4] = ["/usr/sbin/cron", "/usr/sbin/crond", "/usr/bin/crond", "/usr/local/sbin/crond"];
/// How long `crontab -l` may take.
const MAX_LIST: Duration = Duration::from_secs(2);

/// Reads the crontabs that this user may read.
pub(in super::super) fn read(sources: &mut Sources) {
    let own = users::name(users::current());
    let listed = list();
    let is_known = matches!(listed, Ok(Some(_)));
    sources.has_scheduler |= has_daemon(!matches!(listed, Ok(None)));
    match listed {
        Ok(Some(text)) => {
            add(sources, &text, &format!("the crontab of {own}"), "crontab -e", Some(&own));
        }
        Ok(None) => {}
        Err(reason) => sources.skip_jobs(Check::Jobs, format!("the crontab of {own} cannot be listed: {reason}")),
    }
    read_spools(sources, &own, is_known);
    for path in system_files() {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                sources.skip_jobs(Check::Jobs, format!("{} cannot be read", path.display()));
                continue;
            }
            Err(_) => continue,
        };
        let name = path.display().to_string();
        if add(sources, &text, &name, &format!("edit {name}"), None) {
            find_ignored(sources, &path, &text);
        }
    }
}

/// Whether this machine has a cron that is meant to run.
///
/// Every image of Alpine has busybox's. In a container, the entries are those of its host.
fn has_daemon(has_crontab: bool) -> bool {
    let is_container = ["/.dockerenv", "/run/.containerenv"].iter().any(|file| Path::new(file).exists());
    let found: Vec<_> = DAEMONS.iter().filter_map(|program| fs::canonicalize(program).ok()).collect();
    let is_busybox = |path: &PathBuf| path.ends_with("busybox");
    (has_crontab || !found.is_empty()) && !(is_container && found.iter().any(is_busybox))
}

/// The crontab of this user; `None` if there is no program `crontab`.
///
/// # Errors
/// The reason why it cannot be listed: no process or thread can be started, it takes too long, or `crontab` refuses.
fn list() -> Result<Option<String>, String> {
    let (mut output, writer) = io::pipe().map_err(|error| error.to_string())?;
    let also_writer = writer.try_clone().map_err(|error| error.to_string())?;
    let mut command = Command::new("crontab");
    command.arg("-l").stdin(Stdio::null()).stdout(writer).stderr(also_writer);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    // The pipe ends when the program does.
    drop(command);
    let (sender, receiver) = mpsc::channel();
    let reader = thread::Builder::new().spawn(move || {
        let mut text = Vec::new();
        let read = output.read_to_end(&mut text).map(|_| text);
        // After the limit nothing waits for it.
        let _ = sender.send(read);
    });
    let text = reader.map_err(|error| error.to_string()).and_then(|_| {
        let received = receiver.recv_timeout(MAX_LIST).map_err(|_| "`crontab -l` does not end".to_owned())?;
        received.map_err(|error| error.to_string())
    });
    if text.is_err() {
        let _ = child.kill();
    }
    let ended = child.wait().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&text?).into_owned();
    // Without a crontab, `crontab -l` fails.
    if ended.success() {
        return Ok(Some(text));
    }
    let has_none = ["no crontab", "No such file"].iter().any(|none| text.contains(none));
    if has_none { Ok(Some(String::new())) } else { Err(text.trim().to_owned()) }
}

/// Reads the crontabs of other users; also that of this user, unless that is known.
fn read_spools(sources: &mut Sources, own: &str, is_own_known: bool) {
    for spool in SPOOLS.map(Path::new) {
        let entries = match fs::read_dir(spool) {
            Ok(entries) => entries,
            Err(_) if !spool.is_dir() => continue,
            Err(_) => {
                sources.skip(Check::Jobs, "the crontabs of other users cannot be read");
                continue;
            }
        };
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
            let Some(user) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
            if user == own && is_own_known {
                continue;
            }
            match fs::read_to_string(&path) {
                Ok(text) => {
                    let edit = format!("crontab -u {user} -e");
                    add(sources, &text, &format!("the crontab of {user}"), &edit, Some(&user));
                }
                Err(_) => sources.skip(Check::Jobs, format!("the crontab of {user} cannot be read")),
            }
        }
    }
}

/// The crontabs of the system, which have a column for the user.
fn system_files() -> Vec<PathBuf> {
    let entries = fs::read_dir("/etc/cron.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| !is_left_over(path)).collect();
    files.sort();
    files.insert(0, "/etc/crontab".into());
    files
}

/// Whether every cron ignores a file, because an editor or a package manager left it.
fn is_left_over(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let suffixes =
        ["~", ".bak", ".rpmsave", ".rpmnew", ".rpmorig", ".dpkg-old", ".dpkg-dist", ".dpkg-new", ".disabled"];
    name.starts_with('.') || suffixes.iter().any(|suffix| name.ends_with(suffix))
}

/// Adds the entries of a crontab, and returns whether there is one for this program. `user` is `None` if lines name it.
fn add(sources: &mut Sources, text: &str, name: &str, edit: &str, user: Option<&str>) -> bool {
    let before = sources.entries.len();
    for line in crontab::parse(text, user.is_none()) {
        match line.and_then(|line| if user.is_some() && names_user(&line) { Err(line.number) } else { Ok(line) }) {
            Ok(line) => {
                let (number, is_cut) = (line.number, line.is_cut);
                if script::add(sources, entry(line, name, edit, user)) && is_cut {
                    let message = format!("cron ends the command in line {number} of {name} at its first %");
                    sources.add(Check::Entries, message, format!("write each % as \\%: {edit}"));
                }
            }
            Err(number) => {
                let line = text.lines().nth(number - 1).unwrap_or_default();
                if line.contains("cxnpoll") || line.contains("cxn:poll") {
                    let message = format!("line {number} of {name} is not one that cron can read");
                    let form = if user.is_none() { "*/5 * * * * USER COMMAND" } else { "*/5 * * * * COMMAND" };
                    sources.broken.push(line.to_owned());
                    sources.add(Check::Entries, message, format!("write it as `{form}`: {edit}"));
                }
            }
        }
    }
    sources.entries.len() > before
}

/// Whether a line of a user's crontab has a column for the user, which only those of the system have.
fn names_user(line: &Line) -> bool {
    let mut words = line.command.split_whitespace();
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    second.rsplit('/').next() == Some("cxnpoll") && (first == "cxnpoll" || users::uid(first).is_some())
}

/// The entry of a line.
fn entry(line: Line, name: &str, edit: &str, user: Option<&str>) -> Entry {
    let only_once =
        || Off { reason: "runs only when the machine starts", remedy: format!("write `*/5 * * * *` instead: {edit}") };
    Entry {
        place: format!("line {} of {name}", line.number),
        edit: edit.to_owned(),
        user: line.user.or_else(|| user.map(str::to_owned)),
        off: line.gaps.is_none().then(only_once),
        gaps: line.gaps,
        path: line.variables.get("PATH").map_or(CRON_PATH, String::as_str).to_owned(),
        sandbox: Sandbox::default(),
        unread: None,
        commands: shell::commands(&line.command),
        variables: line.variables,
    }
}

/// Finds out whether cron ignores a file in `/etc/cron.d`, or its last line.
fn find_ignored(sources: &mut Sources, path: &Path, text: &str) {
    let shown = path.display();
    if !text.ends_with('\n') {
        let remedy = format!("end the file with a line feed: echo >> {shown}");
        sources.add(Check::Entries, format!("cron ignores the last line of {shown}, which has no end"), remedy);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if !is_plain && Path::new("/etc/debian_version").exists() {
        let plain: String = name.chars().map(|c| if c == '.' { '-' } else { c }).collect();
        let message =
            format!("cron ignores {shown}, because its name has other characters than letters, digits, - and _");
        sources.add(Check::Entries, message, format!("rename it: mv {shown} {}", path.with_file_name(plain).display()));
    }
    if let Ok(metadata) = fs::metadata(path)
        && (metadata.uid() != 0 || metadata.mode() & 0o022 != 0)
    {
        let message = format!("cron ignores {shown}, because other users than root may write it");
        sources.add(Check::Entries, message, format!("type: chown root {shown}; chmod 644 {shown}"));
    }
}

//! The crontabs of this machine.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::super::users;
use super::crontab::{self, Line};
use super::entry::Entry;
use super::shell;
use super::sources::Sources;
use crate::cli::commands::findings::Check;

/// The directories in which cron looks programs up.
const CRON_PATH: &str = "/usr/bin:/bin";
/// Where the crontabs of users are.
const SPOOLS: [&str; 3] = ["/var/spool/cron/crontabs", "/var/spool/cron", "/var/spool/cron/tabs"];
/// How long `crontab -l` may take.
const MAX_LIST: Duration = Duration::from_secs(2);

/// Reads the crontabs that this user may read.
pub(in super::super) fn read(sources: &mut Sources) {
    let own = users::name(users::current());
    let spool = SPOOLS.iter().map(Path::new).find(|spool| spool.is_dir());
    sources.has_scheduler |= spool.is_some() || Path::new("/etc/cron.d").is_dir();
    let listed = list();
    sources.has_scheduler |= listed.is_some();
    if let Some(text) = &listed {
        add(sources, text, &format!("the crontab of {own}"), "crontab -e", Some(&own));
    }
    read_spools(sources, &own, listed.is_some());
    for path in system_files() {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        sources.has_scheduler = true;
        let name = path.display().to_string();
        if add(sources, &text, &name, &format!("edit {name}"), None) {
            find_ignored(sources, &path, &text);
        }
    }
}

/// The crontab of this user; `None` if there is no program `crontab`.
fn list() -> Option<String> {
    let mut child = Command::new("crontab")
        .arg("-l")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut stdout = child.stdout.take()?;
    let reader = thread::spawn(move || std::io::read_to_string(&mut stdout).unwrap_or_default());
    let began = Instant::now();
    while child.try_wait().is_ok_and(|status| status.is_none()) {
        if began.elapsed() > MAX_LIST {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
    reader.join().ok()
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
        match line {
            Ok(line) => {
                let (number, is_cut) = (line.number, line.is_cut);
                let entry = entry(line, name, edit, user);
                if is_cut && entry.is_some() {
                    let message = format!("cron ends the command in line {number} of {name} at its first %");
                    sources.add(Check::Entries, message, format!("write each % as \\%: {edit}"));
                }
                sources.entries.extend(entry);
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

/// The entry of a line; `None` if it is of another program.
fn entry(line: Line, name: &str, edit: &str, user: Option<&str>) -> Option<Entry> {
    if !line.command.contains("cxnpoll") {
        return None;
    }
    Some(Entry {
        place: format!("line {} of {name}", line.number),
        edit: edit.to_owned(),
        user: line.user.or_else(|| user.map(str::to_owned)),
        gap_s: line.gap_s,
        path: line.variables.get("PATH").map_or(CRON_PATH, String::as_str).to_owned(),
        created: Vec::new(),
        unread: None,
        commands: shell::commands(&line.command),
        variables: line.variables,
    })
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

//! The scripts that entries start.
//!
//! Examples are `/usr/local/bin/poll-all`, and all those of `run-parts /etc/cron.hourly`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::entry::Entry;
use super::shell::{self, Simple};
use super::sources::Sources;
use crate::cli::commands::findings::Check;

/// The largest script that is read, in bytes.
const MAX_BYTES: u64 = 64 << 10;
/// How many scripts of a directory are read.
const MAX_SCRIPTS: usize = 100;
/// What the path of a script that may start runs has, if its text cannot be read.
const HINTS: [&str; 3] = ["cxn", "poll", "civi"];
/// Programs whose argument is a script. What the last of them read is not the text of a shell.
const INTERPRETERS: [&str; 13] =
    ["sh", "bash", "dash", "ash", "ksh", "zsh", ".", "source", "busybox", "python3", "python", "perl", "php"];

/// Adds an entry if it starts this program, and one for each of its scripts that does.
///
/// Scripts of scripts are not read. Returns whether any entry was added.
pub(super) fn add(sources: &mut Sources, entry: Entry) -> bool {
    let before = sources.entries.len();
    for path in entry.commands.iter().flat_map(|command| files(command, &entry.path)) {
        match read(&path) {
            Ok(Some(text))
                if !can_start(&path) && entry.commands.iter().any(|command| path == Path::new(&command.words[0])) =>
            {
                let message = format!("{} starts {}, which cannot be executed", entry.place, path.display());
                sources.add(Check::Entries, message, format!("make it executable: chmod +x {}", path.display()));
                sources.broken.push(text);
            }
            Ok(Some(text)) => {
                sources.has_scheduler = true;
                let script = of_script(&entry, &path, &text);
                if starts_run(&script) {
                    sources.entries.push(script);
                } else {
                    let message =
                        format!("{} starts {}, which uses cxnpoll in its own way", entry.place, path.display());
                    sources.skip_jobs(Check::Entries, message);
                }
            }
            // Other users have scripts that have nothing to do with this program.
            Err(_) if HINTS.iter().any(|hint| path.to_string_lossy().contains(hint)) => sources.skip_jobs(
                Check::Entries,
                format!("{} starts {}, which this user may not read", entry.place, path.display()),
            ),
            Ok(None) | Err(_) => {}
        }
    }
    let names_program = |command: &Simple| command.words.iter().any(|word| word.contains("cxnpoll"));
    if entry.commands.iter().any(names_program) {
        sources.entries.push(entry);
    }
    sources.entries.len() > before
}

/// The entry of a script that another entry starts.
fn of_script(entry: &Entry, path: &Path, text: &str) -> Entry {
    let mut script = Entry {
        place: format!("{}, which {} starts,", path.display(), entry.place),
        edit: format!("edit {}", path.display()),
        commands: shell::commands(text),
        ..entry.clone()
    };
    // The options of `sudo` and the like apply to the script too.
    script.user = shell::other_user(&entry.commands).unwrap_or(script.user);
    for command in &script.commands {
        let words = command.words.strip_prefix(&["export".to_owned()]).unwrap_or(&command.words);
        let set = shell::assignments(words);
        if set.len() == words.len() {
            let known = &script.variables;
            let set: BTreeMap<_, _> =
                set.into_iter().map(|(name, value)| (name, shell::expand_word(value, known))).collect();
            script.variables.extend(set);
        }
    }
    if let Some(path) = script.variables.get("PATH") {
        script.path = path.replace("${PATH}", &entry.path).replace("$PATH", &entry.path);
    }
    script
}

fn starts_run(entry: &Entry) -> bool {
    let words = |command: &Simple| shell::expand(command.words.clone(), &entry.variables);
    entry.commands.iter().any(|command| shell::invocation(&words(command)).is_some())
}

fn can_start(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// The files of a command that may be scripts.
fn files(command: &Simple, search: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut before = "";
    for (at, word) in command.words.iter().enumerate() {
        let path = Path::new(word);
        let is_started = at == 0 || INTERPRETERS.contains(&before);
        if path.is_dir() && command.words.iter().any(|word| word.ends_with("run-parts")) {
            let mut paths: Vec<_> =
                fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            paths.sort();
            found.extend(paths.into_iter().filter(|path| can_start(path)).take(MAX_SCRIPTS));
        } else if path.is_absolute() && ((is_started && path.is_file()) || can_start(path)) {
            found.push(path.to_owned());
        } else if at == 0 && !word.contains('/') {
            let paths = search.split(':').map(|dir| Path::new(dir).join(word));
            found.extend(paths.filter(|path| can_start(path)).take(1));
        }
        before = path.file_name().and_then(|name| name.to_str()).unwrap_or(word);
    }
    found
}

/// Reads a script; `None` if it does not name this program, or is no small text.
///
/// # Errors
/// This user may not read it.
fn read(path: &Path) -> Result<Option<String>, ErrorKind> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    match read {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error.kind()),
        Ok(bytes) if bytes as u64 <= MAX_BYTES && text.contains("cxnpoll") && !text.contains('\0') => Ok(Some(text)),
        _ => Ok(None),
    }
}

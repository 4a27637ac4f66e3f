//! The users of this machine, by the file that lists them.

use std::fs;
use std::path::PathBuf;

/// The user of this process.
pub(super) fn current() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The name of a user; its number with `#` before it if it has none.
pub(super) fn name(uid: u32) -> String {
    let uid_text = uid.to_string();
    find(|fields| fields[2] == uid_text).map_or_else(|| format!("#{uid}"), |fields| fields[0].clone())
}

/// The number of a user; `None` if there is no such user.
pub(super) fn uid(name: &str) -> Option<u32> {
    match name.strip_prefix('#').unwrap_or(name).parse() {
        Ok(uid) => Some(uid),
        Err(_) => find(|fields| fields[0] == name)?[2].parse().ok(),
    }
}

/// The home directory of a user; `None` if that is not known.
pub(super) fn home(name: &str) -> Option<PathBuf> {
    find(|fields| fields[0] == name).map(|fields| fields[5].clone().into())
}

fn find(is_wanted: impl Fn(&[String]) -> bool) -> Option<Vec<String>> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    text.lines().map(fields).find(|fields| fields.len() > 5 && is_wanted(fields))
}

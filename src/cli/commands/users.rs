//! The users and groups of this machine, by the files that list them.
//!
//! It also names the commands that let this user read a file.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::process::{getegid, getgroups};

use crate::store::Audit;
use crate::util::text::{sanitize, shell_quoted};

/// The user of this process.
pub(in crate::cli) fn current() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// What history records about a change by this command: its user, and more about it.
///
/// The user is the one that started the program. Behind it is the one that called sudo: `cxnpoll (sudo: jo)`.
pub(in crate::cli) fn audit(detail: impl Into<String>) -> Audit {
    let user = name(rustix::process::getuid().as_raw());
    let sudo = ["SUDO_USER", "SUDO_UID"].map(|variable| env::var(variable).unwrap_or_default());
    Audit { user: sanitize(&with_sudo(user, &sudo[0], sudo[1].parse().ok(), uid)), detail: detail.into() }
}

/// Adds the user of sudo, unless it is the same or its name has another number than sudo reports.
fn with_sudo(user: String, sudo: &str, sudo_uid: Option<u32>, uid: impl Fn(&str) -> Option<u32>) -> String {
    let is_plausible = sudo_uid.is_some_and(|by_sudo| uid(sudo).is_none_or(|uid| uid == by_sudo));
    if sudo.is_empty() || sudo == user || !is_plausible { user } else { format!("{user} (sudo: {sudo})") }
}

/// The name of a user; its number with `#` before it if it has none.
pub(in crate::cli) fn name(uid: u32) -> String {
    let uid_text = uid.to_string();
    find(|fields| fields[2] == uid_text).map_or_else(|| format!("#{uid}"), |fields| fields[0].clone())
}

/// The number of a user; `None` if there is no such user.
pub(in crate::cli) fn uid(name: &str) -> Option<u32> {
    match name.strip_prefix('#').unwrap_or(name).parse() {
        Ok(uid) => Some(uid),
        Err(_) => find(|fields| fields[0] == name)?[2].parse().ok(),
    }
}

/// The home directory of a user; `None` if that is not known.
pub(in crate::cli) fn home(name: &str) -> Option<PathBuf> {
    find(|fields| fields[0] == name).map(|fields| fields[5].clone().into())
}

/// What lets this user read a file, or list a directory; `None` if nothing refuses it.
///
/// It names what refuses it, whose that is, its mode, and the commands.
pub(in crate::cli) fn access_remedy(path: &Path) -> Option<String> {
    let refuses = |dir: &&Path| !dir.as_os_str().is_empty() && access(*dir, Access::EXEC_OK).is_err();
    let dirs: Vec<_> = path.ancestors().skip(1).collect();
    let dir = dirs.into_iter().rev().find(refuses);
    let target = dir.or_else(|| access(path, Access::READ_OK).is_err().then_some(path))?;
    let metadata = fs::metadata(target).ok()?;
    let (shown, what) = (shell_quoted(target), if metadata.is_dir() { "rx" } else { "r" });
    let (owner, mode) = (name(metadata.uid()), metadata.mode() & 0o7777);
    let is_member = getegid().as_raw() == metadata.gid()
        || getgroups().unwrap_or_default().iter().any(|group| group.as_raw() == metadata.gid());
    let commands = if metadata.uid() == current() {
        format!("chmod u+{what} {shown}")
    } else if is_member {
        format!("chmod g+{what} {shown}")
    } else {
        format!("chgrp {} {shown}; chmod g+{what} {shown}", group_name(getegid().as_raw()))
    };
    Some(format!(
        "let {} read {shown}, which belongs to {owner} (mode {mode:o}), as {owner}: {commands}",
        name(current())
    ))
}

/// The name of a group; its number if it has none.
fn group_name(gid: u32) -> String {
    let gid_text = gid.to_string();
    let group = find_in("/etc/group", 3, |fields| fields[2] == gid_text);
    group.map_or(gid_text, |fields| fields[0].clone())
}

fn find(is_wanted: impl Fn(&[String]) -> bool) -> Option<Vec<String>> {
    find_in("/etc/passwd", 6, is_wanted)
}

/// The fields of the first line of a file that has at least so many.
fn find_in(file: &str, min_fields: usize, is_wanted: impl Fn(&[String]) -> bool) -> Option<Vec<String>> {
    let text = fs::read_to_string(file).ok()?;
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    text.lines().map(fields).find(|fields| fields.len() >= min_fields && is_wanted(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_that_called_sudo_is_named() {
        let uid = |name: &str| (name == "jo").then_some(1000);
        let named = |user: &str, sudo, sudo_uid| with_sudo(user.to_owned(), sudo, sudo_uid, uid);
        assert_eq!(named("cxnpoll", "jo", Some(1000)), "cxnpoll (sudo: jo)");
        // A user of a directory service is in no file.
        assert_eq!(named("root", "ann", Some(2000)), "root (sudo: ann)");
        for (sudo, sudo_uid) in [("", None), ("", Some(1000)), ("jo", None), ("jo", Some(0)), ("root", Some(0))] {
            assert_eq!(named("root", sudo, sudo_uid), "root", "{sudo} {sudo_uid:?}");
        }
    }
}

//! The timers of systemd: those that are enabled, and those that would start this program if they were.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::entry::{Entry, Off};
use super::sandbox::Sandbox;
use super::script;
use super::shell::Simple;
use super::sources::Sources;
use super::unit::{Unit, variables, variables_of_file, with_specifiers};
use crate::cli::commands::users;
use crate::util::home::user_dir;

/// Where the units of the system are; the first directory that has a unit counts.
const SYSTEM_DIRS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// The directories in which systemd looks programs up.
const SYSTEMD_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The units of the system or of a user.
struct Units {
    dirs: Vec<PathBuf>,
    /// `--user ` for those of a user.
    option: &'static str,
    /// The user that services run as, unless they name one.
    user: String,
}

/// Reads the timers of the system and of this user.
pub(in super::super) fn read(sources: &mut Sources) {
    sources.has_scheduler |= Path::new("/run/systemd/system").is_dir();
    let system = SYSTEM_DIRS.map(PathBuf::from).to_vec();
    let of_user = user_dir("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("systemd/user"));
    let of_user = of_user.into_iter().chain(["/etc/systemd/user".into(), "/usr/lib/systemd/user".into()]).collect();
    for units in [
        Units { dirs: system, option: "", user: "root".to_owned() },
        Units { dirs: of_user, option: "--user ", user: users::name(users::current()) },
    ] {
        sources.has_template |= units.file("cxnpoll@.timer").is_some();
        let enabled = units.enabled();
        let others: BTreeSet<_> = units.installed().difference(&enabled).cloned().collect();
        for (timer, is_enabled) in
            enabled.iter().map(|timer| (timer, true)).chain(others.iter().map(|timer| (timer, false)))
        {
            if let Some(entry) = units.entry(timer, is_enabled) {
                script::add(sources, entry);
            }
        }
    }
}

impl Units {
    /// The names of the enabled timers.
    fn enabled(&self) -> BTreeSet<String> {
        let dirs = self.dirs.iter().flat_map(|dir| list(dir));
        let wants = dirs.filter(|path| path.extension().is_some_and(|extension| extension == "wants"));
        let units = wants.flat_map(|dir| list(&dir));
        let names = units.filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
        names.filter(|name| name.strip_suffix(".timer").is_some()).collect()
    }

    /// The names of all timers, with an instance of the template for each file with its variables.
    fn installed(&self) -> BTreeSet<String> {
        let files = self.dirs.iter().flat_map(|dir| list(dir));
        let names = files.filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
        let timers = names.filter(|name| name.strip_suffix(".timer").is_some_and(|stem| !stem.ends_with('@')));
        let template = self.file("cxnpoll@.timer").and_then(|_| self.unit("cxnpoll@.service"));
        let files: Vec<_> = template.iter().flat_map(|unit| unit.all("EnvironmentFile")).map(str::to_owned).collect();
        let instances =
            files.iter().filter_map(|file| file.trim_start_matches('-').split_once("%i")).flat_map(|(dir, suffix)| {
                let files = list(Path::new(dir)).into_iter();
                let name = |path: PathBuf| Some(path.file_name()?.to_str()?.strip_suffix(suffix)?.to_owned());
                files.filter_map(name).map(|name| format!("cxnpoll@{name}.timer")).collect::<Vec<_>>()
            });
        timers.chain(instances).collect()
    }

    /// The name of a unit, or of the template that it is made from, if that is a link to `/dev/null`.
    ///
    /// `None` if it is not masked.
    fn masked(&self, name: &str) -> Option<String> {
        let first = |name: String| {
            let path = self.dirs.iter().map(|dir| dir.join(&name)).find(|path| path.symlink_metadata().is_ok())?;
            Some((name, path))
        };
        let (name, path) = first(name.to_owned()).or_else(|| first(template(name)?))?;
        fs::canonicalize(path).is_ok_and(|path| path == Path::new("/dev/null")).then_some(name)
    }

    /// Why a timer starts nothing, or only once; `None` if it starts again and again.
    fn off(&self, timer: &str, is_enabled: bool, unit: &Unit, service: &str) -> Option<Off> {
        let Self { option, .. } = self;
        let off = |reason, remedy| Some(Off { reason, remedy });
        let add = format!("add OnCalendar=*:0/5 to its [Timer]: systemctl {option}edit {timer}");
        let masked = [(timer, "is masked"), (service, "starts a service that is masked")];
        if let Some((name, reason)) = masked.iter().find_map(|(name, reason)| Some((self.masked(name)?, *reason))) {
            return off(reason, format!("unmask it: systemctl {option}unmask {name}"));
        }
        match unit.triggers() {
            (false, _) => off("has no time at which it starts", add),
            _ if !is_enabled => off("is not enabled", format!("enable it: systemctl {option}enable --now {timer}")),
            (_, false) => off("starts only once", add),
            _ => None,
        }
    }

    /// The file of a unit; `None` if there is none.
    fn file(&self, name: &str) -> Option<PathBuf> {
        self.dirs.iter().map(|dir| dir.join(name)).find(|path| path.is_file())
    }

    /// Reads a unit, from its own file or that of its template, with its drop-ins.
    fn unit(&self, name: &str) -> Option<Unit> {
        let template = template(name);
        let names: Vec<_> = template.iter().map(String::as_str).chain([name]).collect();
        let file = names.iter().rev().find_map(|name| self.file(name))?;
        let mut unit = Unit::default();
        unit.add(&fs::read_to_string(file).ok()?);
        let drop_ins = names.iter().flat_map(|name| self.dirs.iter().map(move |dir| dir.join(format!("{name}.d"))));
        for path in drop_ins.flat_map(|dir| list(&dir)) {
            unit.add(&fs::read_to_string(path).unwrap_or_default());
        }
        Some(unit)
    }

    /// The entry of a timer; `None` if one of its units cannot be read.
    fn entry(&self, timer: &str, is_enabled: bool) -> Option<Entry> {
        let timer_unit = self.unit(timer)?;
        let named = timer_unit.last("Unit").map(|unit| with_specifiers(unit, timer));
        let service = named.unwrap_or_else(|| timer.replace(".timer", ".service"));
        let unit = self.unit(&service)?;
        let mut all = BTreeMap::new();
        for value in unit.all("Environment") {
            all.extend(variables(&with_specifiers(value, &service)));
        }
        let mut unread = None;
        for value in unit.all("EnvironmentFile") {
            let path = PathBuf::from(with_specifiers(value.trim_start_matches('-'), &service));
            match fs::read_to_string(&path) {
                Ok(text) => all.extend(variables_of_file(&text)),
                // Systemd reads it as root, so it may be private.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => unread = Some(path),
                Err(_) => {}
            }
        }
        let command = |text: &str| {
            let text = with_specifiers(text.trim_start_matches(['@', '-', ':', '+', '!', '|']), &service);
            Some(Simple { words: shlex::split(&text)?, outputs: Vec::new() })
        };
        Some(Entry {
            place: timer.to_owned(),
            edit: format!("systemctl {}edit {service}", self.option),
            user: Some(unit.last("User").map_or(self.user.clone(), |user| with_specifiers(user, &service))),
            off: self.off(timer, is_enabled, &timer_unit, &service),
            gaps: timer_unit.gaps(),
            path: all.get("PATH").map_or(SYSTEMD_PATH, String::as_str).to_owned(),
            sandbox: Sandbox::of(&unit, &service),
            unread,
            commands: unit.all("ExecStart").filter_map(command).collect(),
            variables: all,
        })
    }
}

/// The template of a unit's name: `cxnpoll@.timer` of `cxnpoll@job.timer`; `None` of any other name.
fn template(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_once('@')?;
    let (_, suffix) = rest.rsplit_once('.')?;
    Some(format!("{prefix}@.{suffix}"))
}

/// The files in a directory, sorted; none if it cannot be read.
fn list(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_mask_of_a_unit_or_of_its_template_is_named() {
        let [etc, lib] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let dirs = [&etc, &lib].map(|dir| dir.path().to_owned()).to_vec();
        let units = Units { dirs, option: "", user: String::new() };
        fs::write(lib.path().join("cxnpoll@.timer"), "[Timer]\n").unwrap();
        assert_eq!(units.masked("cxnpoll@job.timer"), None);
        symlink("/dev/null", etc.path().join("cxnpoll@.timer")).unwrap();
        assert_eq!(units.masked("cxnpoll@job.timer").as_deref(), Some("cxnpoll@.timer"));
        symlink("/dev/null", etc.path().join("cxnpoll@job.timer")).unwrap();
        assert_eq!(units.masked("cxnpoll@job.timer").as_deref(), Some("cxnpoll@job.timer"));
        assert_eq!(units.masked("other.timer"), None);
    }
}

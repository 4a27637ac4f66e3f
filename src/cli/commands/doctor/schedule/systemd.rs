//! The enabled timers of systemd.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::users;
use super::entry::Entry;
use super::shell::Simple;
use super::sources::Sources;
use super::unit::{Unit, variables, variables_of_file, with_specifiers};
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
        sources.entries.extend(units.enabled().iter().filter_map(|timer| units.entry(timer)));
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

    /// The file of a unit; `None` if there is none.
    fn file(&self, name: &str) -> Option<PathBuf> {
        self.dirs.iter().map(|dir| dir.join(name)).find(|path| path.is_file())
    }

    /// Reads a unit, from its own file or that of its template, with its drop-ins.
    fn unit(&self, name: &str) -> Option<Unit> {
        let template = name.split_once('@').and_then(|(prefix, rest)| {
            let (_, suffix) = rest.rsplit_once('.')?;
            Some(format!("{prefix}@.{suffix}"))
        });
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

    /// The entry of a timer; `None` if it does not start this program.
    fn entry(&self, timer: &str) -> Option<Entry> {
        let timer_unit = self.unit(timer)?;
        let named = timer_unit.last("Unit").map(|unit| with_specifiers(unit, timer));
        let service = named.unwrap_or_else(|| timer.replace(".timer", ".service"));
        let unit = self.unit(&service)?;
        if !unit.all("ExecStart").any(|command| command.contains("cxnpoll")) {
            return None;
        }
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
        let created = [("StateDirectory", "/var/lib"), ("LogsDirectory", "/var/log")];
        let created = created.iter().flat_map(|(key, dir)| unit.all(key).map(|name| Path::new(dir).join(name)));
        Some(Entry {
            place: timer.to_owned(),
            edit: format!("systemctl {}edit {service}", self.option),
            user: Some(unit.last("User").map_or(self.user.clone(), |user| with_specifiers(user, &service))),
            gap_s: timer_unit.gap_s(),
            path: all.get("PATH").map_or(SYSTEMD_PATH, String::as_str).to_owned(),
            created: created.collect(),
            unread,
            commands: unit.all("ExecStart").filter_map(command).collect(),
            variables: all,
        })
    }
}

/// The files in a directory, sorted; none if it cannot be read.
fn list(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

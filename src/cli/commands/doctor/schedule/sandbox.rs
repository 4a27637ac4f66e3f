//! Which directories the service of a timer may write.

use std::path::{Path, PathBuf};

use super::unit::{Unit, with_specifiers};

/// The directories that systemd creates for a service, and where they are.
const CREATED: [(&str, &str); 5] = [
    ("StateDirectory", "/var/lib"),
    ("LogsDirectory", "/var/log"),
    ("CacheDirectory", "/var/cache"),
    ("RuntimeDirectory", "/run"),
    ("ConfigurationDirectory", "/etc"),
];
const YES: [&str; 4] = ["yes", "true", "on", "1"];

/// What a service may write.
#[derive(Debug, Clone, Default)]
pub(super) struct Sandbox {
    /// The directories that systemd creates before it starts.
    pub(super) created: Vec<PathBuf>,
    /// The directories that must exist.
    pub(super) required: Vec<PathBuf>,
    /// Directories, and whether the service may write what is in them. That of the longest path counts.
    rules: Vec<(PathBuf, bool)>,
}

impl Sandbox {
    /// Reads the sandbox of a service.
    pub(super) fn of(unit: &Unit, service: &str) -> Self {
        let mut rules: Vec<(PathBuf, bool)> = Vec::new();
        let mut add = |paths: &[&str], is_writable| {
            rules.extend(paths.iter().map(|path| (PathBuf::from(path), is_writable)));
        };
        let is_dynamic = unit.has("DynamicUser", &YES);
        if is_dynamic || unit.has("ProtectSystem", &["strict"]) {
            add(&["/"], false);
            add(&["/dev", "/proc", "/sys"], true);
        } else if unit.has("ProtectSystem", &["full"]) {
            add(&["/usr", "/boot", "/efi", "/etc"], false);
        } else if unit.has("ProtectSystem", &YES) {
            add(&["/usr", "/boot", "/efi"], false);
        }
        if is_dynamic || unit.has("ProtectHome", &YES) || unit.has("ProtectHome", &["read-only", "tmpfs"]) {
            add(&["/home", "/root", "/run/user"], false);
        }
        if is_dynamic || unit.has("PrivateTmp", &YES) || unit.has("PrivateTmp", &["disconnected"]) {
            add(&["/tmp", "/var/tmp"], true);
        }
        let words = |key| unit.all(key).filter_map(|value| shlex::split(&with_specifiers(value, service)));
        let created = CREATED.iter().flat_map(|(key, dir)| {
            words(key).flatten().map(move |name| Path::new(dir).join(name.split(':').next().unwrap_or_default()))
        });
        let created: Vec<_> = created.collect();
        rules.extend(created.iter().map(|dir| (dir.clone(), true)));
        let required = words("ReadWritePaths").flatten().filter(|path| path.starts_with('/')).map(PathBuf::from);
        let required = required.collect();
        for (key, is_writable) in [
            ("ReadWritePaths", true),
            ("ReadWriteDirectories", true),
            ("BindPaths", true),
            ("ReadOnlyPaths", false),
            ("InaccessiblePaths", false),
        ] {
            for path in words(key).flatten() {
                let path = path.trim_start_matches(['-', '+']);
                // `BindPaths=` has the path outside first.
                rules.push((path.split(':').nth(1).unwrap_or(path).into(), is_writable));
            }
        }
        Self { created, required, rules }
    }

    /// Whether the service sees a path as one that it cannot write.
    pub(super) fn is_read_only(&self, path: &Path) -> bool {
        let rules = self.rules.iter().filter(|(dir, _)| path.starts_with(dir));
        rules.max_by_key(|(dir, _)| dir.components().count()).is_some_and(|(_, is_writable)| !is_writable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_path_decides_what_may_be_written() {
        for (text, writable, read_only) in [
            ("", &["/", "/home/a"][..], &[][..]),
            (
                "ProtectSystem=strict\nStateDirectory=cxnpoll x/y\nReadWritePaths=-/srv/m /opt\nPrivateTmp=yes",
                &["/var/lib/cxnpoll/store", "/var/lib/x/y", "/srv/m/a", "/opt", "/tmp/x", "/dev/shm"],
                &["/srv", "/var/lib/prometheus", "/home/a", "/etc"],
            ),
            ("ProtectSystem=full\nProtectHome=read-only", &["/srv", "/var"], &["/etc/x", "/usr/x", "/home/a"]),
            ("ProtectSystem=yes\nReadOnlyPaths=/srv\nReadWritePaths=/srv/%i", &["/etc", "/srv/job"], &["/srv/x"]),
            ("DynamicUser=yes\nBindPaths=/data:/store", &["/store", "/tmp"], &["/data", "/home"]),
            ("ProtectSystem=strict\nProtectSystem=no", &["/srv"], &[]),
        ] {
            let mut unit = Unit::default();
            unit.add(text);
            let sandbox = Sandbox::of(&unit, "cxnpoll@job.service");
            let is_read_only = |path: &&str| sandbox.is_read_only(Path::new(path));
            assert!(!writable.iter().any(is_read_only) && read_only.iter().all(is_read_only), "{text}: {sandbox:?}");
        }
    }
}

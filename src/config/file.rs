//! The configuration file `cxnpoll.toml`: how it is found and what is in it.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;
use tracing::debug;

use super::app_table::AppTable;
use super::cxnapp::read_optional;
use super::error::{Error, Result};
use super::heartbeat::HeartbeatUrl;
use super::history::HistoryTable;
use super::job_table::{self, JobTables};
use super::limits::LimitTable;
use super::listeners::ListenerTable;
use super::notify::NotifyTable;
use super::registration::RegistrationTable;
use crate::listener::Listeners;
use crate::model::{AppId, JobName};
use crate::site::{RefusedPorts, Timeouts};
use crate::store::Limits;
use crate::util::encryption::Recipient;
use crate::util::home;

/// The content of the configuration file. Paths in the file are relative to its directory.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// The directory of the store.
    #[serde(deserialize_with = "home::deserialize")]
    pub store: Option<PathBuf>,
    /// The directory of cxnapp's apps: one directory per app, with `metadata.json` and `app.crt`.
    #[serde(deserialize_with = "home::deserialize")]
    pub apps_dir: Option<PathBuf>,
    /// Networks that may be connected to although they are not public.
    pub allow_net: Vec<IpNet>,
    /// Ports that are never connected to.
    pub refuse_ports: RefusedPorts,
    /// A PEM file with certificates of authorities that are trusted in addition to those of the platform.
    #[serde(deserialize_with = "home::deserialize")]
    pub ca_file: Option<PathBuf>,
    /// How long a call to a site may take.
    pub timeouts: Timeouts,
    /// The URL to call after successful runs.
    pub heartbeat: Option<HeartbeatUrl>,
    /// How administrators of sites can reach the operator; part of the user agent.
    pub contact: Option<String>,
    /// How many polls at a time the addresses of a host get, in place of `--per-host`. A proxy takes more.
    pub per_host: BTreeMap<String, usize>,
    /// Limits that several hosts share.
    pub limits: Vec<LimitTable>,
    /// Apps that the file defines, by their id with or without `app:`.
    pub apps: BTreeMap<String, AppTable>,
    /// The values of jobs.
    #[serde(deserialize_with = "job_table::deserialize")]
    pub jobs: JobTables,
    /// When runs back up the store.
    pub backups: BackupTable,
    /// How long history is kept.
    pub history: HistoryTable,
    /// Messages about what changed; `None` without the table.
    pub notify: Option<NotifyTable>,
    /// How many results of listeners are kept.
    pub results: Limits,
    /// Whether runs follow sites that move.
    pub follow: FollowTable,
    /// Which registrations are accepted.
    pub registration: RegistrationTable,
    /// Listeners of polls and runs.
    pub listeners: Vec<ListenerTable>,
    /// The file that was read; `None` if there is none and everything has its default.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

/// When runs back up the store, and how many backups are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct BackupTable {
    /// A run writes a backup when the newest is older than this, in hours; 0 is never.
    pub every_hours: u32,
    /// How many backups are kept, the newest.
    pub keep: NonZeroUsize,
    /// Whether a run restores the backup that it wrote to a temporary store, to check it.
    pub verify: bool,
    /// The keys that backups are encrypted to.
    pub recipients: Vec<Recipient>,
    /// A file with more of them.
    #[serde(deserialize_with = "home::deserialize")]
    pub recipients_file: Option<PathBuf>,
}

/// Whether runs follow sites that move.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct FollowTable {
    /// Whether a site gets the target of its permanent redirect as siteUrl, after three days.
    pub permanent: bool,
}

impl Default for BackupTable {
    /// One per day, for a week.
    fn default() -> Self {
        let keep = const { NonZeroUsize::new(7).unwrap() };
        Self { every_hours: 24, keep, verify: false, recipients: Vec::new(), recipients_file: None }
    }
}

/// The name of the configuration file.
const FILE_NAME: &str = "cxnpoll.toml";
/// The directory of the configuration of the system.
const SYSTEM_DIR: &str = "/etc/cxnpoll";
/// The environment variable that names the file.
pub(crate) const CONFIG_VARIABLE: &str = "CXNPOLL_CONFIG";
/// The environment variable that names the store.
pub(crate) const STORE_VARIABLE: &str = "CXNPOLL_STORE";

impl Config {
    /// Reads the configuration file.
    ///
    /// That is the one that is named, or else `CXNPOLL_CONFIG`, or the first that exists of the user's configuration
    /// directory and `/etc/cxnpoll/`. Without any, everything has its default. A user's directory that cannot be
    /// searched has none: `sudo` may keep the home directory of another user.
    ///
    /// # Errors
    /// [`Error::NoFile`] where the named file does not exist; others where a file cannot be read.
    pub fn load(named: Option<&Path>) -> Result<Self> {
        if let Some(path) = path_of(named, CONFIG_VARIABLE)? {
            return Self::read(&path)?.ok_or(Error::NoFile { path });
        }
        let of_user = match home::user_dir("XDG_CONFIG_HOME", ".config") {
            Some(dir) => Self::read_if_there(&dir.join("cxnpoll").join(FILE_NAME))?,
            None => None,
        };
        match of_user {
            Some(config) => Ok(config),
            None => Ok(Self::read(&Path::new(SYSTEM_DIR).join(FILE_NAME))?.unwrap_or_default()),
        }
    }

    /// The file that a new configuration is written to.
    ///
    /// That is the one that is named, or else `CXNPOLL_CONFIG`, or that of [`Config::default_file`].
    ///
    /// # Errors
    /// [`Error::NoHome`] where the user has no home directory for it, [`Error::InvalidTilde`].
    pub(crate) fn file_to_write(named: Option<&Path>) -> Result<PathBuf> {
        path_of(named, CONFIG_VARIABLE)?.or_else(Self::default_file).ok_or(Error::NoHome)
    }

    /// The file that is read if none is named: for root that of the system, else that of the user.
    ///
    /// `None` if the user has no home directory.
    pub(crate) fn default_file() -> Option<PathBuf> {
        if rustix::process::geteuid().is_root() {
            return Some(Path::new(SYSTEM_DIR).join(FILE_NAME));
        }
        home::user_dir("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("cxnpoll").join(FILE_NAME))
    }

    /// Reads the keys that are present in the file, without defaults; empty if no file was read.
    ///
    /// # Errors
    /// Fails if the file cannot be read any more.
    pub(crate) fn written(&self) -> Result<toml::Table> {
        let Some(path) = &self.file else { return Ok(toml::Table::new()) };
        let text = read_optional(path)?.ok_or_else(|| Error::NoFile { path: path.clone() })?;
        text.parse().map_err(|source| Error::Toml { path: path.clone(), source })
    }

    /// The line of the table of a job in the file, from 1; `None` if it is not there any more.
    pub(crate) fn line_of_job(&self, app: &AppId, name: &JobName) -> Option<usize> {
        let text = read_optional(self.file.as_ref()?).ok()??;
        job_table::line_of(&text, app, name)
    }

    /// Reads one file; `None` if it does not exist, as far as this user can see.
    fn read_if_there(path: &Path) -> Result<Option<Self>> {
        match Self::read(path) {
            Err(Error::File(error)) if fs::symlink_metadata(path).is_err() => {
                debug!(file = %path.display(), error = %error.source, "no configuration of the user is there");
                Ok(None)
            }
            read => read,
        }
    }

    /// Reads one file; `None` if it does not exist.
    fn read(path: &Path) -> Result<Option<Self>> {
        let Some(text) = read_optional(path)? else { return Ok(None) };
        match Self::parse(&text, path.parent().unwrap_or(Path::new(""))) {
            Ok(config) => Ok(Some(Self { file: Some(path.to_owned()), ..config })),
            Err(source) => Err(Error::Toml { path: path.to_owned(), source }),
        }
    }

    /// Parses the text of a file in the directory `dir`.
    ///
    /// # Errors
    /// The text is not valid TOML, or has a key or a value that is not known.
    pub(crate) fn parse(text: &str, dir: &Path) -> Result<Self, toml::de::Error> {
        let mut config: Self = toml::from_str(text)?;
        let recipients = &mut config.backups.recipients_file;
        let paths = [&mut config.store, &mut config.apps_dir, &mut config.ca_file, recipients].into_iter().flatten();
        let of_apps = config.apps.values_mut().flat_map(|app| {
            let files = [&mut app.app_cert, &mut app.private_key, &mut app.metadata, &mut app.link_secret_file];
            files.into_iter().flatten()
        });
        let of_jobs = config.jobs.values_mut().filter_map(|job| job.metrics.as_mut());
        let of_notify = config
            .notify
            .iter_mut()
            .flat_map(|notify| [&mut notify.webhook_secret_file, &mut notify.sendmail_program].into_iter().flatten());
        for path in paths.chain(of_apps).chain(of_jobs).chain(of_notify) {
            *path = dir.join(&*path);
        }
        Ok(config)
    }

    /// The directory of the store.
    ///
    /// That is the one that is named, or else `CXNPOLL_STORE`, the configuration's, or `cxnpoll` in the platform's
    /// directory for state.
    ///
    /// # Errors
    /// [`Error::NoHome`] where the user has no home directory for it, [`Error::InvalidTilde`].
    pub fn store_path(&self, named: Option<&Path>) -> Result<PathBuf> {
        if let Some(path) = path_of(named, STORE_VARIABLE)?.or_else(|| self.store.clone()) {
            return Ok(path);
        }
        let dir = home::user_dir("XDG_STATE_HOME", ".local/state").ok_or(Error::NoHome)?;
        Ok(dir.join("cxnpoll"))
    }

    /// The listeners of the file, in its order. Their paths are relative to its directory.
    #[must_use]
    pub fn listeners(&self) -> Listeners {
        let base = self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let mut listeners = Listeners::default();
        for table in &self.listeners {
            listeners.add(table.listener(base));
        }
        listeners
    }

    /// The user agent that sites see.
    #[must_use]
    pub fn user_agent(&self) -> String {
        let name = concat!("cxnpoll/", env!("CARGO_PKG_VERSION"));
        match &self.contact {
            Some(contact) => format!("{name} (+{contact})"),
            None => name.to_owned(),
        }
    }
}

/// The path that is named, or else that of an environment variable; `None` if there is neither.
fn path_of(named: Option<&Path>, variable: &'static str) -> Result<Option<PathBuf>> {
    if let Some(named) = named {
        return Ok(Some(named.to_owned()));
    }
    let value = env::var_os(variable).filter(|value| !value.is_empty());
    value
        .map(|path| home::expand(Path::new(&path)).map_err(|source| Error::InvalidTilde { variable, source }))
        .transpose()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::model::Tls;

    #[test]
    fn a_full_file_is_read_and_its_paths_are_relative_to_it() {
        let text = r#"
            store = "/var/lib/cxnpoll"
            apps-dir = "apps"
            allow-net = ["10.0.0.0/8"]
            refuse-ports = [25]
            ca-file = "ca.pem"
            contact = "https://example.org/polling"
            [timeouts]
            connect = 0.5
            first-byte = 20
            [per-host]
            "proxy.example.org" = 64
            [[limits]]
            net = "203.0.113.0/24"
            concurrent = 16
            [backups]
            keep = 30
            [apps."org.example.myapp"]
            title = "My app"
            app-cert = "myapp.crt"
            tls = "skip-verify"
        "#;
        let config = Config::parse(text, Path::new("/etc/cxnpoll")).unwrap();
        assert_eq!(config.store.as_deref(), Some(Path::new("/var/lib/cxnpoll")));
        assert_eq!(config.apps_dir.as_deref(), Some(Path::new("/etc/cxnpoll/apps")));
        assert_eq!(config.apps["org.example.myapp"].app_cert.as_deref(), Some(Path::new("/etc/cxnpoll/myapp.crt")));
        assert_eq!(config.ca_file.as_deref(), Some(Path::new("/etc/cxnpoll/ca.pem")));
        assert_ne!(config.refuse_ports, RefusedPorts::default());
        let limits = Timeouts {
            connect: Duration::from_millis(500),
            first_byte: Some(Duration::from_secs(20)),
            ..Timeouts::default()
        };
        assert_eq!(config.timeouts, limits);
        assert_eq!(config.apps["org.example.myapp"].tls, Tls::SkipVerify);
        assert_eq!(config.per_host["proxy.example.org"], 64);
        assert_eq!(config.limits[0].concurrent(), Some(16));
        assert_eq!((config.backups.every_hours, config.backups.keep.get()), (24, 30));
        assert!(config.user_agent().ends_with(" (+https://example.org/polling)"));
    }

    #[test]
    fn a_named_file_must_exist() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cxnpoll.toml");
        let error = Config::load(Some(&path)).unwrap_err();
        assert!(matches!(&error, Error::NoFile { path: missing } if *missing == path), "{error:?}");
        fs::write(&path, "contact = \"me\"\n").unwrap();
        let config = Config::load(Some(&path)).unwrap();
        assert_eq!((config.file.as_ref(), config.contact.as_deref()), (Some(&path), Some("me")));
        assert_eq!(config.written().unwrap().len(), 1);
        fs::write(&path, "\u{feff}contact = \"me\"\r\n\r\n[backups]\r\nkeep = 3\r\n").unwrap();
        let config = Config::load(Some(&path)).unwrap();
        assert_eq!((config.contact.as_deref(), config.backups.keep.get()), (Some("me"), 3));
        assert_eq!(config.written().unwrap().len(), 2);
    }

    #[test]
    fn a_file_below_what_is_no_directory_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(Config::read(&file.join(FILE_NAME)).is_err());
        assert_eq!(Config::read_if_there(&file.join(FILE_NAME)).unwrap(), None);
        // It is there, and cannot be read.
        let directory = dir.path().join(FILE_NAME);
        fs::create_dir(&directory).unwrap();
        assert!(Config::read_if_there(&directory).is_err());
    }

    #[test]
    fn a_mistake_is_reported_with_its_line_and_what_was_expected() {
        let error = Config::parse("store = \"a\"\nthreats = 3\n", Path::new("")).unwrap_err().to_string();
        assert!(
            error.contains("line 2") && error.contains("unknown field `threats`") && error.contains("`store`"),
            "{error}"
        );
        let error = Config::parse("allow-net = 3\n", Path::new("")).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("expected a sequence"), "{error}");
    }
}

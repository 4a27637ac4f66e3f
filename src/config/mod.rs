//! The configuration file `cxnpoll.toml`, and the apps that it knows.

mod apps;
mod certificate;
mod listeners;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use etcetera::BaseStrategy;
use ipnet::IpNet;
use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::site::{RefusedPorts, Timeouts};
use crate::store::Limits;

pub use apps::AppTable;
pub use listeners::ListenerTable;

/// What the configuration file says. Paths in it are relative to its own folder.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// The folder of the store.
    pub store: Option<PathBuf>,
    /// The folder of cxnapp's apps: one folder an app, with `metadata.json` and `app.crt`.
    pub apps_dir: Option<PathBuf>,
    /// Networks that are allowed although they are not public.
    pub allow_net: Vec<IpNet>,
    /// Ports that are not connected to.
    pub refuse_ports: RefusedPorts,
    /// A file with certificates of authorities, PEM, that are trusted beside those of the platform.
    pub ca_file: Option<PathBuf>,
    /// How long a call to a site may take.
    pub timeouts: Timeouts,
    /// How the people whose sites are polled can reach us: goes into the user agent.
    pub contact: Option<String>,
    /// How many polls at a time some hosts get, in place of `--per-host`: a proxy takes more.
    pub per_host: BTreeMap<String, usize>,
    /// Apps that are written out here, by their id with or without `app:`.
    pub apps: BTreeMap<String, AppTable>,
    /// When runs back up the store.
    pub backups: Backups,
    /// How much is kept of what listeners keep.
    pub results: Limits,
    /// What is called when sites are polled.
    pub listeners: Vec<ListenerTable>,
    /// The file that was read.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

/// When runs back up the store, and how many backups there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Backups {
    /// A run takes a backup when the newest is older than so many hours; 0 is never.
    pub every_hours: u32,
    /// How many of the newest are kept.
    pub keep: NonZeroUsize,
}

impl Default for Backups {
    /// One a day, for a week.
    fn default() -> Self {
        Self { every_hours: 24, keep: const { NonZeroUsize::new(7).unwrap() } }
    }
}

/// The file's name.
const NAME: &str = "cxnpoll.toml";
/// The environment variable that names the file.
pub(crate) const CONFIG_VARIABLE: &str = "CXNPOLL_CONFIG";
/// The environment variable that names the store.
pub(crate) const STORE_VARIABLE: &str = "CXNPOLL_STORE";

impl Config {
    /// Reads the file that is named, or else `CXNPOLL_CONFIG`, or the first that is there of the user's configuration
    /// folder and `/etc/cxnpoll/`; without any, everything is at its default.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where the named file is missing, [`Kind::Config`] where a file can't be read.
    pub fn load(named: Option<&Path>) -> Result<Self> {
        let variable = env::var_os(CONFIG_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = named.map(Path::to_owned).or(variable) {
            return match Self::read(&path)? {
                Some(config) => Ok(config),
                None => Err(Error::new(Kind::NotFound, format!("there is no configuration file {}", path.display()))),
            };
        }
        let user = etcetera::choose_base_strategy().ok().map(|base| base.config_dir().join("cxnpoll"));
        for folder in user.into_iter().chain([PathBuf::from("/etc/cxnpoll")]) {
            if let Some(config) = Self::read(&folder.join(NAME))? {
                return Ok(config);
            }
        }
        Ok(Self::default())
    }

    /// What stands in the file that was read, by its keys.
    pub(crate) fn written(&self) -> Result<toml::Table> {
        let Some(path) = &self.file else { return Ok(toml::Table::new()) };
        let wrong =
            |error: &dyn std::fmt::Display| Error::new(Kind::Config, format!("can't read {}: {error}", path.display()));
        fs::read_to_string(path).map_err(|error| wrong(&error))?.parse().map_err(|error| wrong(&error))
    }

    /// Reads one file; `None` where it is not there.
    fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::new(Kind::Config, format!("can't read {}: {error}", path.display()))),
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder).map(|config| Some(Self { file: Some(path.to_owned()), ..config })).map_err(|error| {
            Error::new(Kind::Config, format!("in {}: {}", path.display(), error.to_string().trim_end()))
        })
    }

    /// Reads the text of a file that lies in `folder`.
    fn parse(text: &str, folder: &Path) -> Result<Self, toml::de::Error> {
        let mut config: Self = toml::from_str(text)?;
        let paths = [&mut config.store, &mut config.apps_dir, &mut config.ca_file].into_iter().flatten();
        for path in paths.chain(config.apps.values_mut().filter_map(|app| app.app_cert.as_mut())) {
            *path = folder.join(&*path);
        }
        Ok(config)
    }

    /// The folder of the store: the one that is named, or else `CXNPOLL_STORE`, the configuration's, or `cxnpoll` in the
    /// platform's folder for state.
    ///
    /// # Errors
    /// [`Kind::Config`] where the user has no home for it.
    pub fn store_path(&self, named: Option<&Path>) -> Result<PathBuf> {
        let variable = env::var_os(STORE_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = named.map(Path::to_owned).or(variable).or_else(|| self.store.clone()) {
            return Ok(path);
        }
        etcetera::choose_base_strategy()
            .map(|base| base.state_dir().unwrap_or_else(|| base.data_dir()).join("cxnpoll"))
            .map_err(|_| {
                Error::new(Kind::Config, "no store is named and the user has no home folder")
                    .hint("name one with --store, CXNPOLL_STORE or `store` in the configuration")
            })
    }

    /// What we call ourselves to the sites.
    #[must_use]
    pub fn user_agent(&self) -> String {
        let name = concat!("cxnpoll/", env!("CARGO_PKG_VERSION"));
        match &self.contact {
            Some(contact) => format!("{name} (+{contact})"),
            None => name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!((config.backups.every_hours, config.backups.keep.get()), (24, 30));
        assert!(config.user_agent().ends_with(" (+https://example.org/polling)"));
    }

    #[test]
    fn a_mistake_is_shown_with_its_line_and_what_was_expected() {
        let error = Config::parse("store = \"a\"\nthreats = 3\n", Path::new("")).unwrap_err().to_string();
        assert!(
            error.contains("line 2") && error.contains("unknown field `threats`") && error.contains("`store`"),
            "{error}"
        );
        let error = Config::parse("allow-net = 3\n", Path::new("")).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("expected a sequence"), "{error}");
    }
}

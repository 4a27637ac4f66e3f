//! The apps: written out in the configuration, or in cxnapp's folder.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use serde::Deserialize;
use serde_json::{Value, json};

use super::Config;
use crate::error::{Error, Kind, Result};
use crate::model::{AppId, AppMeta, Tls};

/// An app as the configuration file writes it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct AppTable {
    /// What people call it.
    pub title: Option<String>,
    /// Where it takes registrations.
    pub app_url: Option<String>,
    /// The file of its certificate, PEM.
    pub app_cert: Option<std::path::PathBuf>,
    /// Whether it is switched off.
    pub disabled: bool,
    /// What is asked of the certificates of its sites.
    pub tls: Tls,
}

impl Config {
    /// The app of an id, as its folder tells, or the file, or both: then what the file says comes first. `None` where
    /// neither knows it.
    ///
    /// # Errors
    /// [`Kind::Config`] where a file of the app can't be read.
    pub fn app(&self, app_id: &AppId) -> Result<Option<AppMeta>> {
        let table = self.apps.get(app_id.short()).or_else(|| self.apps.get(app_id.as_str()));
        let mut app = match (self.app_of_folder(app_id)?, table) {
            (None, None) => return Ok(None),
            (Some(app), _) => app,
            (None, Some(_)) => AppMeta {
                app_id: app_id.clone(),
                app_cert: String::new(),
                disabled: false,
                tls: Tls::Verify,
                metadata: json!({"title": null, "appUrl": null}),
            },
        };
        if let Some(table) = table {
            if let Some(path) = &table.app_cert {
                app.app_cert = read(path)?.ok_or_else(|| missing(path))?;
            }
            for (key, value) in [("title", &table.title), ("appUrl", &table.app_url)] {
                if let Some(value) = value {
                    app.metadata[key] = json!(value);
                }
            }
            app.disabled |= table.disabled;
            app.tls = table.tls;
        }
        Ok(Some(app))
    }

    /// An app of cxnapp's folder.
    fn app_of_folder(&self, app_id: &AppId) -> Result<Option<AppMeta>> {
        let Some(folder) = self.apps_dir.as_ref().map(|dir| dir.join(app_id.short())) else { return Ok(None) };
        let path = folder.join("metadata.json");
        let Some(text) = read(&path)? else { return Ok(None) };
        let wrong = |problem: &str| Error::new(Kind::Config, format!("{}: {problem}", path.display()));
        let mut all: Value = serde_json::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
        let metadata = match all.get_mut(app_id.as_str()) {
            Some(metadata @ Value::Object(_)) => metadata.take(),
            _ => return Err(wrong(&format!("there is no object '{app_id}' in it"))),
        };
        // What metadata.json calls appCert is only a placeholder.
        let app_cert = read(&folder.join("app.crt"))?.unwrap_or_default();
        let disabled = folder.join("disable").exists();
        Ok(Some(AppMeta { app_id: app_id.clone(), app_cert, disabled, tls: Tls::Verify, metadata }))
    }

    /// The apps that the file and the folder of apps name, for suggestions; what can't be read is left out.
    #[must_use]
    pub fn app_names(&self) -> Vec<String> {
        let written = self.apps.keys().map(|name| name.trim_start_matches("app:").to_owned());
        let folder = self.apps_dir.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
        let folders =
            folder.filter(|entry| entry.path().is_dir()).filter_map(|entry| entry.file_name().into_string().ok());
        written.chain(folders).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// A file's text; `None` where it is not there.
fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::new(Kind::Config, format!("can't read {}: {error}", path.display()))),
    }
}

fn missing(path: &Path) -> Error {
    Error::new(Kind::Config, format!("there is no certificate {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERT: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

    #[test]
    fn the_folder_of_cxnapp() {
        let apps = tempfile::tempdir().unwrap();
        let config = Config { apps_dir: Some(apps.path().to_owned()), ..Config::default() };
        let app_id: AppId = "app:org.example.myapp".parse().unwrap();
        assert_eq!(config.app(&app_id).unwrap(), None);

        let folder = apps.path().join("org.example.myapp");
        fs::create_dir(&folder).unwrap();
        fs::write(
            folder.join("metadata.json"),
            r#"{"app:org.example.myapp": {"title": "My app", "appCert": "*PLACEHOLDER*", "perm": {"api": []}}}"#,
        )
        .unwrap();
        let app = config.app(&app_id).unwrap().unwrap();
        assert_eq!((app.app_cert.as_str(), app.disabled, &app.metadata["title"]), ("", false, &json!("My app")));

        fs::write(folder.join("app.crt"), CERT).unwrap();
        fs::write(folder.join("disable"), "").unwrap();
        let app = config.app(&app_id).unwrap().unwrap();
        assert_eq!((app.app_cert.as_str(), app.disabled), (CERT, true));
        assert_eq!(config.app_names(), ["org.example.myapp"]);

        // What the file adds comes first, and the rest stays.
        let table = AppTable { tls: Tls::SkipVerify, title: Some("Ours".into()), ..AppTable::default() };
        let both = Config { apps: [("org.example.myapp".to_owned(), table)].into(), ..config.clone() };
        let app = both.app(&app_id).unwrap().unwrap();
        assert_eq!((app.app_cert.as_str(), app.disabled, app.tls), (CERT, true, Tls::SkipVerify));
        assert_eq!(app.metadata, json!({"title": "Ours", "appCert": "*PLACEHOLDER*", "perm": {"api": []}}));
        assert_eq!(both.app_names(), ["org.example.myapp"]);

        fs::write(folder.join("metadata.json"), r#"{"app:org.example.other": {}}"#).unwrap();
        let error = config.app(&app_id).unwrap_err();
        assert_eq!(error.kind, Kind::Config);
        assert!(error.message.contains("no object 'app:org.example.myapp'"), "{error}");
    }

    #[test]
    fn an_app_that_is_written_out() {
        let folder = tempfile::tempdir().unwrap();
        let cert = folder.path().join("app.crt");
        let table = AppTable { app_cert: Some(cert.clone()), title: Some("Mine".into()), ..AppTable::default() };
        let config = Config { apps: [("app:org.example.myapp".to_owned(), table)].into(), ..Config::default() };
        let app_id: AppId = "app:org.example.myapp".parse().unwrap();
        assert_eq!(config.app(&app_id).unwrap_err().kind, Kind::Config);
        fs::write(&cert, CERT).unwrap();
        assert_eq!(config.app(&app_id).unwrap().unwrap().app_cert, CERT);
    }
}

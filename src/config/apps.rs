//! The apps of the configuration, from its file and from cxnapp's directory.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;

use super::app_table::AppTable;
use super::cxnapp;
use super::error::{Error, Result};
use super::file::Config;
use crate::model::{AppId, AppMeta, CxnId};

impl Config {
    /// Finds an app in cxnapp's directory, in the configuration file, or in both; `None` if neither has it.
    ///
    /// Values of the configuration file override those of the directory.
    ///
    /// # Errors
    /// Fails if a file of the app cannot be read.
    pub fn app(&self, app_id: &AppId) -> Result<Option<AppMeta>> {
        let table = self.app_table(app_id);
        let of_dir = match &self.apps_dir {
            Some(apps_dir) => cxnapp::read_app(apps_dir, app_id)?,
            None => None,
        };
        let mut app = match (of_dir, table) {
            (None, None) => return Ok(None),
            (Some(app), _) => app,
            (None, Some(_)) => {
                AppMeta { metadata: json!({"title": null, "appUrl": null}), ..AppMeta::bare(app_id.clone()) }
            }
        };
        if let Some(table) = table {
            if let Some(path) = &table.app_cert {
                let missing = || Error::NoCertificate { path: path.clone() };
                app.app_cert = cxnapp::read_certificate(path)?.ok_or_else(missing)?;
            }
            if let Some(path) = &table.metadata {
                app.metadata = cxnapp::read_metadata(path, app_id)?;
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

    /// The table of an app in the configuration file; `None` if there is none.
    pub(crate) fn app_table(&self, app_id: &AppId) -> Option<&AppTable> {
        self.apps.get(app_id.short()).or_else(|| self.apps.get(app_id.as_str()))
    }

    /// The URL of a page for a connection, with a token; `None` if the configuration names no such page.
    #[must_use]
    pub fn link_url(&self, app_id: &AppId, page: &str, cxn_id: &CxnId, token: &str) -> Option<String> {
        Some(self.app_table(app_id)?.links.get(page)?.link(app_id, page, cxn_id, token))
    }

    /// Whether the table of an app has what only registrations and links need.
    pub(crate) fn names_registration(&self, app_id: &AppId) -> bool {
        let table = self.app_table(app_id);
        table.is_some_and(|table| {
            table.private_key.is_some() || table.link_secret_file.is_some() || !table.links.is_empty()
        })
    }

    /// The file that the certificate of an app is read from; `None` if there is none.
    pub(crate) fn certificate_file(&self, app_id: &AppId) -> Option<PathBuf> {
        let of_table = self.app_table(app_id).and_then(|table| table.app_cert.clone());
        let of_dir = self.apps_dir.as_ref().map(|dir| cxnapp::certificate_file(dir, app_id));
        of_table.or_else(|| of_dir.filter(|path| path.exists()))
    }

    /// The file that the private key of an app is read from; `None` if there is none.
    pub(crate) fn key_file(&self, app_id: &AppId) -> Option<PathBuf> {
        let of_table = self.app_table(app_id).and_then(|table| table.private_key.clone());
        let of_dir = self.apps_dir.as_ref().map(|dir| cxnapp::key_file(dir, app_id));
        of_table.or_else(|| of_dir.filter(|path| path.exists()))
    }

    /// Lists the names of the apps in the configuration file and in cxnapp's directory, without `app:`.
    ///
    /// A directory that cannot be listed has none.
    #[must_use]
    pub fn app_names(&self) -> Vec<String> {
        let of_file = self.apps.keys().map(|name| name.trim_start_matches("app:").to_owned());
        let of_dir = self.apps_dir.as_deref().into_iter().flat_map(cxnapp::app_names);
        of_file.chain(of_dir).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::CertificateDefect;
    use crate::model::Tls;

    const CERT: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

    fn app_id() -> AppId {
        "app:org.example.myapp".parse().unwrap()
    }

    #[test]
    fn an_app_is_read_from_the_directory_of_cxnapp() {
        let apps = tempfile::tempdir().unwrap();
        let config = Config { apps_dir: Some(apps.path().to_owned()), ..Config::default() };
        assert_eq!(config.app(&app_id()).unwrap(), None);

        let dir = apps.path().join("org.example.myapp");
        fs::create_dir(&dir).unwrap();
        fs::write(
            dir.join("metadata.json"),
            r#"{"app:org.example.myapp": {"title": "My app", "appCert": "*PLACEHOLDER*", "perm": {"api": []}}}"#,
        )
        .unwrap();
        let app = config.app(&app_id()).unwrap().unwrap();
        assert_eq!((app.app_cert.as_str(), app.disabled, &app.metadata["title"]), ("", false, &json!("My app")));

        fs::write(dir.join("app.crt"), CERT).unwrap();
        fs::write(dir.join("disable"), "").unwrap();
        let app = config.app(&app_id()).unwrap().unwrap();
        assert_eq!((app.app_cert.as_str(), app.disabled), (CERT, true));
        assert_eq!(config.app_names(), ["org.example.myapp"]);

        // Values of the configuration file come first, the others stay.
        let table = AppTable { tls: Tls::SkipVerify, title: Some("Ours".into()), ..AppTable::default() };
        let both = Config { apps: [("org.example.myapp".to_owned(), table)].into(), ..config.clone() };
        let app = both.app(&app_id()).unwrap().unwrap();
        assert_eq!((app.app_cert.as_str(), app.disabled, app.tls), (CERT, true, Tls::SkipVerify));
        assert_eq!(app.metadata, json!({"title": "Ours", "appCert": "*PLACEHOLDER*", "perm": {"api": []}}));
        assert_eq!(both.app_names(), ["org.example.myapp"]);
    }

    #[test]
    fn metadata_without_the_app_is_an_error() {
        let apps = tempfile::tempdir().unwrap();
        let config = Config { apps_dir: Some(apps.path().to_owned()), ..Config::default() };
        let dir = apps.path().join("org.example.myapp");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("metadata.json"), r#"{"app:org.example.other": {}}"#).unwrap();
        let error = config.app(&app_id()).unwrap_err();
        assert!(matches!(&error, Error::NoMetadata { app_id: missing, .. } if *missing == app_id()), "{error:?}");
        fs::write(dir.join("metadata.json"), "{").unwrap();
        let error = config.app(&app_id()).unwrap_err();
        assert!(matches!(&error, Error::MetadataJson { path, .. } if path.ends_with("metadata.json")), "{error:?}");
    }

    #[test]
    fn metadata_is_that_of_the_file_in_either_form_with_the_values_of_the_table() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metadata.json");
        let table = AppTable { metadata: Some(path.clone()), title: Some("Ours".into()), ..AppTable::default() };
        let config = Config { apps: [("org.example.myapp".to_owned(), table)].into(), ..Config::default() };
        assert!(matches!(config.app(&app_id()), Err(Error::File(error)) if error.path == path));
        for text in [
            r#"{"title": "Theirs", "perm": {"grant": "*"}}"#,
            "\u{feff}{\"app:a\": 1, \"app:org.example.myapp\": {\"title\": null, \"perm\": {\"grant\": \"*\"}}}\r\n",
        ] {
            fs::write(&path, text).unwrap();
            let metadata = config.app(&app_id()).unwrap().unwrap().metadata;
            assert_eq!(metadata, json!({"title": "Ours", "perm": {"grant": "*"}}));
        }
        for text in [r#"{"app:org.example.other": {}}"#, r#"{"app:org.example.myapp": 1}"#, "[]", "1"] {
            fs::write(&path, text).unwrap();
            assert!(matches!(config.app(&app_id()), Err(Error::NoMetadata { .. })), "{text}");
        }
        fs::write(&path, "{").unwrap();
        assert!(matches!(config.app(&app_id()), Err(Error::MetadataJson { .. })));
    }

    #[test]
    fn an_app_can_be_defined_by_the_configuration_file_only() {
        let dir = tempfile::tempdir().unwrap();
        let cert = dir.path().join("app.crt");
        let table = AppTable { app_cert: Some(cert.clone()), title: Some("Mine".into()), ..AppTable::default() };
        let config = Config { apps: [("app:org.example.myapp".to_owned(), table)].into(), ..Config::default() };
        let error = config.app(&app_id()).unwrap_err();
        assert!(matches!(&error, Error::NoCertificate { path } if *path == cert), "{error:?}");
        fs::write(&cert, CERT).unwrap();
        assert_eq!(config.app(&app_id()).unwrap().unwrap().app_cert, CERT);
    }

    #[test]
    fn a_blank_certificate_is_a_problem_and_a_missing_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let defects = |config: &Config| {
            let app = config.app(&app_id()).unwrap().unwrap();
            config.certificate_problems(&app, 0).into_iter().map(|problem| problem.defect).collect::<Vec<_>>()
        };
        let config = |app_cert: Option<PathBuf>| Config {
            apps: [("org.example.myapp".to_owned(), AppTable { app_cert, ..AppTable::default() })].into(),
            apps_dir: Some(dir.path().to_owned()),
            ..Config::default()
        };
        assert_eq!(defects(&config(None)), []);
        let path = dir.path().join("cert.pem");
        for blank in ["", " \r\n", "\u{feff}", "\u{feff}\n"] {
            fs::write(&path, blank).unwrap();
            assert_eq!(defects(&config(Some(path.clone()))), [CertificateDefect::Empty { path: path.clone() }]);
        }
        let of_cxnapp = dir.path().join("org.example.myapp");
        fs::create_dir(&of_cxnapp).unwrap();
        fs::write(of_cxnapp.join("metadata.json"), "\u{feff}{\"app:org.example.myapp\": {}}\r\n").unwrap();
        assert_eq!(defects(&config(None)), []);
        let path = of_cxnapp.join("app.crt");
        fs::write(&path, "").unwrap();
        assert_eq!(defects(&config(None)), [CertificateDefect::Empty { path }]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cert.pem");
        fs::write(&path, format!("\u{feff}{CERT}")).unwrap();
        let table = AppTable { app_cert: Some(path), ..AppTable::default() };
        let config = Config { apps: [("org.example.myapp".to_owned(), table)].into(), ..Config::default() };
        assert_eq!(config.app(&app_id()).unwrap().unwrap().app_cert, CERT);
    }
}

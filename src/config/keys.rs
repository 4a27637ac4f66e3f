//! The secrets of an app that registrations need: its private key, and that of its links.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::cxnapp;
use super::error::{Error, PrivateFileProblem, Result};
use super::file::Config;
use super::private_file;
use crate::model::AppId;
use crate::protocol::AppKey;

impl Config {
    /// Reads the private key of an app; `None` if neither the configuration nor cxnapp's directory has one.
    ///
    /// The path is that of its file.
    ///
    /// # Errors
    /// [`Error::PrivateFile`]; the file cannot be read.
    pub fn app_key(&self, app_id: &AppId) -> Result<Option<(AppKey, PathBuf)>> {
        let of_table = self.app_table(app_id).and_then(|table| table.private_key.clone());
        let is_named = of_table.is_some();
        let of_dir = || self.apps_dir.as_ref().map(|dir| cxnapp::key_file(dir, app_id));
        let Some(path) = of_table.or_else(of_dir) else { return Ok(None) };
        match read_key(&path)? {
            Some(key) => Ok(Some((key, path))),
            None if is_named => Err(Error::PrivateFile { path, problem: PrivateFileProblem::Missing }),
            None => Ok(None),
        }
    }

    /// Reads the secret that the links of an app are signed with; `None` if the configuration names none.
    ///
    /// It is the text of `link-secret-file` without blanks at its end.
    ///
    /// # Errors
    /// [`Error::PrivateFile`]; the file cannot be read.
    pub fn link_secret(&self, app_id: &AppId) -> Result<Option<Zeroizing<String>>> {
        let path = self.app_table(app_id).and_then(|table| table.link_secret_file.as_ref());
        let Some(path) = path else { return Ok(None) };
        let refused = |problem| Error::PrivateFile { path: path.clone(), problem };
        let text = private_file::read(path)?.ok_or_else(|| refused(PrivateFileProblem::Missing))?;
        match text.trim_end() {
            "" => Err(refused(PrivateFileProblem::Empty)),
            secret => Ok(Some(Zeroizing::new(secret.to_owned()))),
        }
    }
}

/// Reads a private key; `None` if the file does not exist.
///
/// # Errors
/// [`Error::PrivateFile`]; the file cannot be read.
pub(crate) fn read_key(path: &Path) -> Result<Option<AppKey>> {
    let Some(text) = private_file::read(path)? else { return Ok(None) };
    let key = AppKey::from_text(&text);
    let key =
        key.map_err(|source| Error::PrivateFile { path: path.to_owned(), problem: PrivateFileProblem::NoKey(source) });
    key.map(Some)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::AppTable;
    use crate::protocol::{InvalidAppKey, json};

    fn app_id() -> AppId {
        "app:org.example.poll".parse().unwrap()
    }

    fn config(dir: &Path, table: AppTable) -> Config {
        Config {
            apps: [("org.example.poll".to_owned(), table)].into(),
            apps_dir: Some(dir.to_owned()),
            ..Config::default()
        }
    }

    fn write(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    fn problem<T: std::fmt::Debug>(result: Result<T>) -> PrivateFileProblem {
        match result.unwrap_err() {
            Error::PrivateFile { problem, .. } => problem,
            error => panic!("{error:?}"),
        }
    }

    #[test]
    fn a_key_is_that_of_the_table_or_of_the_directory_of_cxnapp() {
        let dir = tempfile::tempdir().unwrap();
        let vectors: serde_json::Value =
            json::read_kept(include_bytes!("../../fixtures/registration-vectors.json")).unwrap();
        let without = config(dir.path(), AppTable::default());
        assert!(without.app_key(&app_id()).unwrap().is_none());
        let keys_json = vectors["keys_json"].as_str().unwrap();
        let of_cxnapp = dir.path().join("org.example.poll/keys.json");
        fs::create_dir(of_cxnapp.parent().unwrap()).unwrap();
        write(&of_cxnapp, keys_json);
        let (key, path) = without.app_key(&app_id()).unwrap().unwrap();
        assert_eq!(path, of_cxnapp);

        let named = dir.path().join("app.key");
        let config = config(dir.path(), AppTable { private_key: Some(named.clone()), ..AppTable::default() });
        assert_eq!(problem(config.app_key(&app_id())), PrivateFileProblem::Missing);
        write(&named, &format!("{keys_json}\n").replace('\n', "\r\n"));
        assert_eq!(config.app_key(&app_id()).unwrap().unwrap().0.public_der(), key.public_der());
        let other = vectors["apps"].as_object().unwrap().iter().find(|(app, _)| *app != app_id().as_str()).unwrap().1;
        write(&named, other["keys"]["privatekey"].as_str().unwrap());
        let (of_table, path) = config.app_key(&app_id()).unwrap().unwrap();
        assert_eq!(path, named);
        assert_ne!(of_table.public_der(), key.public_der());
        write(&named, "SECRET");
        assert_eq!(problem(config.app_key(&app_id())), PrivateFileProblem::NoKey(InvalidAppKey::NotAKey));
        fs::set_permissions(&named, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(problem(config.app_key(&app_id())), PrivateFileProblem::Shared { mode: 0o644 });
    }

    #[test]
    fn a_link_secret_is_the_text_of_a_private_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("links.key");
        assert_eq!(config(dir.path(), AppTable::default()).link_secret(&app_id()).unwrap(), None);
        let config = config(dir.path(), AppTable { link_secret_file: Some(path.clone()), ..AppTable::default() });
        assert_eq!(problem(config.link_secret(&app_id())), PrivateFileProblem::Missing);
        for text in ["not a secret", "not a secret\n", "\u{feff}not a secret \r\n"] {
            write(&path, text);
            assert_eq!(config.link_secret(&app_id()).unwrap().unwrap().as_str(), "not a secret");
        }
        write(&path, " \n");
        assert_eq!(problem(config.link_secret(&app_id())), PrivateFileProblem::Empty);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert_eq!(problem(config.link_secret(&app_id())), PrivateFileProblem::Shared { mode: 0o640 });
    }
}

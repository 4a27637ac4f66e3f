//! The directory in which cxnapp keeps its apps.
//!
//! Each app has a directory named after it, with `metadata.json`, `app.crt`, `keys.json` and, if it is switched off, a file
//! `disable`.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::Value;

use super::error::{Error, Result};
use crate::model::{AppId, AppMeta, Tls};
use crate::util::file_error::{FileError, FileOp};
use crate::util::text::BYTE_ORDER_MARK;

/// Reads an app from the directory of apps; `None` if it has no `metadata.json` there.
///
/// # Errors
/// Fails if a file of the app cannot be read, or `metadata.json` has no object for the app.
pub fn read_app(apps_dir: &Path, app_id: &AppId) -> Result<Option<AppMeta>> {
    let dir = apps_dir.join(app_id.short());
    let path = dir.join("metadata.json");
    let Some(text) = read_optional(&path)? else { return Ok(None) };
    let metadata = metadata(&text, &path, app_id, false)?;
    // The `appCert` of metadata.json is only a placeholder.
    let app_cert = read_certificate(&certificate_file(apps_dir, app_id))?.unwrap_or_default();
    let disabled = dir.join("disable").exists();
    Ok(Some(AppMeta { app_id: app_id.clone(), app_cert, disabled, tls: Tls::Verify, metadata }))
}

/// Reads the metadata of an app from a file.
///
/// It is as that of cxnapp, `{"app:…": {…}}`, or only the object of the app.
///
/// # Errors
/// Fails if the file cannot be read, or has no object for the app.
pub fn read_metadata(path: &Path, app_id: &AppId) -> Result<Value> {
    let text = fs::read_to_string(path).map_err(FileError::at(FileOp::Read, path))?;
    metadata(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text), path, app_id, true)
}

/// The object of an app in the text of a file; with `may_be_bare`, the whole text may be that object.
fn metadata(text: &str, path: &Path, app_id: &AppId, may_be_bare: bool) -> Result<Value> {
    refuse_key(text, path)?;
    let mut all: Value =
        serde_json::from_str(text).map_err(|source| Error::MetadataJson { path: path.to_owned(), source })?;
    if let Some(metadata @ Value::Object(_)) = all.get_mut(app_id.as_str()) {
        return Ok(metadata.take());
    }
    let is_bare = all.as_object().is_some_and(|all| !all.keys().any(|key| key.starts_with("app:")));
    if may_be_bare && is_bare {
        return Ok(all);
    }
    Err(Error::NoMetadata { path: path.to_owned(), app_id: app_id.clone() })
}

/// Reads a certificate; `None` if the file does not exist.
///
/// # Errors
/// Fails if the file cannot be read, or holds a private key: sites get all of it.
pub fn read_certificate(path: &Path) -> Result<Option<String>> {
    let text = read_optional(path)?;
    text.as_deref().map_or(Ok(()), |text| refuse_key(text, path))?;
    Ok(text)
}

/// Refuses what sites get if it holds a private key.
fn refuse_key(text: &str, path: &Path) -> Result<()> {
    if text.contains("PRIVATE KEY-----") { Err(Error::KeyIsPublic { path: path.to_owned() }) } else { Ok(()) }
}

/// The file of an app's certificate, whether or not it exists.
pub fn certificate_file(apps_dir: &Path, app_id: &AppId) -> PathBuf {
    apps_dir.join(app_id.short()).join("app.crt")
}

/// The file of an app's private key, whether or not it exists.
pub fn key_file(apps_dir: &Path, app_id: &AppId) -> PathBuf {
    apps_dir.join(app_id.short()).join("keys.json")
}

/// The names of the directories of apps, in no particular order. A directory that cannot be listed has none.
pub fn app_names(apps_dir: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(apps_dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().is_dir()).filter_map(|entry| entry.file_name().into_string().ok())
}

/// Reads the text of a file without its byte order mark; `None` if the file does not exist.
///
/// # Errors
/// Fails if the file exists and cannot be read.
pub fn read_optional(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.strip_prefix(BYTE_ORDER_MARK).map(str::to_owned).unwrap_or(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::at(FileOp::Read, path)(error).into()),
    }
}

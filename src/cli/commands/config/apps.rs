//! The apps of the configuration, and the file that names them.

use crate::cli::error::{Error, Result};
use crate::config::Config;
use crate::model::{AppId, AppMeta};

/// The configuration file as text; a phrase if there is none.
pub(super) fn file(config: &Config) -> String {
    config.file.as_ref().map_or("the configuration (there is no file)".to_owned(), |file| file.display().to_string())
}

/// The metadata of an app that the configuration names.
///
/// # Errors
/// [`Error::InvalidAppName`], [`Error::NoAppMetadata`]; the metadata cannot be read.
pub(super) fn app(config: &Config, name: &str) -> Result<AppMeta> {
    let app_id = AppId::from_argument(name).map_err(|error| Error::InvalidAppName { name: name.to_owned(), error })?;
    config.app(&app_id)?.ok_or_else(|| Error::NoAppMetadata(name.to_owned()))
}

//! The apps and jobs of the configuration, and the file that names them.

use crate::cli::error::{Error, Result};
use crate::config::Config;
use crate::model::{AppId, AppMeta, JobName};

/// The configuration file as text; a phrase if there is none.
pub(super) fn file(config: &Config) -> String {
    config.file.as_ref().map_or("the configuration (there is no file)".to_owned(), |file| file.display().to_string())
}

/// The table of a job as text, with its line in the file: `line 7: [jobs."org.example.myapp".default]`.
pub(super) fn job_table(config: &Config, app: &AppId, name: &JobName) -> String {
    let line = config.line_of_job(app, name).map_or_else(String::new, |line| format!("line {line}: "));
    format!("{line}[jobs.\"{}\".{name}]", app.short())
}

/// The metadata of an app that the configuration names.
///
/// # Errors
/// [`Error::InvalidAppName`], [`Error::NoAppMetadata`]; the metadata cannot be read.
pub(super) fn app(config: &Config, name: &str) -> Result<AppMeta> {
    let app_id = AppId::from_argument(name).map_err(|error| Error::InvalidAppName { name: name.to_owned(), error })?;
    config.app(&app_id)?.ok_or_else(|| Error::NoAppMetadata(name.to_owned()))
}

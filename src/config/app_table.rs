//! An app as the configuration file defines it.

use std::path::PathBuf;

use serde::Deserialize;

use crate::model::Tls;

/// A table `[apps."org.example.myapp"]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct AppTable {
    /// The name that people see.
    pub title: Option<String>,
    /// The URL that takes registrations.
    pub app_url: Option<String>,
    /// The file of its certificate, PEM.
    pub app_cert: Option<PathBuf>,
    /// Whether the app is switched off.
    pub disabled: bool,
    /// Whether certificates of its sites are verified.
    pub tls: Tls,
}

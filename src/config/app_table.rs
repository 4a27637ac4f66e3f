//! An app as the configuration file defines it.

use std::path::PathBuf;

use serde::Deserialize;

use crate::model::Tls;
use crate::util::home;

/// A table `[apps."org.example.myapp"]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct AppTable {
    /// The name that people see.
    pub title: Option<String>,
    /// The URL that takes registrations.
    pub app_url: Option<String>,
    /// The file of its certificate, PEM.
    #[serde(deserialize_with = "home::deserialize")]
    pub app_cert: Option<PathBuf>,
    /// Whether the app is switched off.
    pub disabled: bool,
    /// Whether certificates of its sites are verified.
    pub tls: Tls,
}

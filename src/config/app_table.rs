//! An app as the configuration file defines it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::links::{PageName, PageUrl};
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
    /// The file of its private key, which opens registrations: `keys.json` of cxnapp, or PEM.
    #[serde(deserialize_with = "home::deserialize")]
    pub private_key: Option<PathBuf>,
    /// The file of its metadata, JSON, as sites get it.
    #[serde(deserialize_with = "home::deserialize")]
    pub metadata: Option<PathBuf>,
    /// The file of the secret that the tokens of links are made with.
    #[serde(deserialize_with = "home::deserialize")]
    pub link_secret_file: Option<PathBuf>,
    /// The URLs of its pages, by name.
    pub links: BTreeMap<PageName, PageUrl>,
    /// Whether the app is switched off.
    pub disabled: bool,
    /// Whether certificates of its sites are verified.
    pub tls: Tls,
}

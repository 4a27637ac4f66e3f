//! Connections and the apps that they belong to.

use serde_json::Value;

use super::{AppId, BatchCode, CxnId, Secret, ViaPort};

/// One connection of a site to an app.
#[derive(Debug, Clone, PartialEq)]
pub struct Cxn {
    /// Unique in a store.
    pub cxn_id: CxnId,
    /// Shared with the site.
    pub secret: Secret,
    /// The app that the site is connected to.
    pub app_id: AppId,
    /// Where the app takes registrations.
    pub app_url: String,
    /// Where the site takes API calls; chosen by a stranger.
    pub site_url: String,
    /// What the site allows the app to do: any JSON.
    pub perm: Value,
    /// A host and port to connect to in place of the site's own.
    pub via_port: Option<ViaPort>,
    /// Which batch the connection falls into.
    pub batch_code: BatchCode,
    /// A disabled connection is never due.
    pub disabled: bool,
}

/// What is known of an app from its configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct AppMeta {
    /// The app's id.
    pub app_id: AppId,
    /// The certificate that goes with every call, PEM; empty where the app has none.
    pub app_cert: String,
    /// An app that is switched off polls nothing.
    pub disabled: bool,
    /// The app's metadata as it was found: title, description, permissions and links.
    pub metadata: Value,
}

//! Connections and the apps that they belong to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

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
    pub app_url: Arc<str>,
    /// Where the site takes API calls; chosen by a stranger.
    pub site_url: String,
    /// What the site allows the app to do: any JSON.
    pub perm: Arc<Value>,
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
    /// What is asked of the certificates of its sites.
    pub tls: Tls,
    /// The app's metadata as it was found: title, description, permissions and links.
    pub metadata: Value,
}

/// What is asked of the certificate of a site that is called by https.
///
/// Messages are enciphered and signed with the connection's secret whatever the channel, so that a call over TLS that is not
/// verified gives away no more than one over plain http: which site is called, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// It must be good: of the host's name, in its time, and issued by an authority that is trusted.
    #[default]
    Verify,
    /// Nothing: for sites behind certificates that have expired.
    SkipVerify,
}

impl AppMeta {
    /// What people should know of how its sites are called; nothing where their certificates are verified.
    #[must_use]
    pub fn tls_warning(&self) -> Option<String> {
        let skips = self.tls == Tls::SkipVerify;
        skips.then(|| format!("{} has tls = \"skip-verify\": certificates of its sites are not verified", self.app_id))
    }
}

impl Cxn {
    /// The host that is connected to: what limits per host count by.
    #[must_use]
    pub fn host(&self) -> String {
        host(&self.site_url, self.via_port.as_ref())
    }
}

/// The host that a `siteUrl` and `viaPort` lead to, by the rules of the URL standard: lower case, addresses in their
/// usual form, without a final dot. The text itself where it is no URL.
#[must_use]
pub fn host(site_url: &str, via_port: Option<&ViaPort>) -> String {
    let host = match (via_port, url::Url::parse(site_url)) {
        (Some(via_port), _) => via_port.host().to_string(),
        (None, Ok(url)) => url.host_str().unwrap_or_default().to_owned(),
        (None, Err(_)) => site_url.to_owned(),
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Stands for a host where its name would take too much room; the same in all programs that read a store.
#[must_use]
pub fn host_hash(host: &str) -> u32 {
    u32::from_be_bytes(*Sha256::digest(host).first_chunk().expect("32 bytes hold 4"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_counted_where_the_connection_goes() {
        for (site_url, via_port, expected) in [
            ("HTTPS://User@Www.Example.ORG:8443/x", None, "www.example.org"),
            ("https://example.org./x", None, "example.org"),
            ("http://0x7f000001/", None, "127.0.0.1"),
            ("http://[0:0::1]/", None, "[::1]"),
            ("http://h.example.org/x", Some("Proxy.example.com:80"), "proxy.example.com"),
            ("http://h.example.org/x", Some("2001:db8::5:80"), "[2001:db8::5]"),
            ("no url", None, "no url"),
        ] {
            let via_port = via_port.map(|text: &str| text.parse().unwrap());
            assert_eq!(host(site_url, via_port.as_ref()), expected);
        }
    }
}

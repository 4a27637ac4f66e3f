//! Connections, and the apps that they belong to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::{AppId, BatchCode, CxnId, Secret, SiteUrl, ViaPort};

/// One connection of a site to an app.
#[derive(Debug, Clone, PartialEq)]
pub struct Cxn {
    /// The id, unique in a store.
    pub cxn_id: CxnId,
    /// The key that the app and the site share.
    pub secret: Secret,
    /// The app that the site is connected to.
    pub app_id: AppId,
    /// The URL at which the app accepts registrations.
    pub app_url: Arc<str>,
    /// The URL at which the site accepts API calls. A stranger chose it.
    pub site_url: SiteUrl,
    /// What the site allows the app to do, as any JSON.
    pub perm: Arc<Value>,
    /// The host and port to connect to; `None` is the site's own.
    pub via_port: Option<ViaPort>,
    /// The code that decides which batch the connection belongs to.
    pub batch_code: BatchCode,
    /// Whether the connection is disabled, and so never due.
    pub disabled: bool,
}

/// An app, as the configuration describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct AppMeta {
    /// The app's id.
    pub app_id: AppId,
    /// The certificate that is sent with every call, in PEM; empty where the app has none.
    pub app_cert: String,
    /// Whether the app is disabled, and so polls nothing.
    pub disabled: bool,
    /// Whether the certificates of its sites are verified.
    pub tls: Tls,
    /// The app's metadata, unchanged: title, description, permissions and links.
    pub metadata: Value,
}

/// Whether the certificate of a site that is called by https is verified.
///
/// Messages are always encrypted and signed with the connection's secret. So a call over TLS that is not verified
/// reveals no more than one over plain http: which site is called, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// The certificate must name the host, be valid now, and come from an authority that is trusted.
    #[default]
    Verify,
    /// Any certificate is accepted. For sites whose certificates have expired.
    SkipVerify,
}

impl AppMeta {
    /// Makes an app of which only the id is known: without a certificate, and with `null` as metadata.
    pub(crate) fn bare(app_id: AppId) -> Self {
        Self { app_id, app_cert: String::new(), disabled: false, tls: Tls::Verify, metadata: Value::Null }
    }

    /// The warning that certificates are not verified; `None` if they are.
    #[must_use]
    pub fn tls_warning(&self) -> Option<String> {
        let skips = self.tls == Tls::SkipVerify;
        skips.then(|| format!("{} has tls = \"skip-verify\": certificates of its sites are not verified", self.app_id))
    }

    /// Warnings for a command that calls the app's sites.
    pub fn call_warnings(&self) -> impl Iterator<Item = String> {
        let bare = self.app_cert.trim().is_empty();
        let bare = bare.then(|| format!("{} has no certificate: calls are sent without one", self.app_id));
        bare.into_iter().chain(self.tls_warning())
    }
}

impl Cxn {
    /// The host that is connected to, without the credentials that a text which is no URL may hold.
    #[must_use]
    pub fn host(&self) -> String {
        host(&self.site_url.to_string(), self.via_port.as_ref())
    }
}

/// The host that a `siteUrl` and `viaPort` lead to, as the URL standard normalizes it.
///
/// It is in lower case, without a final dot, and addresses are in their usual notation. Text that is not a URL is
/// returned in lower case, without a final dot.
#[must_use]
pub fn host(site_url: &str, via_port: Option<&ViaPort>) -> String {
    let host = match (via_port, Url::parse(site_url)) {
        (Some(via_port), _) => via_port.host().to_string(),
        (None, Ok(url)) => url.host_str().unwrap_or_default().to_owned(),
        (None, Err(_)) => site_url.to_owned(),
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_the_one_that_is_connected_to() {
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

    #[test]
    fn the_host_of_a_connection_holds_no_credentials() {
        let cxn = Cxn {
            cxn_id: "cxn:1".parse().unwrap(),
            secret: Secret::from_bytes([0; 32]),
            app_id: "app:org.example.myapp".parse().unwrap(),
            app_url: "https://app.example.org/".into(),
            site_url: "https://jo:sesame@h.example.org:99999/".into(),
            perm: Arc::default(),
            via_port: None,
            batch_code: BatchCode::MIN,
            disabled: false,
        };
        assert_eq!(cxn.host(), "…h.example.org:99999/");
    }
}

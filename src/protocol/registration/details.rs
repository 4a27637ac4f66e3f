//! The fields of a connection, as a request has them. Errors name the fields that are wrong, never their values.

use std::fmt;

use serde_json::{Map, Value};
use url::Url;

use crate::model::{AppId, CxnId, InvalidViaPort, Secret, SiteUrl, ViaPort, is_callable};
use crate::protocol::json::is_nested_at_most;

/// The longest URL, in bytes.
const MAX_URL_BYTES: usize = 2048;
/// The longest `perm` as compact JSON, in bytes.
const MAX_PERM_BYTES: usize = 64 << 10;
/// The deepest nesting of a `perm`. The store, an import and a restore read what is in a file a few levels deeper, up to 127.
pub const MAX_PERM_DEPTH: usize = 100;

/// The connection that a request is from, as it claims. Its reply is encrypted for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The connection's id.
    pub cxn_id: CxnId,
    /// The key that the app and the site are to share.
    pub secret: Secret,
}

/// The details of a connection that only a registration needs. `Debug` shows nothing of them.
#[derive(Clone, PartialEq)]
pub struct SiteDetails {
    /// Where the app takes registrations, as the site knows it.
    pub app_url: String,
    /// Where the site takes API calls.
    pub site_url: SiteUrl,
    /// What the site allows, a list or an object.
    pub perm: Value,
    /// The proxy, if there is one.
    pub via_port: Option<ViaPort>,
}

impl fmt::Debug for SiteDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SiteDetails(…)")
    }
}

/// The connection that a request is from.
pub(super) fn sender(cxn: &Map<String, Value>) -> Result<Sender, String> {
    let cxn_id = text(cxn, "cxnId").and_then(|cxn_id| cxn_id.parse::<CxnId>().ok());
    let secret = text(cxn, "secret").and_then(|secret| Secret::from_base64(secret).ok());
    match (cxn_id, secret) {
        (Some(cxn_id), Some(secret)) => Ok(Sender { cxn_id, secret }),
        (None, Some(_)) => Err("missing or invalid: cxnId".to_owned()),
        (Some(_), None) => Err("missing or invalid: secret".to_owned()),
        (None, None) => Err("missing or invalid: cxnId, secret".to_owned()),
    }
}

/// Checks that the connection is to the app that is addressed.
pub(super) fn check_app(cxn: &Map<String, Value>, app_id: &AppId) -> Result<(), String> {
    if text(cxn, "appId") == Some(app_id.as_str()) { Ok(()) } else { Err("missing or invalid: appId".to_owned()) }
}

/// The details that only a registration needs.
pub(super) fn of_site(cxn: &Map<String, Value>) -> Result<SiteDetails, String> {
    let url = |key| text(cxn, key).filter(|url| is_web_url(url)).map(str::to_owned);
    let perm = cxn.get("perm").filter(|perm| perm.is_array() || perm.is_object());
    let is_stored = |text: &str| text.len() <= MAX_PERM_BYTES && is_nested_at_most(text, MAX_PERM_DEPTH);
    let perm = perm.filter(|perm| is_stored(&perm.to_string()));
    match (url("appUrl"), url("siteUrl"), perm, via_port(cxn)) {
        (Some(app_url), Some(site_url), Some(perm), Ok(via_port)) => {
            Ok(SiteDetails { app_url, site_url: SiteUrl::from(site_url), perm: perm.clone(), via_port })
        }
        (app_url, site_url, perm, via_port) => {
            let good = [app_url.is_some(), site_url.is_some(), perm.is_some(), via_port.is_ok()];
            let fields = ["appUrl", "siteUrl", "perm", "viaPort"].into_iter().zip(good);
            let bad: Vec<_> = fields.filter(|(_, is_good)| !is_good).map(|(field, _)| field).collect();
            Err(format!("missing or invalid: {}", bad.join(", ")))
        }
    }
}

fn text<'a>(cxn: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    cxn.get(key)?.as_str()
}

/// The proxy; `None` if there is none. Missing, `null` and empty are the same.
fn via_port(cxn: &Map<String, Value>) -> Result<Option<ViaPort>, InvalidViaPort> {
    match cxn.get("viaPort") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some),
        Some(_) => Err(InvalidViaPort::NoPort),
    }
}

/// Whether a text is an http or https URL with a host, without blanks and only of ASCII.
fn is_web_url(text: &str) -> bool {
    let is_plain = text.len() <= MAX_URL_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    let has_authority = text.split_once("://").is_some_and(|(_, rest)| !rest.starts_with(['/', '\\', '?', '#']));
    is_plain && has_authority && Url::parse(text).is_ok_and(|url| is_callable(&url))
}

//! Limits of polls that several hosts share, as the configuration file defines them.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use wildmatch::WildMatchPattern;

use crate::model::{Cxn, host};

/// A table `[[limits]]` whose keys go together. It limits all polls that match, in addition to `per-host`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawTable")]
pub struct LimitTable(RawTable);

/// The keys of a table, before they are checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    net: Option<IpNet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Pattern>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<Pattern>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrent: Option<NonZeroUsize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_minute: Option<NonZeroU32>,
}

/// A pattern in lower case, in which `*` matches anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub(super) struct Pattern {
    text: String,
    matcher: WildMatchPattern<'*', '\0'>,
}

impl Pattern {
    /// Whether it matches a text in lower case.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.matcher.matches(text)
    }
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        let text = text.to_lowercase();
        Self { matcher: WildMatchPattern::new(&text), text }
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

/// Why the keys of a table do not go together.
///
/// serde needs the text, which becomes part of a TOML error with its line.
#[derive(Debug, thiserror::Error)]
enum TableProblem {
    #[error("expected one of `net`, `host` and `proxy`, which says what is limited")]
    NotOneTarget,
    #[error("expected `concurrent`, `per-minute` or both")]
    NoLimit,
    #[error("`host` is a name or an address such as \"*.example.org\", without a scheme, a path or a port")]
    NoHost,
    #[error("`proxy` is a viaPort such as \"10.0.0.1:3128\"; \"10.0.0.1:*\" is any port")]
    NoPort,
}

impl TryFrom<RawTable> for LimitTable {
    type Error = TableProblem;

    fn try_from(table: RawTable) -> Result<Self, TableProblem> {
        let targets = [table.net.is_some(), table.host.is_some(), table.proxy.is_some()];
        if targets.into_iter().filter(|is_there| *is_there).count() != 1 {
            return Err(TableProblem::NotOneTarget);
        }
        if table.concurrent.is_none() && table.per_minute.is_none() {
            return Err(TableProblem::NoLimit);
        }
        let is_host = |text: &str| !text.contains('/') && (text.starts_with('[') || !text.contains(':'));
        if table.host.as_ref().is_some_and(|host| !is_host(&host.text)) {
            return Err(TableProblem::NoHost);
        }
        if table.proxy.as_ref().is_some_and(|proxy| !proxy.text.contains(':') && !proxy.text.ends_with('*')) {
            return Err(TableProblem::NoPort);
        }
        Ok(Self(table))
    }
}

/// What a connection is matched by.
#[derive(Debug)]
pub struct LimitedSite {
    host: String,
    proxy: Option<String>,
}

impl LimitedSite {
    /// What a connection is matched by, except for its addresses.
    #[must_use]
    pub fn new(cxn: &Cxn) -> Self {
        let proxy = cxn.via_port.as_ref().map(|via_port| via_port.to_string().to_lowercase());
        Self { host: host(&cxn.site_url.to_string(), None), proxy }
    }
}

impl LimitTable {
    /// Whether it limits the polls of a site that may connect to these addresses.
    ///
    /// A network matches if one of the addresses is in it. A name is that of the site, also where a proxy is connected to.
    #[must_use]
    pub fn matches(&self, site: &LimitedSite, addresses: &[IpAddr]) -> bool {
        let RawTable { net, host, proxy, .. } = &self.0;
        net.is_some_and(|net| addresses.iter().any(|address| net.contains(address)))
            || host.as_ref().is_some_and(|host| host.matches(&site.host))
            || proxy.as_ref().zip(site.proxy.as_deref()).is_some_and(|(proxy, site)| proxy.matches(site))
    }

    /// How many of the polls may be in flight; `None` is no limit.
    #[must_use]
    pub fn concurrent(&self) -> Option<usize> {
        self.0.concurrent.map(NonZeroUsize::get)
    }

    /// The time from the start of a poll to that of the next one; `None` is no limit.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        self.0.per_minute.map(|count| Duration::from_secs(60) / count.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BatchCode, Secret};
    use std::sync::Arc;

    fn table(text: &str) -> Result<LimitTable, toml::de::Error> {
        toml::from_str(text)
    }

    fn site(site_url: &str, via_port: Option<&str>) -> LimitedSite {
        LimitedSite::new(&Cxn {
            cxn_id: "cxn:1".parse().unwrap(),
            secret: Secret::from_bytes([0; 32]),
            app_id: "app:org.example.myapp".parse().unwrap(),
            app_url: "https://app.example.org/".into(),
            site_url: site_url.into(),
            perm: Arc::default(),
            via_port: via_port.map(|text| text.parse().unwrap()),
            batch_code: BatchCode::MIN,
            disabled: false,
        })
    }

    #[test]
    fn a_table_matches_by_network_name_or_proxy() {
        let via = Some("Proxy.example.com:3128");
        let cases = [
            ("net = '203.0.113.0/24'", None, "203.0.113.255", true),
            ("net = '203.0.113.0/24'", None, "203.0.114.0", false),
            ("net = '2001:db8::/32'", via, "2001:db8:1::1", true),
            ("host = '*.Example.ORG'", None, "192.0.2.1", true),
            ("host = 'example.org'", None, "192.0.2.1", false),
            ("host = '*.example.org'", via, "192.0.2.1", true),
            ("host = 'proxy.*'", via, "192.0.2.1", false),
            ("proxy = 'proxy.EXAMPLE.com:3128'", via, "192.0.2.1", true),
            ("proxy = 'proxy.example.com:*'", via, "192.0.2.1", true),
            ("proxy = '*:8080'", via, "192.0.2.1", false),
            ("proxy = '*'", None, "192.0.2.1", false),
        ];
        for (target, via_port, address, expected) in cases {
            let table = table(&format!("{target}\nconcurrent = 1")).unwrap();
            let site = site("https://User@Www.example.org./x", via_port);
            // One of several addresses is enough.
            let addresses = ["198.51.100.1", address].map(|address| address.parse().unwrap());
            assert_eq!(table.matches(&site, &addresses), expected, "{target}, {address}");
        }
    }

    #[test]
    fn polls_are_spaced_evenly() {
        let table = table("host = '*'\nper-minute = 120").unwrap();
        assert_eq!((table.interval(), table.concurrent()), (Some(Duration::from_millis(500)), None));
    }

    #[test]
    fn a_mistake_in_a_table_is_reported_with_what_was_expected() {
        for (text, expected) in [
            ("concurrent = 1", "expected one of `net`, `host` and `proxy`"),
            ("net = '10.0.0.0/8'\nhost = 'a.example'\nconcurrent = 1", "expected one of `net`, `host` and `proxy`"),
            ("host = 'a.example'", "expected `concurrent`, `per-minute` or both"),
            ("host = 'https://a.example'\nconcurrent = 1", "without a scheme"),
            ("host = 'a.example:80'\nconcurrent = 1", "without a scheme, a path or a port"),
            ("proxy = '10.0.0.1'\nconcurrent = 1", "\"10.0.0.1:*\" is any port"),
            ("net = '10.0.0.0/33'\nconcurrent = 1", "invalid IP address syntax"),
            ("host = 'a.example'\nconcurrent = 0", "nonzero"),
            ("host = 'a.example'\nper-minute = 0", "nonzero"),
            ("host = 'a.example'\nper-hour = 1", "unknown field `per-hour`"),
        ] {
            let error = table(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}

//! Which registrations are accepted, as the configuration file defines it.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::limits::Pattern;

/// The table `[registration]`. A limit of 0 is none.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RegistrationTable {
    /// How many requests an address may send per minute. Those of this machine may send any number.
    pub requests_per_minute: u32,
    /// How often per hour a connection may register. Those of one `siteUrl` that are not stored share the limit.
    pub requests_per_site_and_hour: u32,
    /// How many connections a host may have.
    pub connections_per_host: u32,
    /// The hosts that may register, as names, patterns or networks; empty is all.
    pub allow: Vec<AllowedHost>,
    /// Whether new connections are stored disabled, until `cxnpoll enable`.
    pub hold: bool,
}

impl Default for RegistrationTable {
    fn default() -> Self {
        Self {
            requests_per_minute: 60,
            requests_per_site_and_hour: 30,
            connections_per_host: 0,
            allow: Vec::new(),
            hold: false,
        }
    }
}

/// An entry of `allow`: a name, in which `*` matches anything, or a network.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct AllowedHost(Entry);

#[derive(Debug, Clone, PartialEq)]
enum Entry {
    Name(Pattern),
    Network(IpNet),
}

/// Why a text is no entry of `allow`.
///
/// serde needs the text, which becomes part of a TOML error with its line.
#[derive(Debug, thiserror::Error)]
#[error(
    "expected a host such as \"*.example.org\", or a network such as \"192.0.2.0/24\"; international names as xn--…"
)]
pub struct NoHost;

impl TryFrom<String> for AllowedHost {
    type Error = NoHost;

    fn try_from(text: String) -> Result<Self, NoHost> {
        if let Ok(network) = text.parse() {
            return Ok(Self(Entry::Network(network)));
        }
        let name = text.trim_end_matches('.');
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"*._-".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(NoHost);
        }
        Ok(Self(Entry::Name(name.to_owned().into())))
    }
}

impl From<AllowedHost> for String {
    fn from(host: AllowedHost) -> Self {
        match host.0 {
            Entry::Name(pattern) => pattern.into(),
            Entry::Network(network) => network.to_string(),
        }
    }
}

impl RegistrationTable {
    /// Whether a host may register. It is as [`crate::model::host`] returns it: IPv6 addresses are in brackets.
    ///
    /// Only addresses are in networks. A name is not resolved.
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        self.allow.is_empty()
            || self.allow.iter().any(|AllowedHost(entry)| match entry {
                Entry::Name(pattern) => pattern.matches(host),
                Entry::Network(network) => address
                    .is_some_and(|address| network.contains(&address) || network.contains(&address.to_canonical())),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    fn table(allow: &str) -> Result<RegistrationTable, toml::de::Error> {
        toml::from_str(&format!("allow = [{allow}]"))
    }

    #[test]
    fn hosts_are_allowed_by_name_pattern_or_network() {
        for (allow, site_url, expected) in [
            ("", "https://any.example/", true),
            ("'Example.org.'", "https://EXAMPLE.org./x", true),
            ("'example.org'", "https://www.example.org/", false),
            ("'example.org'", "https://example.org.evil.example/", false),
            ("'*.example.org', 'b.example'", "https://a.B.example.org/", true),
            ("'*.example.org', 'b.example'", "https://b.example/", true),
            ("'*.example.org'", "https://example.org/", false),
            ("'*.example.org'", "https://evilexample.org/", false),
            ("'xn--bcher-kva.example'", "https://b\u{fc}cher.example/", true),
            ("'192.0.2.0/24'", "http://192.0.2.77:8080/", true),
            ("'192.0.2.0/24'", "http://0xc0000201/", true),
            ("'192.0.2.0/24'", "http://192.0.3.1/", false),
            ("'192.0.2.0/24'", "http://192.0.2.1.example/", false),
            ("'192.0.2.0/24'", "http://[::ffff:192.0.2.1]/", true),
            ("'192.0.2.1'", "http://192.0.2.1/", true),
            ("'2001:db8::/32'", "http://[2001:DB8:0::1]/", true),
            ("'2001:db8::/32'", "http://[2001:db9::1]/", false),
            ("'*'", "http://[2001:db9::1]/", true),
        ] {
            let host = model::host(site_url, None);
            assert_eq!(table(allow).unwrap().allows(&host), expected, "{allow}, {host}");
        }
    }

    #[test]
    fn an_entry_is_a_host_or_a_network() {
        for entry in
            ["", ".", "a.example:80", "https://a.example", "a.example/x", "10.0.0.0/33", "a b", "[::1]", "\u{fc}"]
        {
            let error = table(&format!("'a.example', '{entry}'")).unwrap_err().to_string();
            assert!(error.contains("expected a host such as"), "{entry}: {error}");
        }
        let shown: Vec<String> =
            table("'A.example', '10.0.0.0/8'").unwrap().allow.into_iter().map(Into::into).collect();
        assert_eq!(shown, ["a.example", "10.0.0.0/8"]);
    }
}

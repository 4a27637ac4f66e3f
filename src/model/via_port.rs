//! The host and port that a connection is reached through.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Host;

use crate::util::text::parse_digits;

/// `host:port` of a proxy, to connect to instead of the site's own host and port.
///
/// The host is an IPv4 address, an IPv6 address as the PHP library writes it (no brackets; the port follows the last
/// colon), or a name of at least two labels. A stranger chooses it, so nothing else is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ViaPort {
    text: String,
    host: Host<String>,
    port: u16,
}

/// Why text is not a [`ViaPort`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidViaPort {
    /// The text has no colon.
    #[error("viaPort is not host:port")]
    NoPort,
    /// The text after the last colon is not a number from 1 to 65535 in plain digits.
    #[error("viaPort has no port between 1 and 65535 after its last colon")]
    Port,
    /// The text before the last colon is neither an address nor a name with a dot.
    #[error("viaPort's host is neither an address nor a name with a dot")]
    Host,
}

impl ViaPort {
    /// The host to connect to.
    #[must_use]
    pub fn host(&self) -> &Host<String> {
        &self.host
    }

    /// The port to connect to, 1..=65535.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for ViaPort {
    type Err = InvalidViaPort;

    fn from_str(text: &str) -> Result<Self, InvalidViaPort> {
        let (host, port) = text.rsplit_once(':').ok_or(InvalidViaPort::NoPort)?;
        Ok(Self {
            text: text.to_owned(),
            host: parse_host(host).ok_or(InvalidViaPort::Host)?,
            port: parse_digits(port).filter(|port| *port != 0).ok_or(InvalidViaPort::Port)?,
        })
    }
}

fn parse_host(text: &str) -> Option<Host<String>> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(Host::Ipv4(address));
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some(Host::Ipv6(address));
    }
    is_dotted_name(text).then(|| Host::Domain(text.to_owned()))
}

/// Whether text is a name of at least two labels, with the lengths of RFC 1035.
///
/// The last label begins with a letter, so that the name cannot be taken for an address.
fn is_dotted_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let Some((labels, last)) = text.rsplit_once('.') else { return false };
    text.len() <= 253
        && labels.split('.').all(is_label)
        && is_label(last)
        && last.starts_with(|c: char| c.is_ascii_alphabetic())
        && !last.contains('-')
}

impl fmt::Display for ViaPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for ViaPort {
    type Error = InvalidViaPort;

    fn try_from(text: String) -> Result<Self, InvalidViaPort> {
        text.parse()
    }
}

impl From<ViaPort> for String {
    fn from(via: ViaPort) -> String {
        via.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// What the library accepts although it is not `host:port`. It checks only for a valid start or end.
    const STRICTER: [&str; 7] = [
        "127.0.0.1:999999999",
        "example.com:99999",
        "127.0.0.1:80\n",
        "127.0.0.1:80x",
        "evil.example 127.0.0.1:80",
        "user@127.0.0.1:80",
        "127.0.0.1:80\r\nX-Evil: 1",
    ];

    #[test]
    fn accepts_what_the_php_library_accepts_except_malformed_text() {
        let vectors: Value = serde_json::from_str(include_str!("../../fixtures/vectors.json")).unwrap();
        let mut stricter = Vec::new();
        for case in vectors["via_port"]["validate"].as_array().unwrap() {
            let text = case["viaPort"].as_str().unwrap();
            let is_accepted = text.parse::<ViaPort>().is_ok();
            if case["valid"] == true && !is_accepted {
                stricter.push(text);
            } else {
                assert_eq!(case["valid"], is_accepted, "{text:?}");
            }
        }
        assert_eq!(stricter, STRICTER);
    }

    #[test]
    fn host_and_port_are_parsed() {
        let read = |text: &str| text.parse::<ViaPort>().map(|via| (via.host().clone(), via.port()));
        let v6 = "2001:db8:85a3::8a2e:370:7334".parse().unwrap();
        assert_eq!(read("2001:db8:85a3::8a2e:370:7334:456"), Ok((Host::Ipv6(v6), 456)));
        assert_eq!(read("127.0.0.1:1"), Ok((Host::Ipv4(Ipv4Addr::LOCALHOST), 1)));
        assert_eq!(read("proxy.example.com:65535"), Ok((Host::Domain("proxy.example.com".into()), 65535)));
    }

    #[test]
    fn the_error_names_the_part_that_is_wrong() {
        for (text, error) in [
            ("example.com", InvalidViaPort::NoPort),
            ("example.com:0", InvalidViaPort::Port),
            ("example.com:65536", InvalidViaPort::Port),
            ("example.com:", InvalidViaPort::Port),
            ("example.com: 80", InvalidViaPort::Port),
            ("localhost:80", InvalidViaPort::Host),
            ("a..com:80", InvalidViaPort::Host),
            ("0177.0.0.1:80", InvalidViaPort::Host),
            ("example.0x7f:80", InvalidViaPort::Host),
        ] {
            assert_eq!(text.parse::<ViaPort>(), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn accepted_text_is_plain_and_printed_unchanged(text in ".*|[a-z0-9.:-]{1,20}:[0-9]{1,5}") {
            if let Ok(via) = text.parse::<ViaPort>() {
                prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-".contains(&b)));
                let json = serde_json::to_string(&via).unwrap();
                prop_assert_eq!(serde_json::from_str::<ViaPort>(&json).unwrap(), via.clone());
                prop_assert_eq!(via.to_string(), text);
            }
        }
    }
}

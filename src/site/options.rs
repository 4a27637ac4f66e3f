//! How sites are called: limits of time and size, certificates, addresses and ports.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use super::egress::RefusedPorts;
use crate::model::Tls;
use crate::retry::duration::TimeLimit;

/// The size of each of the two buffers of a connection, in bytes.
///
/// It holds a typical message or reply whole.
pub(super) const BUFFER_BYTES: usize = 16 * 1024;

/// How a [`Client`](super::Client) calls.
#[derive(Debug, Clone)]
pub struct Options {
    /// Networks that may be connected to although they are not public.
    pub allow_net: Vec<IpNet>,
    /// Ports that are not connected to.
    pub refuse_ports: RefusedPorts,
    /// Limits of time.
    pub timeouts: Timeouts,
    /// Whether certificates are verified.
    pub tls: Tls,
    /// Certificates, in DER, of authorities that are trusted in addition to those of the platform.
    pub authorities: Vec<Vec<u8>>,
    /// The `User-Agent` header. Characters that a header cannot hold become `?`.
    pub user_agent: String,
}

impl Default for Options {
    /// Public networks only, and certificates that the platform trusts.
    fn default() -> Self {
        Self {
            allow_net: Vec::new(),
            refuse_ports: RefusedPorts::default(),
            timeouts: Timeouts::default(),
            tls: Tls::Verify,
            authorities: Vec::new(),
            user_agent: concat!("cxnpoll/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

/// How long each part of a call may take. No part lasts longer than the whole call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Timeouts {
    /// Resolving the host's name.
    #[serde(deserialize_with = "limit")]
    pub resolve: Duration,
    /// Connecting, to as many of the addresses as it takes.
    #[serde(deserialize_with = "limit")]
    pub connect: Duration,
    /// The TLS handshake.
    #[serde(deserialize_with = "limit")]
    pub tls: Duration,
    /// From the last byte of the request to the end of the reply's header; `None` is no limit.
    ///
    /// Most of this time the site is at work.
    #[serde(deserialize_with = "some_limit")]
    pub first_byte: Option<Duration>,
    /// The whole call, with its redirects and the body of the reply.
    #[serde(deserialize_with = "limit")]
    pub call: Duration,
}

impl Default for Timeouts {
    /// 10 seconds for each step of connecting, 60 for the whole call.
    fn default() -> Self {
        let step = Duration::from_secs(10);
        Self { resolve: step, connect: step, tls: step, first_byte: None, call: Duration::from_secs(60) }
    }
}

impl Timeouts {
    /// How long looking up a name may take: no longer than a call.
    pub(super) fn lookup(&self) -> Duration {
        self.resolve.min(self.call)
    }
}

fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    TimeLimit::deserialize(deserializer).map(|limit| limit.0)
}

fn some_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    limit(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_above_zero_and_have_defaults() {
        let timeouts = |text: &str| toml::from_str::<Timeouts>(text).ok();
        assert_eq!(timeouts("").map(|timeouts| timeouts.call), Some(Duration::from_secs(60)));
        assert_eq!(timeouts("call = \"2m\"").map(|timeouts| timeouts.call), Some(Duration::from_secs(120)));
        assert_eq!(
            timeouts("first-byte = 2.0").map(|timeouts| timeouts.first_byte),
            Some(Some(Duration::from_secs(2)))
        );
        assert_eq!(timeouts("call = 0"), None);
    }
}

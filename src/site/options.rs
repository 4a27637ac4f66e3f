//! How sites are called: limits of time and size, certificates, addresses and ports.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

use super::egress::RefusedPorts;
use crate::model::Tls;
use crate::util::time;

/// The size of each of the two buffers of a connection, in bytes.
///
/// It holds a typical message or reply whole. All buffers together are most of the memory of a run.
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
    #[serde(deserialize_with = "seconds")]
    pub resolve: Duration,
    /// Connecting, to as many of the addresses as it takes.
    #[serde(deserialize_with = "seconds")]
    pub connect: Duration,
    /// The TLS handshake.
    #[serde(deserialize_with = "seconds")]
    pub tls: Duration,
    /// From the last byte of the request to the end of the reply's header; `None` is no limit.
    ///
    /// Most of this time the site is at work.
    #[serde(deserialize_with = "some_seconds")]
    pub first_byte: Option<Duration>,
    /// The whole call, with its redirects and the body of the reply.
    #[serde(deserialize_with = "seconds")]
    pub call: Duration,
}

impl Default for Timeouts {
    /// 10 seconds for each step of connecting, 60 for the whole call.
    fn default() -> Self {
        let step = Duration::from_secs(10);
        Self { resolve: step, connect: step, tls: step, first_byte: None, call: Duration::from_secs(60) }
    }
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    time::seconds(f64::deserialize(deserializer)?)
        .filter(|limit| !limit.is_zero())
        .ok_or_else(|| de::Error::custom("expected a number of seconds above 0, such as 10 or 0.5"))
}

fn some_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    seconds(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_above_zero_and_below_2_to_the_32() {
        let call = |text: &str| toml::from_str::<Timeouts>(text).ok().map(|timeouts| timeouts.call);
        assert_eq!(call(""), Some(Duration::from_secs(60)));
        assert_eq!(call("call = 0.5"), Some(Duration::from_millis(500)));
        assert_eq!(call("call = 4294967295.0"), Some(Duration::from_secs(u32::MAX.into())));
        for bad in ["call = 0.0", "call = -1.0", "call = 4294967296.0", "call = inf", "call = nan", "call = \"1\""] {
            assert_eq!(call(bad), None, "{bad}");
        }
        let first_byte = toml::from_str::<Timeouts>("first-byte = 2.0").unwrap().first_byte;
        assert_eq!(first_byte, Some(Duration::from_secs(2)));
    }
}

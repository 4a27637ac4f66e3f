//! What a witness counts as: the network that answers for its site, or its name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::store::{HostHash, HostKey};

/// What a witness counts as. Witnesses with the same key count once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// The hash of the network of its address.
    Network(u32),
    /// The hash of the name of its host.
    Name(HostHash),
}

impl Key {
    /// The key of a poll that called an address in `network`; `None` if it called none.
    ///
    /// `before` is the network that answered before. Where another one answers now, all names may lead to one address that
    /// has nothing to do with the sites, so the name counts.
    pub(super) fn new(before: Option<u32>, network: Option<u32>, host: HostHash) -> Self {
        match network {
            Some(network) if before.is_none_or(|before| before == network) => Self::Network(network),
            _ => Self::Name(host),
        }
    }
}

/// The short hash of the network of an address (IPv4 /24, IPv6 /48), as statuses hold it.
#[must_use]
pub fn network_hash(key: HostKey, address: IpAddr) -> u32 {
    let hash = key.hash(&network(address));
    #[expect(clippy::cast_possible_truncation, reason = "half of the bits are enough")]
    let short = hash as u32;
    short
}

fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("{}/24", Ipv4Addr::from_bits(address.to_bits() & !0 << 8)),
        IpAddr::V6(address) => format!("{}/48", Ipv6Addr::from_bits(address.to_bits() & !0 << 80)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_24_bits_of_ipv4_and_48_of_ipv6() {
        for (address, expected) in [
            ("203.0.113.7", "203.0.113.0/24"),
            ("::ffff:203.0.113.9", "203.0.113.0/24"),
            ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ] {
            assert_eq!(network(address.parse().unwrap()), expected);
        }
    }

    #[test]
    fn a_witness_counts_by_its_name_if_its_network_is_new_or_unknown() {
        assert_eq!(Key::new(Some(1), Some(1), 7), Key::Network(1));
        assert_eq!(Key::new(None, Some(1), 7), Key::Network(1));
        assert_eq!(Key::new(Some(2), Some(1), 7), Key::Name(7));
        assert_eq!(Key::new(Some(2), None, 7), Key::Name(7));
    }
}

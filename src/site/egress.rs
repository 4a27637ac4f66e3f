//! Which addresses may be connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The rule for addresses: public ones, and what the administrator allows besides.
///
/// A site's URL comes from a stranger, who must not make this server talk to its own network. What is not public
/// follows the registries of IANA:
/// <https://www.iana.org/assignments/iana-ipv4-special-registry> and
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Networks that are allowed although they are not public. One of IPv4 also covers IPv6 addresses that hold one
    /// of its addresses.
    pub allow: Vec<IpNet>,
}

/// An address that the policy refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is not a public address ({why})")]
pub struct Refused {
    address: IpAddr,
    why: &'static str,
}

impl Policy {
    /// Judges an address.
    ///
    /// # Errors
    /// Where the address is neither public nor allowed.
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        if self.allow.iter().any(|net| net.contains(&address)) {
            return Ok(());
        }
        let why = match address {
            IpAddr::V4(v4) => special_v4(v4),
            IpAddr::V6(v6) => match embedded(v6) {
                Some(v4) => return self.check(v4.into()).map_err(|refused| Refused { address, ..refused }),
                None => special_v6(v6),
            },
        };
        why.map_or(Ok(()), |why| Err(Refused { address, why }))
    }
}

/// The IPv4 address that packets to an IPv6 address end up at, or might.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4_at = |octet: usize| {
        let o = v6.octets();
        Ipv4Addr::new(o[octet], o[octet + 1], o[octet + 2], o[octet + 3])
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,         // the unspecified address and loopback
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _]             // compatible (RFC 4291, 2.5.5.1) and mapped (2.5.5.2)
        | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Some(v4_at(12)), // NAT64 (RFC 6052)
        [0x2002, ..] => Some(v4_at(2)),               // 6to4 (RFC 3056)
        _ => None,
    }
}

/// What is special about an IPv4 address.
fn special_v4(v4: Ipv4Addr) -> Option<&'static str> {
    Some(match v4.octets() {
        [0, ..] => "this network",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "private",
        [100, 64..=127, ..] => "shared by a carrier",
        [127, ..] => "loopback",
        [169, 254, ..] => "link-local",
        [192, 0, 0, _] => "protocol assignment",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "documentation",
        [192, 88, 99, _] => "6to4 relay",
        [198, 18..=19, ..] => "benchmarking",
        [224..=239, ..] => "multicast",
        [255, 255, 255, 255] => "broadcast",
        [240..=255, ..] => "reserved",
        _ => return None,
    })
}

/// What is special about an IPv6 address that holds no IPv4 address. Only `2000::/3` is given out as global
/// unicast (<https://www.iana.org/assignments/ipv6-address-space>), so that what is not known is refused.
fn special_v6(v6: Ipv6Addr) -> Option<&'static str> {
    Some(match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "unspecified",
        [0, 0, 0, 0, 0, 0, 0, 1] => "loopback",
        [0x64, 0xff9b, 1, ..] => "local translation",
        [0x100, 0, 0, 0..=1, ..] => "discard or dummy",
        [0x2001, 0, ..] => "Teredo",
        [0x2001, 2, 0, ..] => "benchmarking",
        [0x2001, 0..=0x1ff, ..] => "protocol assignment",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => "documentation",
        [0x2000..=0x3fff, ..] => return None,
        [0x5f00, ..] => "segment routing",
        [0xfc00..=0xfdff, ..] => "private",
        [0xfe80..=0xfebf, ..] => "link-local",
        [0xfec0..=0xfeff, ..] => "site-local",
        [0xff00..=0xffff, ..] => "multicast",
        _ => "reserved",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: &Policy, address: &str) -> Result<(), String> {
        policy.check(address.parse().unwrap()).map_err(|refused| refused.to_string())
    }

    #[test]
    fn public_addresses_pass() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.88.98.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2606:4700::1111",
            "2a00:1450::1",
            "3ffe:ffff::1",
            "::ffff:1.1.1.1",
            "::1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert_eq!(check(&Policy::default(), address), Ok(()), "{address}");
        }
    }

    #[test]
    fn special_addresses_do_not() {
        for (why, addresses) in [
            ("this network", &["0.0.0.0", "0.255.255.255", "::2", "::ffff:0.0.0.0"][..]),
            ("private", &["10.0.0.0", "172.16.0.0", "172.31.255.255", "192.168.0.1", "fc00::", "fdff::1"]),
            ("shared by a carrier", &["100.64.0.0", "100.127.255.255"]),
            ("loopback", &["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "::127.0.0.1"]),
            ("loopback", &["64:ff9b::127.0.0.1", "2002:7f00:1::"]),
            ("link-local", &["169.254.169.254", "fe80::1", "febf::1", "::ffff:169.254.169.254"]),
            ("protocol assignment", &["192.0.0.1", "2001:1::1", "2001:20::1", "2001:1ff:ffff::1"]),
            ("documentation", &["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::5", "3fff:fff::1"]),
            ("6to4 relay", &["192.88.99.1"]),
            ("benchmarking", &["198.18.0.0", "198.19.255.255", "2001:2::1"]),
            ("multicast", &["224.0.0.1", "239.255.255.255", "ff02::1"]),
            ("broadcast", &["255.255.255.255"]),
            ("reserved", &["240.0.0.1", "255.255.255.254", "4000::1", "::ffff:0:1.1.1.1", "1fff::", "e000::"]),
            ("unspecified", &["::"]),
            ("local translation", &["64:ff9b:1::1"]),
            ("discard or dummy", &["100::1", "100:0:0:1::1"]),
            ("Teredo", &["2001::1"]),
            ("segment routing", &["5f00::1"]),
            ("site-local", &["fec0::1"]),
        ] {
            for address in addresses {
                let address: IpAddr = address.parse().unwrap();
                let message = format!("{address} is not a public address ({why})");
                assert_eq!(check(&Policy::default(), &address.to_string()), Err(message));
            }
        }
    }

    #[test]
    fn allowed_networks_pass_and_their_neighbours_do_not() {
        let policy = Policy { allow: ["10.1.0.0/16", "fd00::/64"].map(|net| net.parse().unwrap()).into() };
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::5", "1.1.1.1"] {
            assert_eq!(check(&policy, address), Ok(()), "{address}");
        }
        for address in ["10.2.0.0", "::ffff:10.2.0.0", "fd00:0:0:1::5", "127.0.0.1"] {
            assert!(check(&policy, address).is_err(), "{address}");
        }
    }

    #[test]
    fn everything_allowed_is_everything() {
        let policy = Policy { allow: ["0.0.0.0/0", "::/0"].map(|net| net.parse().unwrap()).into() };
        for address in ["127.0.0.1", "::1", "::", "fe80::1"] {
            assert_eq!(check(&policy, address), Ok(()));
        }
    }
}

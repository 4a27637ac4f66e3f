//! Which addresses and ports may be connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::{Cause, Failure, FailureClass};

/// The addresses and ports that may be connected to.
///
/// Public addresses of other machines, and those that the administrator allows; all ports but those of other services. A
/// site's URL comes from a stranger, so it must not lead into the server's own network. Which addresses are not public
/// follows the registries of IANA:
/// <https://www.iana.org/assignments/iana-ipv4-special-registry> and
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>.
#[derive(Debug, Clone, Default)]
pub struct EgressPolicy {
    /// Networks that are allowed although they are not public or are this machine's own.
    ///
    /// An IPv4 network also covers the IPv6 addresses that hold one of its addresses.
    pub allow: Vec<IpNet>,
    /// Ports that are refused at every address.
    pub refuse: RefusedPorts,
}

/// Ports that are refused.
///
/// They belong to services that an HTTP request could misuse, for example to send mail. Port 0 is always refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RefusedPorts(Vec<u16>);

impl Default for RefusedPorts {
    /// The ports that browsers refuse (<https://fetch.spec.whatwg.org/#port-blocking>).
    fn default() -> Self {
        Self(vec![
            1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104,
            109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515,
            526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049,
            3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
        ])
    }
}

/// An address or a port that the policy refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Neither public nor allowed.
    #[error("{address} is not a public address ({why})")]
    Address {
        /// The address.
        address: IpAddr,
        /// Why it is not public.
        why: &'static str,
    },
    /// An address of this machine that is not allowed.
    #[error("{0} is an address of this machine; --allow-net would allow it")]
    Own(IpAddr),
    /// A port of another service.
    #[error("port {0} is refused: it belongs to another service than a web server")]
    Port(u16),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let cause = match refused {
            Refused::Address { address, .. } | Refused::Own(address) => Cause::Address(address),
            Refused::Port(_) => Cause::Message,
        };
        Self { cause, ..Self::new(FailureClass::Blocked, refused.to_string()) }
    }
}

impl EgressPolicy {
    /// Checks a port.
    ///
    /// # Errors
    /// [`Refused::Port`] for port 0 and every refused port.
    pub fn check_port(&self, port: u16) -> Result<(), Refused> {
        if port == 0 || self.refuse.0.contains(&port) { Err(Refused::Port(port)) } else { Ok(()) }
    }

    /// Checks an address. `is_own` returns whether an interface of this machine has an address.
    ///
    /// # Errors
    /// [`Refused::Address`] and [`Refused::Own`] for an address that is not public or is one's own, and not allowed.
    pub fn check(&self, address: IpAddr, is_own: impl Fn(IpAddr) -> bool) -> Result<(), Refused> {
        // An address that holds an IPv4 address is checked as that one.
        let reached = match address {
            IpAddr::V6(v6) => embedded(v6).map_or(address, IpAddr::V4),
            IpAddr::V4(_) => address,
        };
        if self.allow.iter().any(|net| net.contains(&address) || net.contains(&reached)) {
            return Ok(());
        }
        let why = match reached {
            IpAddr::V4(v4) => special_v4(v4),
            IpAddr::V6(v6) => special_v6(v6),
        };
        match why {
            Some(why) => Err(Refused::Address { address, why }),
            None if is_own(address) || is_own(reached) => Err(Refused::Own(address)),
            None => Ok(()),
        }
    }
}

/// The IPv4 address that packets to an IPv6 address may reach; `None` if the address holds none.
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

/// Why an IPv4 address is not public; `None` if it is.
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

/// Why an IPv6 address that holds no IPv4 address is not public; `None` if it is.
///
/// Only `2000::/3` is assigned as global unicast (<https://www.iana.org/assignments/ipv6-address-space>). Everything
/// else is refused.
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

    /// Ports that a browser does not connect to, with their services.
    ///
    /// They are those of <https://fetch.spec.whatwg.org/#port-blocking> without port 0, which is refused in any case.
    const BAD_PORTS: [(u16, &str); 82] = [
        (1, "tcpmux"),
        (7, "echo"),
        (9, "discard"),
        (11, "systat"),
        (13, "daytime"),
        (15, "netstat"),
        (17, "qotd"),
        (19, "chargen"),
        (20, "ftp-data"),
        (21, "ftp"),
        (22, "ssh"),
        (23, "telnet"),
        (25, "smtp"),
        (37, "time"),
        (42, "name"),
        (43, "nicname"),
        (53, "domain"),
        (69, "tftp"),
        (77, "rje"),
        (79, "finger"),
        (87, "link"),
        (95, "supdup"),
        (101, "hostname"),
        (102, "iso-tsap"),
        (103, "gppitnp"),
        (104, "acr-nema"),
        (109, "pop2"),
        (110, "pop3"),
        (111, "sunrpc"),
        (113, "auth"),
        (115, "sftp"),
        (117, "uucp-path"),
        (119, "nntp"),
        (123, "ntp"),
        (135, "epmap"),
        (137, "netbios-ns"),
        (139, "netbios-ssn"),
        (143, "imap"),
        (161, "snmp"),
        (179, "bgp"),
        (389, "ldap"),
        (427, "svrloc"),
        (465, "submissions"),
        (512, "exec"),
        (513, "login"),
        (514, "shell"),
        (515, "printer"),
        (526, "tempo"),
        (530, "courier"),
        (531, "chat"),
        (532, "netnews"),
        (540, "uucp"),
        (548, "afp"),
        (554, "rtsp"),
        (556, "remotefs"),
        (563, "nntps"),
        (587, "submission"),
        (601, "syslog-conn"),
        (636, "ldaps"),
        (989, "ftps-data"),
        (990, "ftps"),
        (993, "imaps"),
        (995, "pop3s"),
        (1719, "h323gatestat"),
        (1720, "h323hostcall"),
        (1723, "pptp"),
        (2049, "nfs"),
        (3659, "apple-sasl"),
        (4045, "npp"),
        (4190, "sieve"),
        (5060, "sip"),
        (5061, "sips"),
        (6000, "x11"),
        (6566, "sane-port"),
        (6665, "ircu"),
        (6666, "ircu"),
        (6667, "ircu"),
        (6668, "ircu"),
        (6669, "ircu"),
        (6679, "osaut"),
        (6697, "ircs-u"),
        (10_080, "amanda"),
    ];

    fn check(policy: &EgressPolicy, address: &str) -> Result<(), String> {
        policy.check(address.parse().unwrap(), |_| false).map_err(|refused| refused.to_string())
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
            assert_eq!(check(&EgressPolicy::default(), address), Ok(()), "{address}");
        }
    }

    #[test]
    fn special_addresses_are_refused() {
        for (why, addresses) in [
            ("this network", &["0.0.0.0", "0.255.255.255", "::2", "::ffff:0.0.0.0"][..]),
            ("private", &["10.0.0.0", "172.16.0.0", "172.31.255.255", "192.168.0.1", "fc00::", "fdff::1"]),
            ("shared by a carrier", &["100.64.0.0", "100.127.255.255"]),
            ("loopback", &["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "::127.0.0.1"]),
            ("loopback", &["64:ff9b::127.0.0.1", "2002:7f00:1::"]),
            ("link-local", &["169.254.169.254", "fe80::1", "febf::1", "::ffff:169.254.169.254"]),
            ("protocol assignment", &["192.0.0.1", "2001:1::1", "2001:20::1", "2001:1ff:ffff::1"]),
            ("documentation", &["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::5", "3fff:fff::1"]),
            ("documentation", &["::ffff:192.0.2.1", "64:ff9b::198.51.100.1", "2002:cb00:7101::"]),
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
                assert_eq!(check(&EgressPolicy::default(), &address.to_string()), Err(message));
            }
        }
    }

    #[test]
    fn only_allowed_networks_pass_and_not_their_neighbours() {
        let policy = EgressPolicy {
            allow: ["10.1.0.0/16", "fd00::/64"].map(|net| net.parse().unwrap()).into(),
            ..EgressPolicy::default()
        };
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::5", "1.1.1.1"] {
            assert_eq!(check(&policy, address), Ok(()), "{address}");
        }
        for address in ["10.2.0.0", "::ffff:10.2.0.0", "fd00:0:0:1::5", "127.0.0.1"] {
            assert!(check(&policy, address).is_err(), "{address}");
        }
    }

    #[test]
    fn own_public_addresses_are_refused_unless_allowed() {
        let own = ["1.1.1.1", "2a00:1450::1", "2002:505:505::1", "127.0.0.1"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let policy = |allow: &[&str]| EgressPolicy {
            allow: allow.iter().map(|net| net.parse().unwrap()).collect(),
            ..EgressPolicy::default()
        };
        let check = |allow: &[&str], address: &str| {
            policy(allow).check(address.parse().unwrap(), |ip| own.contains(&ip)).map_err(|refused| refused.to_string())
        };
        for address in
            ["1.1.1.1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::9", "2a00:1450::1", "2002:505:505::1"]
        {
            let address = address.parse::<IpAddr>().unwrap().to_string();
            let message = format!("{address} is an address of this machine; --allow-net would allow it");
            assert_eq!(check(&[], &address), Err(message));
            assert_eq!(check(&["1.1.1.0/24", "2a00:1450::/32", "2002:505::/32"], &address), Ok(()), "{address}");
        }
        assert_eq!(check(&[], "127.0.0.1"), Err("127.0.0.1 is not a public address (loopback)".to_owned()));
        for address in ["1.1.1.2", "2a00:1450::2", "::ffff:1.1.1.2"] {
            assert_eq!(check(&[], address), Ok(()), "{address}");
        }
    }

    #[test]
    fn ports_of_other_services_are_refused() {
        let policy = EgressPolicy::default();
        for port in [0, 22, 25, 587, 6667, 10_080] {
            let message = format!("port {port} is refused: it belongs to another service than a web server");
            assert_eq!(policy.check_port(port).map_err(|refused| refused.to_string()), Err(message));
        }
        for port in [80, 443, 8080, 8443, 65_535] {
            assert_eq!(policy.check_port(port), Ok(()));
        }
        let own = EgressPolicy { refuse: RefusedPorts(vec![8080]), ..EgressPolicy::default() };
        assert!(own.check_port(8080).is_err() && own.check_port(0).is_err() && own.check_port(25).is_ok());
    }

    #[test]
    fn default_ports_are_those_of_the_fetch_standard() {
        let refused: Vec<u16> =
            (1..=u16::MAX).filter(|port| EgressPolicy::default().check_port(*port).is_err()).collect();
        assert_eq!(refused, BAD_PORTS.map(|(port, _)| port));
    }

    #[test]
    fn everything_allowed_is_everything() {
        let policy = EgressPolicy {
            allow: ["0.0.0.0/0", "::/0"].map(|net| net.parse().unwrap()).into(),
            ..EgressPolicy::default()
        };
        for address in ["127.0.0.1", "::1", "::", "fe80::1"] {
            assert_eq!(check(&policy, address), Ok(()));
        }
    }
}

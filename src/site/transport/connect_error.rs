//! Whose fault it is that an address cannot be connected to: this machine's, or the site's.

use std::io;
use std::net::IpAddr;

use rustix::io::Errno;

use crate::model::{Failure, Fault};
use crate::site::failure::{Phase, from_io};

/// An error of connecting.
#[derive(Debug)]
pub(super) struct ConnectError {
    pub(super) error: io::Error,
    /// Whether the system returned it at once. One that comes later was received as a packet.
    pub(super) at_once: bool,
}

impl From<io::Error> for ConnectError {
    /// An error that the system returned at once.
    fn from(error: io::Error) -> Self {
        Self { error, at_once: true }
    }
}

impl ConnectError {
    /// The failure of connecting to this address. `has_route` returns whether this machine has a route to it.
    pub(super) fn failure(&self, address: IpAddr, has_route: impl Fn() -> bool) -> Failure {
        let no_route = || {
            let version = if address.is_ipv6() { "IPv6" } else { "IPv4" };
            Failure::local(Fault::NoRoute, format!("this machine has no {version} route to {address}"))
        };
        match Errno::from_io_error(&self.error) {
            Some(Errno::ACCESS | Errno::PERM) if self.at_once => {
                let message = format!("a firewall or a permission of this machine forbids it to connect to {address}");
                Failure::local(Fault::Firewall, message)
            }
            Some(Errno::NETUNREACH | Errno::NETDOWN | Errno::INVAL | Errno::AFNOSUPPORT) if self.at_once => no_route(),
            // It also means that this machine has no address from which it could connect.
            Some(Errno::ADDRNOTAVAIL) if !has_route() => no_route(),
            Some(Errno::ADDRNOTAVAIL) => {
                let message =
                    "no local port is free: see connections in TIME-WAIT (ss -s) and net.ipv4.ip_local_port_range";
                Failure::local(Fault::NoPort, message)
            }
            _ => from_io(&self.error, Phase::Connecting),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, FailureClass};

    const V4: &str = "1.1.1.1";

    fn failure(errno: Errno, at_once: bool, address: &str, has_route: bool) -> Failure {
        ConnectError { error: errno.into(), at_once }.failure(address.parse().unwrap(), || has_route)
    }

    #[test]
    fn what_this_machine_could_not_do_is_local() {
        for (errno, has_route, fault) in [
            (Errno::ACCESS, true, Fault::Firewall),
            (Errno::PERM, false, Fault::Firewall),
            (Errno::NOBUFS, true, Fault::Memory),
            (Errno::MFILE, true, Fault::OpenFiles),
            (Errno::ADDRNOTAVAIL, true, Fault::NoPort),
            (Errno::ADDRNOTAVAIL, false, Fault::NoRoute),
            (Errno::NETUNREACH, false, Fault::NoRoute),
            (Errno::NETDOWN, false, Fault::NoRoute),
            (Errno::INVAL, false, Fault::NoRoute),
            (Errno::AFNOSUPPORT, false, Fault::NoRoute),
        ] {
            let failure = failure(errno, true, V4, has_route);
            assert_eq!((failure.class, failure.cause), (FailureClass::Local, Cause::Local(fault)), "{errno}");
        }
        let message = failure(Errno::NETUNREACH, true, "2a00::1", false).message;
        assert_eq!(message, "this machine has no IPv6 route to 2a00::1");
    }

    #[test]
    fn what_a_site_or_a_router_reports_is_a_failure_to_connect() {
        for errno in [
            Errno::CONNREFUSED,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
            // A firewall of the site that refuses IPv6.
            Errno::ACCESS,
            Errno::INVAL,
        ] {
            assert_eq!(failure(errno, false, V4, true).class, FailureClass::Connect, "{errno}");
        }
        // Loopback refuses at once. A network that is down often has no host, and many sites at once show that it is down.
        for errno in [Errno::CONNREFUSED, Errno::HOSTUNREACH] {
            assert_eq!(failure(errno, true, V4, false).class, FailureClass::Connect, "{errno}");
        }
        assert_eq!(failure(Errno::TIMEDOUT, false, V4, true).to_string(), "timeout: timed out while connecting");
    }
}

//! Whose fault it is that an address cannot be connected to: this machine's, or the site's.

use std::io;
use std::net::IpAddr;

use rustix::io::Errno;

use crate::model::{Failure, Fault};
use crate::site::failure::{Phase, from_io};

/// The failure of an error of connecting to an address.
///
/// `route` asks this machine for its route to the address, and sends nothing. A router may also report that there is no
/// route; that is a failure of the site's network.
pub(super) fn failure_of(error: &io::Error, address: IpAddr, route: impl Fn() -> io::Result<()>) -> Failure {
    let errno = Errno::from_io_error(error);
    let no_route = || route().is_err_and(|found| Errno::from_io_error(&found) == errno);
    match errno {
        Some(Errno::ACCESS | Errno::PERM) => {
            let message = format!("a firewall or a permission of this machine forbids it to connect to {address}");
            Failure::local(Fault::Firewall, message)
        }
        Some(Errno::NETUNREACH | Errno::NETDOWN | Errno::INVAL | Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
            if no_route() =>
        {
            let version = if address.is_ipv6() { "IPv6" } else { "IPv4" };
            let message = format!("this machine has no route to {address}: its {version} network is missing or down");
            Failure::local(Fault::NoRoute, message)
        }
        Some(Errno::ADDRNOTAVAIL) => {
            let message =
                "no local port is free: see connections in TIME-WAIT (ss -s) and net.ipv4.ip_local_port_range";
            Failure::local(Fault::NoPort, message)
        }
        _ => from_io(error, Phase::Connecting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, FailureClass};

    const V4: &str = "1.1.1.1";

    /// The failure of an error of connecting, if a lookup of the route has this result.
    fn failure(errno: Errno, address: &str, route: Result<(), Errno>) -> Failure {
        failure_of(&errno.into(), address.parse().unwrap(), || route.map_err(io::Error::from))
    }

    #[test]
    fn what_this_machine_could_not_do_is_local() {
        for (errno, route, fault) in [
            (Errno::ACCESS, Ok(()), Fault::Firewall),
            (Errno::PERM, Err(Errno::PERM), Fault::Firewall),
            (Errno::NOBUFS, Ok(()), Fault::Memory),
            (Errno::ADDRNOTAVAIL, Ok(()), Fault::NoPort),
            (Errno::ADDRNOTAVAIL, Err(Errno::AGAIN), Fault::NoPort),
            (Errno::ADDRNOTAVAIL, Err(Errno::MFILE), Fault::NoPort),
            (Errno::ADDRNOTAVAIL, Err(Errno::ADDRNOTAVAIL), Fault::NoRoute),
            (Errno::NETUNREACH, Err(Errno::NETUNREACH), Fault::NoRoute),
            (Errno::NETDOWN, Err(Errno::NETDOWN), Fault::NoRoute),
            (Errno::INVAL, Err(Errno::INVAL), Fault::NoRoute),
            (Errno::AFNOSUPPORT, Err(Errno::AFNOSUPPORT), Fault::NoRoute),
        ] {
            let failure = failure(errno, V4, route);
            assert_eq!((failure.class, failure.cause), (FailureClass::Local, Cause::Local(fault)), "{errno} {route:?}");
        }
        assert!(failure(Errno::NETUNREACH, "2a00::1", Err(Errno::NETUNREACH)).message.contains("IPv6"));
    }

    #[test]
    fn what_a_site_or_a_router_reports_is_a_failure_to_connect() {
        for (errno, route) in [
            (Errno::CONNREFUSED, Ok(())),
            (Errno::CONNRESET, Ok(())),
            (Errno::HOSTUNREACH, Ok(())),
            // A network that is down often looks so, and many sites at once show that it is.
            (Errno::HOSTUNREACH, Err(Errno::HOSTUNREACH)),
            (Errno::NETUNREACH, Ok(())),
            (Errno::NETUNREACH, Err(Errno::MFILE)),
            (Errno::INVAL, Ok(())),
        ] {
            assert_eq!(failure(errno, V4, route).class, FailureClass::Connect, "{errno} {route:?}");
        }
        assert_eq!(failure(Errno::TIMEDOUT, V4, Ok(())).to_string(), "timeout: timed out while connecting");
    }
}

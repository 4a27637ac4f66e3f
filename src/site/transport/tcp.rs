//! The step of a connection that opens a TCP connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use ureq::Error;
use ureq::unversioned::transport::ConnectionDetails;

use super::connect_error::ConnectError;
use super::step::{in_phase, limited};
use super::stream::{self, Stream};
use super::trace;
use crate::model::{Cause, Failure, Fault};
use crate::site::failure::Phase;

/// The least time that each address gets.
const MIN_BUDGET: Duration = Duration::from_millis(10);

/// Opens TCP connections within a limit.
#[derive(Debug)]
pub(super) struct Tcp {
    limit: Duration,
}

impl Tcp {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit }
    }

    /// Opens a connection to one of the addresses of a host.
    ///
    /// # Errors
    /// The most telling failure of all addresses.
    pub(super) fn connect(&self, details: &ConnectionDetails) -> Result<Stream, Error> {
        let limit = limited(details, self.limit).after;
        let opened = open(&details.addrs, *limit, stream::connect);
        let address = opened.as_ref().map_or_else(|_| details.addrs.first().map(SocketAddr::ip), |(at, _)| Some(*at));
        trace::update(|trace| {
            if trace.address.is_none() {
                (trace.address, trace.connected) = (address, opened.is_ok());
            }
        });
        let (_, socket) = opened.map_err(|failure| Error::Other(failure.into()))?;
        Stream::new(socket).map_err(in_phase(Phase::Connecting))
    }
}

/// Connects to the first address that accepts, within a limit; returns it with the connection.
///
/// # Errors
/// The most telling failure of all addresses.
fn open<T>(
    addresses: &[SocketAddr],
    limit: Duration,
    mut connect: impl FnMut(SocketAddr, Duration) -> Result<T, ConnectError>,
) -> Result<(IpAddr, T), Failure> {
    let began = Instant::now();
    let mut telling: Option<(u8, Failure)> = None;
    for (tried, &address) in addresses.iter().enumerate() {
        let left = limit.saturating_sub(began.elapsed());
        if tried > 0 && left.is_zero() {
            break;
        }
        match connect(address, budget(left, addresses.len() - tried)) {
            Ok(connection) => return Ok((address.ip(), connection)),
            Err(error) => {
                let failure = error.failure(address.ip(), || has_route(address));
                let weight = weight(&failure, error.error.kind());
                if telling.as_ref().is_none_or(|(most, _)| weight > *most) {
                    telling = Some((weight, failure));
                }
            }
        }
    }
    Err(telling.map_or_else(|| Phase::Connecting.timed_out(), |(_, failure)| failure))
}

/// How long the next address may take: about half of the time that is left, all of it for the last.
fn budget(left: Duration, addresses: usize) -> Duration {
    let parts = 2_u32.saturating_pow(u32::try_from(addresses).unwrap_or(u32::MAX));
    (left / (parts - 1) * (parts / 2)).max(MIN_BUDGET)
}

/// How much a failure shows about the site. What this machine could not do shows nothing about it.
fn weight(failure: &Failure, kind: io::ErrorKind) -> u8 {
    match (&failure.cause, kind) {
        (Cause::Local(Fault::NoRoute), _) => 0,
        (Cause::Local(_), _) => 1,
        (_, io::ErrorKind::TimedOut) => 2,
        // Only the site itself refuses.
        (_, io::ErrorKind::ConnectionRefused) => 4,
        _ => 3,
    }
}

/// Whether this machine has a route to an address.
///
/// Connecting a datagram socket looks the route up, and sends nothing.
fn has_route(address: SocketAddr) -> bool {
    let connect = || Socket::new(Domain::for_address(address), Type::DGRAM, None)?.connect(&address.into());
    // Any other error, such as no free port, comes after the route was found.
    connect().err().and_then(|error| Errno::from_io_error(&error)) != Some(Errno::ADDRNOTAVAIL)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Connects to one address per result, and returns what `open` does and how many were tried.
    fn scripted(results: &[Result<(), Errno>]) -> (Result<IpAddr, String>, usize) {
        let address = |last| SocketAddr::from(([127, 0, 0, last], 9));
        let addresses: Vec<_> = (1..).zip(results).map(|(last, _)| address(last)).collect();
        let mut tried = 0;
        let opened = open(&addresses, SECOND, |address, limit| {
            assert_eq!(address, addresses[tried]);
            assert!(limit <= SECOND);
            tried += 1;
            results[tried - 1].map_err(|errno| io::Error::from(errno).into())
        });
        (opened.map(|(address, ())| address).map_err(|failure| failure.to_string()), tried)
    }

    #[test]
    fn any_error_moves_on_to_the_next_address() {
        for errno in [
            Errno::CONNREFUSED,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
            Errno::ACCESS,
            Errno::PERM,
            Errno::ADDRNOTAVAIL,
            Errno::AFNOSUPPORT,
            Errno::INVAL,
            Errno::CONNRESET,
            Errno::MFILE,
            Errno::TIMEDOUT,
        ] {
            assert_eq!(scripted(&[Err(errno), Ok(()), Ok(())]), (Ok([127, 0, 0, 2].into()), 2), "{errno}");
        }
    }

    #[test]
    fn the_most_telling_error_is_reported() {
        let refused = "connect: Connection refused";
        let timed_out = "timeout: timed out while connecting";
        for (errors, expected) in [
            (&[Errno::CONNREFUSED, Errno::TIMEDOUT][..], refused),
            (&[Errno::TIMEDOUT, Errno::HOSTUNREACH, Errno::CONNREFUSED], refused),
            (&[Errno::MFILE, Errno::CONNREFUSED, Errno::ACCESS], refused),
            (&[Errno::ACCESS, Errno::TIMEDOUT], timed_out),
            (&[Errno::TIMEDOUT, Errno::HOSTUNREACH], "connect: No route to host"),
        ] {
            let results: Vec<_> = errors.iter().map(|errno| Err(*errno)).collect();
            assert_eq!(scripted(&results), (Err(expected.to_owned()), errors.len()), "{errors:?}");
        }
        let local = scripted(&[Err(Errno::MFILE), Err(Errno::ACCESS)]).0.unwrap_err();
        assert!(local.starts_with("local: too many open files"), "{local}");
    }

    #[test]
    fn each_address_gets_half_of_the_time_and_the_last_all_of_it() {
        let seconds = |left: u64, addresses| budget(Duration::from_secs(left), addresses).as_secs();
        assert_eq!((seconds(10, 1), seconds(15, 4), seconds(7, 3), seconds(3, 2)), (10, 8, 4, 2));
        assert_eq!(seconds(10, 16), 5);
        assert_eq!(budget(Duration::ZERO, 2), MIN_BUDGET);
    }

    #[test]
    fn loopback_has_a_route() {
        assert!(has_route(([127, 0, 0, 1], 9).into()));
    }
}

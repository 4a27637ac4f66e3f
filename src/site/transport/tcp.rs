//! The step of a connection that opens a TCP connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use ureq::Error;
use ureq::unversioned::transport::ConnectionDetails;

use super::connect_error::ConnectError;
use super::happy_eyeballs::{self, Attempt, Sockets};
use super::step::{in_phase, limited};
use super::stream::Stream;
use super::trace;
use crate::site::addresses::Addresses;
use crate::site::failure::Phase;

/// Opens TCP connections within a limit.
#[derive(Debug)]
pub(super) struct Tcp {
    addresses: Arc<Addresses>,
    limit: Duration,
}

impl Tcp {
    pub(super) fn new(addresses: Arc<Addresses>, limit: Duration) -> Self {
        Self { addresses, limit }
    }

    /// Opens a connection to one of the addresses of a host.
    ///
    /// # Errors
    /// The most telling failure of all addresses.
    pub(super) fn connect(&self, details: &ConnectionDetails) -> Result<Stream, Error> {
        let limit = limited(details, self.limit).after;
        let opened = happy_eyeballs::connect(&mut TcpSockets { began: Instant::now() }, &details.addrs, *limit);
        let address = opened.as_ref().map_or_else(|_| details.addrs.first().map(SocketAddr::ip), |(at, _)| Some(*at));
        trace::update(|trace| {
            if trace.address.is_none() {
                (trace.address, trace.connected) = (address, opened.is_ok());
            }
        });
        let (connected, socket) = opened.map_err(|failure| Error::Other(failure.into()))?;
        let slower = || details.addrs.iter().map(SocketAddr::ip).take_while(|address| *address != connected);
        if slower().next().is_some() {
            self.addresses.prefer(connected, slower());
        }
        Stream::new(socket.into()).map_err(in_phase(Phase::Connecting))
    }
}

/// Sockets of TCP that do not block.
struct TcpSockets {
    began: Instant,
}

impl Sockets for TcpSockets {
    type Socket = Socket;

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn begin(&mut self, address: SocketAddr) -> Result<(Socket, bool), ConnectError> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
        match socket.connect(&address.into()) {
            Ok(()) => Ok((socket, true)),
            Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => Ok((socket, false)),
            Err(error) => Err(error.into()),
        }
    }

    fn wait(&mut self, attempts: &[Attempt<Socket>], limit: Duration) -> io::Result<Vec<bool>> {
        let mut sockets: Vec<_> = attempts.iter().map(|attempt| PollFd::new(&attempt.socket, PollFlags::OUT)).collect();
        // The caller waits again after a signal.
        match poll(&mut sockets, Timespec::try_from(limit).ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(sockets.iter().map(|socket| !socket.revents().is_empty()).collect()),
            Err(error) => Err(error.into()),
        }
    }

    /// A connection that was made and has been reset counts as made.
    ///
    /// A reply may have arrived before the reset.
    fn end(&mut self, socket: &Socket) -> Result<(), ConnectError> {
        // A host that does not accept the connection refuses it. Only an open connection is reset.
        match socket.take_error()?.filter(|error| error.kind() != io::ErrorKind::ConnectionReset) {
            Some(error) => Err(ConnectError { error, at_once: false }),
            None => Ok(()),
        }
    }

    /// Connecting a datagram socket looks the route up, and sends nothing.
    fn has_route(&self, address: SocketAddr) -> bool {
        let connect = || Socket::new(Domain::for_address(address), Type::DGRAM, None)?.connect(&address.into());
        // Any other error, such as no free port, comes after the route was found.
        connect().err().and_then(|error| Errno::from_io_error(&error)) != Some(Errno::ADDRNOTAVAIL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_a_route() {
        assert!(TcpSockets { began: Instant::now() }.has_route(([127, 0, 0, 1], 9).into()));
    }
}

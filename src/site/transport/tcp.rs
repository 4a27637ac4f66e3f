//! The step of a connection that opens a TCP connection.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ureq::unversioned::transport::{ConnectionDetails, Connector, Transport};
use ureq::{Error, Timeout};

use super::step::{in_phase, with_limit};
use super::stream::Stream;
use super::trace;
use crate::site::failure::Phase;

/// Opens TCP connections within a limit.
#[derive(Debug)]
pub(super) struct Tcp {
    limit: Duration,
}

impl Tcp {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<In: Transport> Connector<In> for Tcp {
    type Out = Stream;

    fn connect(&self, details: &ConnectionDetails, _chained: Option<In>) -> Result<Option<Stream>, Error> {
        let address = details.addrs.first().map(SocketAddr::ip);
        trace::update(|trace| trace.address = trace.address.or(address));
        let details = with_limit(details, self.limit, details.config);
        let stream = open(&details.addrs, *details.timeout.after).and_then(|socket| Stream::new(socket, &details));
        stream.map(Some).map_err(in_phase(Phase::Connecting))
    }
}

/// Connects to the first of the addresses that accepts. Each but the last gets half of the time that is left.
fn open(addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, Error> {
    let started = Instant::now();
    let mut last = Error::Io(io::ErrorKind::ConnectionRefused.into());
    for (index, address) in addresses.iter().enumerate() {
        let left = limit.saturating_sub(started.elapsed());
        let limit = if index + 1 < addresses.len() { left / 2 } else { left };
        match TcpStream::connect_timeout(address, limit.max(Duration::from_millis(1))) {
            Ok(socket) => return Ok(socket),
            Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
                last = Error::Timeout(Timeout::Connect);
            }
            Err(error) => last = Error::Io(error),
        }
    }
    Err(last)
}

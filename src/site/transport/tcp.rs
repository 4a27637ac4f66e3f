//! The step of a connection that opens a TCP connection.

use std::net::SocketAddr;
use std::time::Duration;

use ureq::Error;
use ureq::unversioned::transport::{ConnectionDetails, Connector, TcpConnector, Transport};

use super::step::{in_phase, with_limit};
use super::trace;
use crate::site::failure::Phase;

/// Opens TCP connections within a limit.
#[derive(Debug)]
pub(super) struct Tcp {
    connector: TcpConnector,
    limit: Duration,
}

impl Tcp {
    pub(super) fn new(limit: Duration) -> Self {
        Self { connector: TcpConnector::default(), limit }
    }
}

impl<In: Transport> Connector<In> for Tcp {
    type Out = <TcpConnector as Connector<In>>::Out;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let address = details.addrs.first().map(SocketAddr::ip);
        trace::update(|trace| trace.address = trace.address.or(address));
        let details = with_limit(details, self.limit, details.config);
        self.connector.connect(&details, chained).map_err(in_phase(Phase::Connecting))
    }
}

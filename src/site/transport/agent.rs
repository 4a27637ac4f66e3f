//! Puts the steps of a connection together.

use std::sync::Arc;

use ureq::config::Config;
use ureq::unversioned::transport::{ConnectionDetails, Connector};
use ureq::{Agent, Error};

use super::idle::{Connection, Origin, SpareConnections};
use super::policy_resolver::PolicyResolver;
use super::reader::Reader;
use super::tcp::Tcp;
use super::tls::{Tls, Trust};
use super::trace;
use crate::site::addresses::Addresses;
use crate::site::options::Timeouts;

/// Makes an agent that connects only to these addresses, and through no proxy.
///
/// Its errors name their phase. Making it is cheap: certificates are read when the first https site is called.
pub(in crate::site) fn agent(
    config: Config,
    addresses: Arc<Addresses>,
    timeouts: Timeouts,
    trust: Trust,
    spare: Arc<SpareConnections>,
) -> Agent {
    let tcp = Tcp::new(Arc::clone(&addresses), timeouts.connect);
    let connect = Connect { spare, tcp, tls: Tls::new(timeouts.tls, trust) };
    Agent::with_parts(config, connect, PolicyResolver(addresses))
}

/// Finds connections that can be used again, or makes them: over TCP, for https with TLS.
///
/// Each gets a reader that makes replies strict HTTP.
#[derive(Debug)]
struct Connect {
    spare: Arc<SpareConnections>,
    tcp: Tcp,
    tls: Tls,
}

impl Connector for Connect {
    type Out = Reader;

    fn connect(&self, details: &ConnectionDetails, _chained: Option<()>) -> Result<Option<Self::Out>, Error> {
        let origin = Origin::of(details.uri);
        if let Some(connection) = self.spare.take(&origin, &details.addrs) {
            trace::update(|trace| {
                if trace.address.is_none() {
                    (trace.address, trace.connected) = (connection.address, true);
                }
            });
            return Ok(Some(Reader::new(connection)));
        }
        let mut stream = self.tcp.connect(details)?;
        let address = stream.address();
        if details.needs_tls() {
            self.tls.secure(details, &mut stream)?;
        }
        Ok(Some(Reader::new(Connection { stream, origin, address, is_used: false })))
    }
}

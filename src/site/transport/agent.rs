//! Puts the steps of a connection together.

use std::sync::Arc;

use ureq::config::Config;
use ureq::unversioned::transport::{ConnectionDetails, Connector, Transport};
use ureq::{Agent, Error};

use super::idle::{Connection, Origin, SpareConnections};
use super::policy_resolver::PolicyResolver;
use super::reader::Reader;
use super::tcp::Tcp;
use super::tls::{Tls, Trust};
use super::trace;
use crate::site::egress::EgressPolicy;
use crate::site::options::Timeouts;
use crate::site::own_addresses::OwnAddresses;
use crate::site::resolver::Resolver;

/// Makes an agent that connects only to what `policy` allows, and through no proxy.
///
/// Its errors name their phase. Making it is cheap: certificates are read when the first https site is called.
pub(in crate::site) fn agent(
    config: Config,
    names: Resolver,
    policy: EgressPolicy,
    timeouts: Timeouts,
    trust: Trust,
    spare: Arc<SpareConnections>,
) -> Agent {
    let connect = Connect { spare, tcp: Tcp::new(timeouts.connect), tls: Tls::new(timeouts.tls, trust) };
    Agent::with_parts(config, connect, PolicyResolver { names, policy, own: OwnAddresses::default() })
}

/// Finds connections that can be used again, or makes them: over TCP, then over TLS for https.
///
/// Each has a reader that makes any reply strict HTTP.
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
        let stream = self.tcp.connect(details)?;
        let address = stream.address();
        let transport = self.tls.connect(details, Some(stream))?;
        let connection = |transport| Connection { transport, origin, address, is_used: false };
        Ok(transport.map(|transport| Reader::new(connection(transport.boxed()))))
    }
}

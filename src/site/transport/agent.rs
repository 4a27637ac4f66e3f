//! Puts the steps of a connection together.

use std::sync::Arc;

use ureq::config::Config;
use ureq::unversioned::transport::{ConnectionDetails, Connector};
use ureq::{Agent, Error};

use super::policy_resolver::PolicyResolver;
use super::reader::Reader;
use super::stream::Stream;
use super::tcp::Tcp;
use super::tls::{Tls, Trust};
use crate::site::addresses::Addresses;
use crate::site::options::Timeouts;

/// Makes an agent that connects only to these addresses, and through no proxy.
///
/// Its errors name their phase. Making it is cheap: certificates are read when the first https site is called.
pub(in crate::site) fn agent(config: Config, addresses: Arc<Addresses>, timeouts: Timeouts, trust: Trust) -> Agent {
    let connect =
        Connect { tcp: Tcp::new(Arc::clone(&addresses), timeouts.connect), tls: Tls::new(timeouts.tls, trust) };
    Agent::with_parts(config, connect, PolicyResolver(addresses))
}

/// Makes connections: over TCP, for https with TLS, and with a reader that makes replies strict HTTP.
#[derive(Debug)]
struct Connect {
    tcp: Tcp,
    tls: Tls,
}

impl Connector for Connect {
    type Out = Reader<Stream>;

    fn connect(&self, details: &ConnectionDetails, _chained: Option<()>) -> Result<Option<Self::Out>, Error> {
        let mut stream = self.tcp.connect(details)?;
        if details.needs_tls() {
            self.tls.secure(details, &mut stream)?;
        }
        Ok(Some(Reader::new(stream)))
    }
}

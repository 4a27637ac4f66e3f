//! Resolves names to addresses that the egress policy allows.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::http::uri::Scheme;
use ureq::unversioned::resolver::{ArrayVec, Resolver as UreqResolver};
use ureq::unversioned::transport::NextTimeout;

use crate::model::Failure;
use crate::site::egress::{EgressPolicy, Refused};
use crate::site::endpoint::bare_host;
use crate::site::own_addresses::OwnAddresses;
use crate::site::resolver::Resolver;

/// How many addresses of a host are tried; the limit of ureq.
const MAX_ADDRESSES: usize = 16;

/// A resolver that returns only addresses that the policy allows.
///
/// Every connection asks it, so neither a redirect nor a name that changes its address evades the policy.
#[derive(Debug)]
pub(super) struct PolicyResolver {
    pub(super) names: Resolver,
    pub(super) policy: EgressPolicy,
    pub(super) own: OwnAddresses,
}

impl UreqResolver for PolicyResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ArrayVec<SocketAddr, MAX_ADDRESSES>, Error> {
        let blocked = |refused: Refused| Error::Other(Failure::from(refused).into());
        let port = uri.port_u16().unwrap_or(if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 });
        self.policy.check_port(port).map_err(blocked)?;
        let host = bare_host(uri);
        let addresses: Arc<[IpAddr]> = match host.parse() {
            Ok(address) => [address].into(),
            Err(_) => self.names.resolve(host, *timeout.after).map_err(|failure| Error::Other(failure.into()))?,
        };

        let mut allowed = self.empty();
        let mut refused = None;
        for &address in addresses.iter() {
            match self.policy.check(address, |address| self.own.contains(address)) {
                Ok(()) if allowed.len() < MAX_ADDRESSES => allowed.push((address, port).into()),
                Ok(()) => break,
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        match refused {
            Some(refused) if allowed.is_empty() => Err(blocked(refused)),
            _ => Ok(allowed),
        }
    }
}

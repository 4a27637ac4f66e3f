//! Resolves names for ureq.

use std::net::SocketAddr;
use std::sync::Arc;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::http::uri::Scheme;
use ureq::unversioned::resolver::{ArrayVec, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::site::addresses::Addresses;
use crate::site::endpoint::bare_host;

/// How many addresses of a host are tried; the limit of ureq.
const MAX_ADDRESSES: usize = 16;

/// A resolver that returns only addresses that the policy allows.
///
/// Every connection asks it, so neither a redirect nor a name that changes its address evades the policy.
#[derive(Debug)]
pub(super) struct PolicyResolver(pub(super) Arc<Addresses>);

impl Resolver for PolicyResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ArrayVec<SocketAddr, MAX_ADDRESSES>, Error> {
        let port = uri.port_u16().unwrap_or(if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 });
        let found = self.0.resolve(bare_host(uri), port, *timeout.after);
        let mut addresses = self.empty();
        let found = found.map_err(|failure| Error::Other(failure.into()))?;
        found.into_iter().take(MAX_ADDRESSES).for_each(|address| addresses.push((address, port).into()));
        Ok(addresses)
    }
}

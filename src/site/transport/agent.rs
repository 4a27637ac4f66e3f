//! Puts the steps of a connection together.

use ureq::Agent;
use ureq::config::Config;
use ureq::unversioned::transport::Connector;

use super::policy_resolver::PolicyResolver;
use super::reader::Reading;
use super::tcp::Tcp;
use super::tls::{Tls, Trust};
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
) -> Agent {
    let connector = ().chain(Tcp::new(timeouts.connect)).chain(Tls::new(timeouts.tls, trust)).chain(Reading);
    Agent::with_parts(config, connector, PolicyResolver { names, policy, own: OwnAddresses::default() })
}

//! The addresses of a host that may be connected to, in the order in which they are tried.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::egress::{EgressPolicy, Refused};
use super::own_addresses::OwnAddresses;
use super::resolver::Resolver;
use crate::model::Failure;

/// Resolves hosts to addresses that the egress policy allows, in the order in which they are tried.
#[derive(Debug)]
pub(super) struct Addresses {
    names: Resolver,
    policy: EgressPolicy,
    own: OwnAddresses,
    later: RwLock<Later>,
}

/// Addresses that are tried after others, if a host has others.
#[derive(Debug, Default)]
struct Later {
    /// They did not connect before another address of their host did, when they were last tried.
    slower: HashSet<IpAddr>,
    /// These come after all others.
    down: HashSet<IpAddr>,
}

impl Addresses {
    pub(super) fn new(names: Resolver, policy: EgressPolicy) -> Self {
        Self { names, policy, own: OwnAddresses::default(), later: RwLock::default() }
    }

    pub(super) fn names(&self) -> &Resolver {
        &self.names
    }

    /// Returns the addresses of a host, at least one, and waits for them at most for `limit`.
    ///
    /// # Errors
    /// Class `blocked` where the policy allows the port or all addresses not; else those of [`Resolver::resolve`].
    pub(super) fn resolve(&self, host: &str, port: u16, limit: Duration) -> Result<Vec<IpAddr>, Failure> {
        self.policy.check_port(port)?;
        let mut addresses = match host.parse() {
            Ok(address) => self.allowed(&[address])?,
            Err(_) => self.allowed(&self.names.resolve(host, limit)?)?,
        };
        if addresses.len() > 1 {
            let Later { slower, down } = &*self.later.read().unwrap_or_else(PoisonError::into_inner);
            addresses.sort_by_key(|address| (down.contains(address), slower.contains(address)));
        }
        Ok(addresses)
    }

    /// Calls a function with the addresses of a host, which are none if there is a failure.
    ///
    /// It is called at once if they are known, else when they have been looked up, on another thread.
    pub(super) fn look_up(self: &Arc<Self>, host: &str, on_answer: Box<dyn FnOnce(Vec<IpAddr>) + Send>) {
        if let Ok(address) = host.parse() {
            return on_answer(self.allowed(&[address]).unwrap_or_default());
        }
        let shared = Arc::clone(self);
        let allowed = move |found: &[IpAddr]| shared.allowed(found).unwrap_or_default();
        self.names.look_up(host, Box::new(|answer| on_answer(answer.as_deref().map_or_else(|_| Vec::new(), allowed))));
    }

    /// Sets whether an address is down, and so is tried after all others of a host.
    pub(super) fn set_down(&self, address: IpAddr, is_down: bool) {
        let mut later = self.later.write().unwrap_or_else(PoisonError::into_inner);
        if is_down {
            later.down.insert(address);
        } else {
            later.down.remove(&address);
        }
    }

    /// From now on tries an address that has connected before those that were tried before it.
    pub(super) fn prefer(&self, connected: IpAddr, slower: impl Iterator<Item = IpAddr>) {
        let mut later = self.later.write().unwrap_or_else(PoisonError::into_inner);
        later.slower.remove(&connected);
        later.slower.extend(slower);
    }

    /// Those of these addresses that the policy allows. An IPv4 address that is written as an IPv6 one is the same host.
    ///
    /// # Errors
    /// Why the first one is refused, if all are.
    fn allowed(&self, addresses: &[IpAddr]) -> Result<Vec<IpAddr>, Refused> {
        let mut refused = None;
        let mut is_allowed = |address: &IpAddr| {
            let check = self.policy.check(*address, |address| self.own.contains(address));
            check.map_err(|error| refused.get_or_insert(error)).is_ok()
        };
        let allowed: Vec<_> =
            addresses.iter().filter(|address| is_allowed(address)).map(IpAddr::to_canonical).collect();
        match refused {
            Some(refused) if allowed.is_empty() => Err(refused),
            _ => Ok(allowed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FailureClass;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(60);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Two hosts, one of which has only an address that is not public.
    fn addresses() -> Arc<Addresses> {
        let lookup = |host: &str| {
            Ok(match host {
                "mixed" => vec![ip("10.0.0.1"), ip("1.0.0.1"), ip("2a00::1"), ip("1.0.0.2")],
                _ => vec![ip("10.0.0.1")],
            })
        };
        Arc::new(Addresses::new(Resolver::new(Box::new(lookup), LONG), EgressPolicy::default()))
    }

    #[test]
    fn addresses_that_are_down_come_last() {
        let addresses = addresses();
        let resolved = || addresses.resolve("mixed", 80, LONG).unwrap();
        assert_eq!(resolved(), ["2a00::1", "1.0.0.1", "1.0.0.2"].map(ip));
        addresses.set_down(ip("2a00::1"), true);
        assert_eq!(resolved(), ["1.0.0.1", "1.0.0.2", "2a00::1"].map(ip));
        addresses.set_down(ip("1.0.0.1"), true);
        assert_eq!(resolved(), ["1.0.0.2", "2a00::1", "1.0.0.1"].map(ip));
        addresses.set_down(ip("2a00::1"), false);
        assert_eq!(resolved(), ["2a00::1", "1.0.0.2", "1.0.0.1"].map(ip));
    }

    #[test]
    fn an_address_that_has_connected_comes_before_those_that_have_not() {
        let addresses = addresses();
        let resolved = || addresses.resolve("mixed", 80, LONG).unwrap();
        addresses.prefer(ip("1.0.0.1"), [ip("2a00::1")].into_iter());
        assert_eq!(resolved(), ["1.0.0.1", "1.0.0.2", "2a00::1"].map(ip));
        addresses.set_down(ip("1.0.0.2"), true);
        assert_eq!(resolved(), ["1.0.0.1", "2a00::1", "1.0.0.2"].map(ip));
        addresses.prefer(ip("2a00::1"), [ip("1.0.0.1")].into_iter());
        assert_eq!(resolved(), ["2a00::1", "1.0.0.1", "1.0.0.2"].map(ip));
    }

    #[test]
    fn a_lookup_returns_only_what_the_policy_allows() {
        let addresses = addresses();
        let look_up = |host: &str| {
            let (send, answer) = mpsc::channel();
            addresses.look_up(host, Box::new(move |found| send.send(found).unwrap()));
            answer.recv().unwrap()
        };
        assert_eq!(look_up("mixed"), ["2a00::1", "1.0.0.1", "1.0.0.2"].map(ip));
        for (host, expected) in [
            ("private", vec![]),
            ("10.0.0.1", vec![]),
            ("2a00::2", vec![ip("2a00::2")]),
            ("::ffff:1.0.0.3", vec![ip("1.0.0.3")]),
        ] {
            assert_eq!(look_up(host), expected, "{host}");
        }
        assert_eq!(addresses.resolve("private", 80, LONG).unwrap_err().class, FailureClass::Blocked);
    }
}

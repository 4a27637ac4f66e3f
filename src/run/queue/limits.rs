//! How many polls may be in flight at a time, by the configuration.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// The limits of a run.
#[derive(Debug, Clone)]
pub(in crate::run) struct HostLimits {
    per_host: usize,
    /// In place of it, by the name of the host in lower case.
    names: HashMap<String, usize>,
    /// In place of all these.
    addresses: HashMap<IpAddr, usize>,
}

impl HostLimits {
    /// The limit `per_host`, and those of some hosts in its place.
    pub(in crate::run) fn new(per_host: usize, table: &BTreeMap<String, usize>) -> Self {
        let (mut names, mut addresses) = (HashMap::new(), HashMap::new());
        for (host, limit) in table {
            let limit = (*limit).max(1);
            match literal(host) {
                Some(address) => addresses.insert(address, limit),
                None => names.insert(host.trim_end_matches('.').to_lowercase(), limit),
            };
        }
        Self { per_host: per_host.max(1), names, addresses }
    }

    /// The limit of a name; `None` if it has none of its own.
    pub(super) fn of_name(&self, name: &str) -> Option<usize> {
        if self.names.is_empty() { None } else { self.names.get(name).copied() }
    }

    /// The limit that counts the polls of a name itself, in addition to those of its addresses; `None` if there is none.
    pub(super) fn of_name_itself(&self, of_name: Option<usize>, has_no_address: bool) -> Option<usize> {
        if has_no_address {
            return Some(of_name.unwrap_or(self.per_host));
        }
        of_name.filter(|limit| *limit < self.per_host)
    }

    /// The limit of an address that belongs to a name with this limit.
    pub(super) fn of_address(&self, address: IpAddr, of_name: Option<usize>) -> usize {
        let own = self.addresses.get(&address).copied();
        own.unwrap_or_else(|| of_name.unwrap_or(0).max(self.per_host))
    }
}

/// The address that the text of a host is; `None` if it is a name.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

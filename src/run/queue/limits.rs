//! How many polls may be in flight at a time, and how many may start, by the configuration.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use super::room::Resource;
use crate::config::{LimitTable, LimitedSite};
use crate::store::PollTask;

/// The limits of a run.
#[derive(Debug, Clone)]
pub(in crate::run) struct HostLimits {
    pub(super) per_host: usize,
    /// In place of it, by the name of the host in lower case.
    names: HashMap<String, usize>,
    /// In place of all these.
    addresses: HashMap<IpAddr, usize>,
    /// In addition to these.
    tables: Vec<LimitTable>,
}

impl HostLimits {
    /// The limit `per_host`, those of some hosts in its place, and those that several hosts share.
    pub(in crate::run) fn new(per_host: usize, by_host: &BTreeMap<String, usize>, tables: &[LimitTable]) -> Self {
        let (mut names, mut addresses) = (HashMap::new(), HashMap::new());
        for (host, limit) in by_host {
            let limit = (*limit).max(1);
            match literal(host) {
                Some(address) => addresses.insert(address, limit),
                None => names.insert(host.trim_end_matches('.').to_lowercase(), limit),
            };
        }
        Self { per_host: per_host.max(1), names, addresses, tables: tables.to_vec() }
    }

    /// The limit of a name; `None` if it has none of its own.
    pub(super) fn of_name(&self, name: &str) -> Option<usize> {
        if self.names.is_empty() { None } else { self.names.get(name).copied() }
    }

    /// What a poll takes a place of, in order, and how many places there are.
    ///
    /// `of_name` is the limit of its name. A higher one than usual is that of the addresses, whatever the name. A lower one is
    /// that of the name itself. So is that of a name without an address.
    pub(super) fn of_task(
        &self,
        task: &PollTask,
        of_name: Option<usize>,
        addresses: &[IpAddr],
    ) -> Vec<(Resource, usize)> {
        let own = if addresses.is_empty() {
            Some(of_name.unwrap_or(self.per_host))
        } else {
            of_name.filter(|limit| *limit < self.per_host)
        };
        let usual = of_name.unwrap_or(0).max(self.per_host);
        let mut places: Vec<_> = own.map(|limit| (Resource::Name(task.host), limit)).into_iter().collect();
        places.extend(addresses.iter().map(|address| {
            let limit = self.addresses.get(address).copied().unwrap_or(usual);
            (Resource::Address(*address), limit)
        }));
        if !self.tables.is_empty() {
            let site = LimitedSite::new(&task.cxn);
            let matching: Vec<_> =
                self.tables.iter().enumerate().filter(|(_, table)| table.matches(&site, addresses)).collect();
            let shared = matching.iter().filter_map(|(no, table)| Some((Resource::Shared(*no), table.concurrent()?)));
            let starts = matching.iter().filter_map(|(no, table)| table.interval().map(|_| (Resource::Start(*no), 1)));
            places.extend(shared.chain(starts));
        }
        places
    }

    /// The limits of starts, each with the time from one to the next.
    pub(super) fn starts(&self) -> impl Iterator<Item = (Resource, Duration)> {
        let intervals = self.tables.iter().map(LimitTable::interval).enumerate();
        intervals.filter_map(|(no, interval)| Some((Resource::Start(no), interval?)))
    }
}

/// The address that the text of a host is; `None` if it is a name.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

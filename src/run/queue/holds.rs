//! Hosts whose tasks are held, and those of their tasks that were skipped.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::net::IpAddr;

use crate::store::{HostHash, SkipReason, SkippedHost};

/// How many names of a host are kept with its skipped tasks.
const MAX_NAMES: usize = 1024;

/// The addresses that are held.
#[derive(Debug, Default)]
pub(super) struct Holds {
    addresses: HashMap<IpAddr, Hold>,
    skipped: BTreeMap<IpAddr, Skipped>,
    /// How many tasks these are.
    skipped_sites: usize,
}

#[derive(Debug)]
struct Hold {
    reason: SkipReason,
    /// Whether the next task that comes is taken as a probe.
    awaits_probe: bool,
}

/// The skipped tasks of a host.
#[derive(Debug)]
struct Skipped {
    reason: SkipReason,
    sites: u64,
    names: BTreeSet<HostHash>,
}

impl Holds {
    /// Holds an address. A host that asked to wait stays one.
    pub(super) fn insert(&mut self, address: IpAddr, reason: SkipReason) {
        let hold = self.addresses.entry(address).or_insert(Hold { reason, awaits_probe: false });
        if reason == SkipReason::AskedToWait {
            hold.reason = reason;
        }
    }

    pub(super) fn remove(&mut self, address: IpAddr) {
        self.addresses.remove(&address);
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&address)
    }

    /// Sets whether the next task with an address that comes is taken as a probe.
    pub(super) fn set_awaits_probe(&mut self, address: IpAddr, awaits_probe: bool) {
        if let Some(hold) = self.addresses.get_mut(&address) {
            hold.awaits_probe = awaits_probe;
        }
    }

    /// The first of these addresses for which a probe is awaited; `None` also if the host asked to wait.
    pub(super) fn awaiting_probe(&self, addresses: &[IpAddr]) -> Option<IpAddr> {
        if self.asked_to_wait(addresses) {
            return None;
        }
        addresses.iter().copied().find(|address| self.addresses.get(address).is_some_and(|hold| hold.awaits_probe))
    }

    /// Whether a host with these addresses is held.
    ///
    /// It is not while an address is known to be good, unless it asked to wait.
    pub(super) fn is_held(&self, addresses: &[IpAddr], is_good: impl Fn(IpAddr) -> bool) -> bool {
        if self.addresses.is_empty() {
            return false;
        }
        let is_down = || addresses.iter().any(|address| self.contains(*address));
        self.asked_to_wait(addresses) || is_down() && !addresses.iter().any(|address| is_good(*address))
    }

    /// Whether a host with these addresses asked to wait. It is not probed.
    pub(super) fn asked_to_wait(&self, addresses: &[IpAddr]) -> bool {
        let mut holds = addresses.iter().filter_map(|address| self.addresses.get(address));
        holds.any(|hold| hold.reason == SkipReason::AskedToWait)
    }

    /// How many tasks were skipped, and not returned by [`Holds::take_skipped`] yet.
    pub(super) fn skipped_sites(&self) -> usize {
        self.skipped_sites
    }

    /// Skips a task of a held host with these addresses.
    pub(super) fn skip(&mut self, addresses: &[IpAddr], name: HostHash) {
        let held = addresses.iter().find_map(|address| Some((*address, self.addresses.get(address)?.reason)));
        let Some((address, reason)) = held else { return };
        let skipped = self.skipped.entry(address).or_insert(Skipped { reason, sites: 0, names: BTreeSet::new() });
        skipped.sites += 1;
        if skipped.names.len() < MAX_NAMES {
            skipped.names.insert(name);
        }
        self.skipped_sites += 1;
    }

    /// The hosts of the tasks that were skipped.
    pub(super) fn take_skipped(&mut self) -> Vec<SkippedHost> {
        self.skipped_sites = 0;
        let skipped = mem::take(&mut self.skipped).into_iter();
        let host = |(address, Skipped { reason, sites, names })| SkippedHost {
            address,
            reason,
            sites,
            names: names.into_iter().collect(),
        };
        skipped.map(host).collect()
    }
}

//! The room for polls on addresses, and which host gets it next.
//!
//! A poll takes one place on each of its resources. A host acquires them in order, and keeps those that it has while it
//! waits for the next one in a first-in, first-out queue. So no two hosts wait for each other, and a host with several
//! addresses gets its turn as surely as one with a single address.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::store::HostHash;

/// The number of a host in the queue. None is used twice in a run.
pub(super) type HostNo = u64;

/// Something of which polls take a place. The order is that in which places are acquired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Resource {
    /// A name.
    Name(HostHash),
    /// An address.
    Address(IpAddr),
    /// The polls in flight that a table of the configuration limits, by its index.
    Shared(usize),
    /// The starts of polls that a table of the configuration limits, by its index.
    Start(usize),
}

impl Resource {
    /// Whether its places are those of starts, and not of polls in flight.
    pub(super) fn is_start(&self) -> bool {
        matches!(self, Self::Start(_))
    }

    /// Whether others than hosts in the queue may use it later in the run.
    fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_) | Self::Start(_))
    }
}

/// The places of all resources that hosts in the queue use, and of those that are limited by tables.
#[derive(Debug, Default)]
pub(super) struct Room(HashMap<Resource, Places>);

#[derive(Debug, Default)]
struct Places {
    limit: usize,
    used: usize,
    /// When the next poll may start.
    free_at: Duration,
    /// The hosts that use the resource.
    hosts: BTreeSet<HostNo>,
    waiting: VecDeque<HostNo>,
    /// Whether the address replied since it was held last.
    is_good: bool,
}

impl Places {
    fn has_room(&self, at: Duration) -> bool {
        self.used < self.limit && self.free_at <= at
    }
}

impl Room {
    /// Adds a host to those of a resource, of which so many polls may be in flight. A lower limit than before is ignored.
    pub(super) fn join(&mut self, resource: Resource, host: HostNo, limit: usize) {
        let places = self.0.entry(resource).or_default();
        places.limit = places.limit.max(limit);
        places.hosts.insert(host);
    }

    /// Removes a host from those of a resource.
    pub(super) fn leave(&mut self, resource: Resource, host: HostNo) {
        if let Some(places) = self.0.get_mut(&resource) {
            places.hosts.remove(&host);
            if places.hosts.is_empty() && !resource.is_shared() {
                self.0.remove(&resource);
            }
        }
    }

    /// How many polls an address allows at once; `None` if no host uses it.
    pub(super) fn limit(&self, address: IpAddr) -> Option<usize> {
        self.0.get(&Resource::Address(address)).map(|places| places.limit)
    }

    /// Gives a host a place, or lets it wait for one. Returns whether it has one.
    pub(super) fn acquire(&mut self, resource: Resource, host: HostNo, at: Duration) -> bool {
        let Some(places) = self.0.get_mut(&resource) else { return true };
        let has_room = places.waiting.is_empty() && places.has_room(at);
        if has_room {
            places.used += 1;
        } else {
            places.waiting.push_back(host);
        }
        has_room
    }

    /// Takes a place back.
    pub(super) fn release(&mut self, resource: Resource) {
        if let Some(places) = self.0.get_mut(&resource) {
            places.used -= 1;
        }
    }

    /// Gives a free place to the host that waits longest; `None` if none is free or none waits.
    pub(super) fn pass_on(&mut self, resource: Resource, at: Duration) -> Option<HostNo> {
        let places = self.0.get_mut(&resource)?;
        let host = if places.has_room(at) { places.waiting.pop_front() } else { None };
        places.used += usize::from(host.is_some());
        host
    }

    /// Takes the place of a start back, because the poll starts. The next one may start after an interval.
    pub(super) fn start(&mut self, resource: Resource, at: Duration, interval: Duration) {
        if let Some(places) = self.0.get_mut(&resource) {
            places.used -= 1;
            places.free_at = at + interval;
        }
    }

    /// When the next poll may start for which a host waits.
    ///
    /// `None` if none waits, or if another start comes first.
    pub(super) fn next_start(&self, resource: Resource) -> Option<Duration> {
        let places = self.0.get(&resource)?;
        (places.used < places.limit && !places.waiting.is_empty()).then_some(places.free_at)
    }

    /// Removes a host from those that wait for a place.
    pub(super) fn cancel(&mut self, resource: Resource, host: HostNo) {
        if let Some(places) = self.0.get_mut(&resource) {
            places.waiting.retain(|waiting| *waiting != host);
        }
    }

    /// The hosts that use a resource.
    pub(super) fn hosts(&self, resource: Resource) -> Vec<HostNo> {
        self.0.get(&resource).map_or_else(Vec::new, |places| places.hosts.iter().copied().collect())
    }

    /// Whether an address is known to be good.
    pub(super) fn is_good(&self, address: IpAddr) -> bool {
        self.0.get(&Resource::Address(address)).is_some_and(|places| places.is_good)
    }

    /// Sets whether an address is known to be good. Returns whether that changed.
    pub(super) fn set_good(&mut self, address: IpAddr, is_good: bool) -> bool {
        let Some(places) = self.0.get_mut(&Resource::Address(address)) else { return false };
        std::mem::replace(&mut places.is_good, is_good) != is_good
    }
}

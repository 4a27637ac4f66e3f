//! The incidents of a report and the hosts that they were on, in little memory.

use std::collections::HashMap;
use std::net::IpAddr;

use super::data::Incident;
use super::timeline::{HostNo, Open, Origin, Seconds};
use crate::model::FailureClass;

/// No incident.
pub(super) const NONE: u32 = u32::MAX;

/// The incidents of all sites. Those of a site are a list, the last one first.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    all: Vec<Packed>,
    numbers: HashMap<IpAddr, HostNo>,
    pub(super) hosts: Vec<HostSums>,
}

/// An incident in 16 bytes.
#[derive(Debug, Clone, Copy)]
struct Packed {
    from: Seconds,
    /// [`LASTS`] if it did not end.
    to: Seconds,
    /// The one before of the same site.
    before: u32,
    /// The number of the host, and in the lowest byte that of the class.
    host_and_class: u32,
}

/// The incidents that began on an address.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostSums {
    pub(super) address: IpAddr,
    pub(super) down_s: u64,
    pub(super) incidents: u64,
    pub(super) sites: u64,
}

const LASTS: Seconds = Seconds::MAX;
/// More hosts have no number, as if no address was known.
const MAX_HOSTS: usize = (1 << 24) - 1;

impl Incidents {
    /// The number of an address.
    pub(super) fn host(&mut self, address: Option<IpAddr>) -> HostNo {
        let Some(address) = address.filter(|_| self.hosts.len() < MAX_HOSTS) else { return HostNo::default() };
        *self.numbers.entry(address).or_insert_with(|| {
            self.hosts.push(HostSums { address, down_s: 0, incidents: 0, sites: 0 });
            HostNo(u32::try_from(self.hosts.len()).unwrap_or(0))
        })
    }

    /// The sums of a host; `None` if it has no number.
    pub(super) fn sums(&mut self, host: HostNo) -> Option<&mut HostSums> {
        self.hosts.get_mut((host.0 as usize).checked_sub(1)?)
    }

    /// Adds an incident to the list of a site, which begins at `last`, and returns where that begins then.
    pub(super) fn add(&mut self, last: u32, open: Open, to: Option<Seconds>) -> u32 {
        let number = u32::try_from(self.all.len()).unwrap_or(NONE);
        self.all.push(Packed {
            from: open.from,
            to: to.unwrap_or(LASTS),
            before: last,
            host_and_class: open.host.0 << 8 | open.class.map_or(0, |class| class as u32),
        });
        number
    }

    /// The incidents of a list with their numbers and hosts, the latest first.
    pub(super) fn list(&self, origin: Origin, last: u32) -> impl Iterator<Item = (u32, Incident, HostNo)> {
        let mut next = last;
        std::iter::from_fn(move || {
            let (number, packed) = (next, self.all.get(next as usize)?);
            next = packed.before;
            Some((number, self.get(origin, number), HostNo(packed.host_and_class >> 8)))
        })
    }

    /// The incident of a number.
    pub(super) fn get(&self, origin: Origin, number: u32) -> Incident {
        let packed = &self.all[number as usize];
        let [class, ..] = packed.host_and_class.to_le_bytes();
        Incident {
            from: origin.time(packed.from),
            to: (packed.to != LASTS).then(|| origin.time(packed.to)),
            class: FailureClass::from_number(class),
        }
    }
}

//! The incidents of a report and the hosts that they were on, in little memory.

use std::collections::HashMap;
use std::net::IpAddr;

use super::data::Incident;
use super::timeline::{HostNo, Open};
use crate::model::{FailureClass, UnixTime};

/// No incident.
pub(super) const NONE: u32 = u32::MAX;

/// The incidents of all sites. Those of a site are a list, the last one first.
#[derive(Debug)]
pub(super) struct Incidents {
    from: UnixTime,
    to: UnixTime,
    all: Vec<Packed>,
    numbers: HashMap<IpAddr, HostNo>,
    pub(super) hosts: Vec<HostSums>,
}

/// An incident in 16 bytes. Its times are seconds from the start of the report.
#[derive(Debug, Clone, Copy)]
struct Packed {
    from: i32,
    /// [`LASTS`] if it did not end.
    to: i32,
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

const LASTS: i32 = i32::MAX;
/// More hosts have no number, as if no address was known.
const MAX_HOSTS: usize = (1 << 24) - 1;

impl Incidents {
    pub(super) fn new(from: UnixTime, to: UnixTime) -> Self {
        Self { from, to, all: Vec::new(), numbers: HashMap::new(), hosts: Vec::new() }
    }

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
    ///
    /// `None` if the incident is not within the time of the report.
    pub(super) fn add(&mut self, last: u32, open: Open, to: Option<UnixTime>) -> Option<u32> {
        let to = to.filter(|to| *to <= self.to);
        if open.from > self.to || to.is_some_and(|to| to <= self.from) {
            return None;
        }
        let seconds = |at: UnixTime| {
            let most = i64::from(LASTS - 1);
            i32::try_from(at.saturating_sub(self.from).clamp(-most, most)).unwrap_or(LASTS - 1)
        };
        let number = u32::try_from(self.all.len()).ok().filter(|number| *number < NONE)?;
        self.all.push(Packed {
            from: seconds(open.from),
            to: to.map_or(LASTS, seconds),
            before: last,
            host_and_class: open.host.0 << 8 | open.class.map_or(0, |class| class as u32),
        });
        Some(number)
    }

    /// The incidents of a list with their numbers and hosts, the latest first.
    pub(super) fn list(&self, last: u32) -> impl Iterator<Item = (u32, Incident, HostNo)> {
        let mut next = last;
        std::iter::from_fn(move || {
            let (number, packed) = (next, self.all.get(next as usize)?);
            next = packed.before;
            Some((number, self.get(number), HostNo(packed.host_and_class >> 8)))
        })
    }

    /// The incident of a number.
    pub(super) fn get(&self, number: u32) -> Incident {
        let packed = &self.all[number as usize];
        let at = |seconds: i32| self.from + i64::from(seconds);
        let [class, ..] = packed.host_and_class.to_le_bytes();
        let to = (packed.to != LASTS).then(|| at(packed.to));
        Incident { from: at(packed.from), to, class: FailureClass::from_number(class) }
    }
}

//! Hosts of which no task is taken.

use std::net::IpAddr;
use std::sync::Arc;

use super::{MAX_HELD, State};
use crate::run::queue::room::{HostNo, Resource};
use crate::store::{SkipReason, SkippedHost};

impl State {
    /// Takes no task of hosts with an address any longer, unless another of them is known to be good.
    pub(in crate::run::queue) fn hold(&mut self, address: IpAddr, reason: SkipReason) {
        self.holds.insert(address, reason);
        self.room.set_good(address, false);
        self.update_holds(address);
    }

    /// Takes one task of a held host with an address: one that waits, or else the next one that comes.
    pub(in crate::run::queue) fn probe(&mut self, address: IpAddr) {
        for no in self.room.hosts(Resource::Address(address)) {
            if let Some(host) = self.hosts.get_mut(&no)
                && host.is_held
                && host.waiting() > 0
                && !self.holds.asked_to_wait(&host.key.addresses)
            {
                host.is_probed = true;
                return self.reserve(no);
            }
        }
        self.holds.set_awaits_probe(address, true);
    }

    /// Takes tasks of hosts with an address again.
    pub(in crate::run::queue) fn release_hold(&mut self, address: IpAddr) {
        self.holds.remove(address);
        self.update_holds(address);
    }

    /// Decides again which hosts with an address are held.
    pub(super) fn update_holds(&mut self, address: IpAddr) {
        for no in self.room.hosts(Resource::Address(address)) {
            let Some(host) = self.hosts.get_mut(&no) else { continue };
            let is_held = self.holds.is_held(&host.key.addresses, |address| self.room.is_good(address));
            if is_held == host.is_held {
                continue;
            }
            host.is_held = is_held;
            host.is_probed = false;
            let waiting = host.waiting();
            let waiting_for_starts = if host.waits_for_starts() { waiting } else { 0 };
            if is_held {
                self.held_hosts += 1;
                self.waiting -= waiting;
                self.waiting_for_starts -= waiting_for_starts;
                self.held += waiting;
                self.cancel_reservation(no);
                self.skip_surplus(no);
            } else {
                self.held_hosts -= 1;
                self.held -= waiting;
                self.waiting += waiting;
                self.waiting_for_starts += waiting_for_starts;
                self.reserve(no);
            }
        }
    }

    /// Skips the last tasks of a held host while too many are kept, but not the one that is a probe.
    pub(super) fn skip_surplus(&mut self, no: HostNo) {
        while self.held > MAX_HELD
            && let Some(host) = self.hosts.get_mut(&no)
            && host.waiting() > usize::from(host.is_probed)
            && let Some(task) = host.pop_back()
        {
            self.held -= 1;
            self.holds.skip(&host.key.addresses, task.host);
            self.remove_waiting(&task);
        }
        self.remove_if_empty(no);
    }

    /// Removes the tasks of held hosts, and returns how many were skipped since the last call.
    pub(in crate::run::queue) fn skip_held(&mut self) -> Vec<SkippedHost> {
        let held: Vec<_> = self.hosts.iter().filter(|(_, host)| host.is_held).map(|(no, _)| *no).collect();
        for no in held {
            self.cancel_reservation(no);
            let Some(host) = self.hosts.get_mut(&no) else { continue };
            host.is_probed = false;
            let (addresses, tasks): (_, Vec<_>) = (Arc::clone(&host.key.addresses), host.drain().collect());
            for task in tasks {
                self.holds.skip(&addresses, task.host);
                self.remove_waiting(&task);
            }
            self.remove_if_empty(no);
        }
        self.held = 0;
        self.holds.take_skipped()
    }
}

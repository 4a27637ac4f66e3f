//! Tasks until the addresses of their names are known.

use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{State, takes_long};
use crate::run::queue::limits::literal;
use crate::run::queue::lookups::LookupNo;
use crate::run::queue::name::{Answer, Found, Name};
use crate::run::queue::room::Resource;
use crate::store::{HostHash, PollTask};

impl State {
    /// Adds a task behind those that wait.
    pub(in crate::run::queue) fn push(&mut self, task: PollTask) {
        let task = Arc::new(task);
        let hash = task.host;
        self.waiting += 1;
        let name = self.names.entry(hash).or_insert_with(|| {
            let host = task.cxn.host();
            let answer = if let Some(address) = literal(&host) {
                Answer::Known(Found { addresses: [address].into(), failed: None })
            } else {
                self.lookups.push(hash, takes_long(&task, self.now));
                Answer::Awaited(Vec::new())
            };
            Name { waiting: 0, polling: 0, limit: self.limits.of_name(&host), answer }
        });
        name.waiting += 1;
        match &mut name.answer {
            Answer::Awaited(tasks) => tasks.push(task),
            Answer::Known(_) => {
                self.admit(task);
            }
        }
    }

    /// Starts the next lookup, of the name of a task; `None` if none is to be started.
    pub(in crate::run::queue) fn start_lookup(&mut self) -> Option<(LookupNo, Arc<PollTask>)> {
        loop {
            let (no, name) = self.lookups.start(self.at)?;
            if let Some(Name { answer: Answer::Awaited(tasks), .. }) = self.names.get(&name)
                && let Some(task) = tasks.first()
            {
                return Some((no, Arc::clone(task)));
            }
            self.lookups.end(no);
        }
    }

    /// Takes the answer of a lookup. Without addresses the lookup has failed.
    pub(in crate::run::queue) fn answer(&mut self, no: LookupNo, mut addresses: Vec<IpAddr>) {
        for address in &mut addresses {
            *address = address.to_canonical();
        }
        addresses.sort_unstable();
        addresses.dedup();
        if let Some(lookup) = self.lookups.end(no) {
            self.resolve(lookup.name, addresses.into(), lookup.since);
        } else if let Some(name) = self.lookups.end_late(no)
            && !addresses.is_empty()
        {
            self.resolve_late(name, addresses.into());
        }
    }

    /// Ends the lookups that are over their limit.
    pub(in crate::run::queue) fn expire_lookups(&mut self) {
        while let Some(lookup) = self.lookups.end_expired(self.at) {
            self.resolve(lookup.name, [].into(), lookup.since);
        }
    }

    fn resolve(&mut self, hash: HostHash, addresses: Arc<[IpAddr]>, since: Duration) {
        let failed = addresses.is_empty().then_some((since, self.at));
        let Some(name) = self.names.get_mut(&hash) else { return };
        let known = Answer::Known(Found { addresses, failed });
        if let Answer::Awaited(tasks) = mem::replace(&mut name.answer, known) {
            let hosts: Vec<_> = tasks.into_iter().map(|task| self.admit(task)).collect();
            self.chosen.resolve(hash, hosts.into_iter().next().flatten());
        }
    }

    /// Moves the tasks of a name whose lookup had failed to the host of its addresses.
    ///
    /// Their polls connect to these, so they share their limits.
    fn resolve_late(&mut self, hash: HostHash, addresses: Arc<[IpAddr]>) {
        let Some(Name { answer: Answer::Known(found), .. }) = self.names.get_mut(&hash) else { return };
        if !found.addresses.is_empty() {
            return;
        }
        *found = Found { addresses, failed: None };
        for no in self.room.hosts(Resource::Name(hash)) {
            let Some(host) = self.hosts.get_mut(&no).filter(|host| host.key.addresses.is_empty()) else { continue };
            let tasks: Vec<_> = host.drain().collect();
            if host.waits_for_starts() {
                self.waiting_for_starts -= tasks.len();
            }
            self.cancel_reservation(no);
            self.remove_if_empty(no);
            for task in tasks {
                self.admit(task);
            }
        }
    }

    /// Whether another site of the same name waits.
    pub(in crate::run::queue) fn is_awaited(&self, task: &PollTask) -> bool {
        self.names.get(&task.host).is_some_and(|name| name.waiting > 0)
    }

    /// Removes a task that waited and will not be polled.
    pub(super) fn remove_waiting(&mut self, task: &PollTask) {
        if let Some(name) = self.names.get_mut(&task.host) {
            name.waiting -= 1;
            if name.polling + name.waiting == 0 {
                self.names.remove(&task.host);
            }
        }
    }
}

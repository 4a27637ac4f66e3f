//! The state of the queue: pure, without a lock or a clock. Times are durations since the queue was made.
//!
//! A task first waits for the addresses of its name, then at its host, until a worker takes it.

mod choice;
mod holding;
mod names;
pub(super) mod view;

use std::collections::HashMap;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::holds::Holds;
use super::host::{Host, HostKey, Stage};
use super::limits::HostLimits;
use super::lookups::Lookups;
use super::name::{Answer, Found, Name};
use super::room::{HostNo, Resource, Room};
use super::turns::{Chosen, Turns};
use crate::model::UnixTime;
use crate::store::{HostHash, PollTask};

/// A poll of at least this duration is slow.
pub(in crate::run) const SLOW: Duration = Duration::from_secs(1);
/// How many tasks of held hosts are kept. Further ones are skipped at once.
pub(super) const MAX_HELD: usize = 4096;

#[derive(Debug)]
pub(super) struct State {
    /// The time of the last change.
    at: Duration,
    /// The time of the schedule.
    now: UnixTime,
    /// How many slow polls may be in flight while other sites wait. With 0, no site counts as slow.
    max_slow: usize,
    limits: HostLimits,
    /// The limits of starts, each with the time from one to the next.
    starts: Vec<(Resource, Duration)>,
    names: HashMap<HostHash, Name>,
    lookups: Lookups,
    pub(super) hosts: HashMap<HostNo, Host>,
    numbers: HashMap<HostKey, HostNo>,
    /// How many hosts there were.
    last_no: HostNo,
    held_hosts: usize,
    room: Room,
    pub(super) turns: Turns,
    holds: Holds,
    /// Tasks that can be taken without a release.
    waiting: usize,
    /// Those of them whose hosts wait for the times of their starts.
    waiting_for_starts: usize,
    /// Tasks of held hosts.
    held: usize,
    /// Slow polls in flight.
    pub(super) slow: usize,
    /// No task will be added.
    pub(super) closed: bool,
    /// How many more tasks may be taken; `None` is no limit.
    permits: Option<usize>,
    /// The names and hosts that get the next of these.
    chosen: Chosen,
    /// By the sequence number of the connection.
    in_flight: HashMap<u64, InFlight>,
}

/// A task that is being polled.
#[derive(Debug)]
struct InFlight {
    task: Arc<PollTask>,
    since: Duration,
    host: HostNo,
    is_slow: bool,
}

impl State {
    pub(super) fn new(workers: usize, now: UnixTime, limits: HostLimits, lookup_limit: Duration) -> Self {
        Self {
            at: Duration::ZERO,
            now,
            max_slow: workers / 2,
            starts: limits.starts().collect(),
            limits,
            names: HashMap::new(),
            lookups: Lookups::new(lookup_limit),
            hosts: HashMap::new(),
            numbers: HashMap::new(),
            last_no: 0,
            held_hosts: 0,
            room: Room::default(),
            turns: Turns::default(),
            holds: Holds::default(),
            waiting: 0,
            waiting_for_starts: 0,
            held: 0,
            slow: 0,
            closed: false,
            permits: None,
            chosen: Chosen::default(),
            in_flight: HashMap::new(),
        }
    }

    /// Sets the time, at which polls may start that could not before.
    pub(super) fn advance(&mut self, at: Duration) {
        self.at = at;
        for index in 0..self.starts.len() {
            self.pass_on(self.starts[index].0);
        }
    }

    /// When the next poll may start that may not start yet; `None` if none waits for its start.
    pub(super) fn next_start(&self) -> Option<Duration> {
        self.starts.iter().filter_map(|(start, _)| self.room.next_start(*start)).min()
    }

    pub(super) fn set_workers(&mut self, workers: usize, max_lookups: usize) {
        self.max_slow = workers / 2;
        self.lookups.set_max(max_lookups);
    }

    fn is_slow(&self, task: &PollTask) -> bool {
        self.max_slow > 0 && takes_long(task, self.now)
    }

    /// Adds a task, whose name is known, to its host, and returns that.
    fn admit(&mut self, task: Arc<PollTask>) -> Option<HostNo> {
        let Some(Name { limit, answer: Answer::Known(found), .. }) = self.names.get(&task.host) else { return None };
        let (limit, addresses) = (*limit, Arc::clone(&found.addresses));
        let places = self.limits.of_task(&task, limit, &addresses);
        let resources = places.iter().map(|(resource, _)| *resource).collect();
        let key = HostKey { addresses, resources };
        let known = self.numbers.get(&key).copied();
        let is_new = known.is_none();
        let no = known.unwrap_or_else(|| self.add_host(key));
        if is_new || limit.is_some() {
            for (resource, limit) in places {
                self.room.join(resource, no, limit);
                self.pass_on(resource);
            }
        }
        let host = self.hosts.get_mut(&no)?;
        host.push(task);
        if host.is_held {
            self.waiting -= 1;
            self.held += 1;
            if let Some(address) = self.holds.awaiting_probe(&host.key.addresses) {
                self.holds.set_awaits_probe(address, false);
                host.is_probed = true;
            }
            self.skip_surplus(no);
        } else {
            self.waiting_for_starts += usize::from(host.waits_for_starts());
        }
        self.reserve(no);
        Some(no)
    }

    fn add_host(&mut self, key: HostKey) -> HostNo {
        self.last_no += 1;
        let no = self.last_no;
        let mut host = Host::new(key.clone());
        host.is_held = self.holds.is_held(&key.addresses, |address| self.room.is_good(address));
        self.held_hosts += usize::from(host.is_held);
        self.numbers.insert(key, no);
        self.hosts.insert(no, host);
        no
    }

    /// Gives the free places of a resource to those that wait for them.
    fn pass_on(&mut self, resource: Resource) {
        while let Some(no) = self.room.pass_on(resource, self.at) {
            if let Some(host) = self.hosts.get_mut(&no) {
                host.reserved += 1;
                host.stage = Stage::Idle;
                self.reserve(no);
            }
        }
    }

    /// Brings a host closer to its next poll, if it has a task that may be taken.
    fn reserve(&mut self, no: HostNo) {
        let Some(host) = self.hosts.get_mut(&no).filter(|host| host.stage == Stage::Idle && host.is_takeable()) else {
            return;
        };
        while let Some(resource) = host.key.resources.get(host.reserved) {
            if !self.room.acquire(*resource, no, self.at) {
                host.stage = Stage::Waiting;
                return;
            }
            host.reserved += 1;
        }
        host.stage = Stage::Ready;
        match host.front() {
            _ if host.is_held || host.waits_for_starts() => self.turns.push_first(no),
            Some(task) if self.max_slow > 0 && takes_long(task, self.now) => self.turns.push_slow(no, task),
            _ => self.turns.push(no),
        }
    }

    /// Gives back what a host has for its next poll.
    fn cancel_reservation(&mut self, no: HostNo) {
        let Some(host) = self.hosts.get_mut(&no) else { return };
        let resources = Arc::clone(&host.key.resources);
        let (reserved, stage) = (mem::take(&mut host.reserved), mem::replace(&mut host.stage, Stage::Idle));
        match stage {
            Stage::Ready => self.turns.remove(no),
            Stage::Waiting => self.room.cancel(resources[reserved], no),
            Stage::Idle => {}
        }
        self.release(&resources[..reserved]);
    }

    fn release(&mut self, resources: &[Resource]) {
        for resource in resources {
            self.room.release(*resource);
            self.pass_on(*resource);
        }
    }

    /// Whether no task will be taken any longer.
    pub(super) fn is_over(&self) -> bool {
        self.closed && self.waiting == 0
    }

    /// Whether a task can be taken at once.
    pub(super) fn has_ready(&self) -> bool {
        self.turns.len() > 0 && self.permits != Some(0)
    }

    /// The host whose turn it is.
    fn next_host(&mut self) -> Option<HostNo> {
        match self.permits {
            Some(permits) => self.choose_host(permits),
            None => self.turns.pop(self.slow < self.max_slow),
        }
    }

    /// How many polls each of these addresses allows at once.
    pub(super) fn limit(&self, addresses: &[IpAddr]) -> usize {
        addresses.iter().filter_map(|address| self.room.limit(*address)).min().unwrap_or(self.limits.per_host)
    }

    /// Removes and returns the next task that may be taken at once, with what is known of its name.
    pub(super) fn take(&mut self) -> Option<(Arc<PollTask>, Found)> {
        let no = self.next_host()?;
        self.permits = self.permits.map(|permits| permits - 1);
        let host = self.hosts.get_mut(&no)?;
        let task = host.pop_front()?;
        host.polling += 1;
        host.reserved = 0;
        for (start, interval) in self.starts.iter().filter(|(start, _)| host.key.resources.contains(start)) {
            self.room.start(*start, self.at, *interval);
        }
        host.stage = Stage::Idle;
        host.is_probed = false;
        if host.is_held {
            self.held -= 1;
        } else {
            self.waiting -= 1;
            self.waiting_for_starts -= usize::from(host.waits_for_starts());
        }
        let is_slow = self.is_slow(&task);
        self.slow += usize::from(is_slow);
        let in_flight = InFlight { task: Arc::clone(&task), since: self.at, host: no, is_slow };
        self.in_flight.insert(task.locator.seq, in_flight);
        self.reserve(no);
        let name = self.names.get_mut(&task.host)?;
        name.waiting -= 1;
        name.polling += 1;
        match &name.answer {
            Answer::Known(found) => Some((task, found.clone())),
            Answer::Awaited(_) => None,
        }
    }

    /// Ends the poll of a task. An address that replied is known to be good.
    pub(super) fn done(&mut self, task: &PollTask, good: Option<IpAddr>) {
        let Some(InFlight { task, since, host: no, is_slow }) = self.in_flight.remove(&task.locator.seq) else {
            return;
        };
        self.slow -= usize::from(is_slow);
        if let Some(name) = self.names.get_mut(&task.host) {
            name.polling -= 1;
            if name.polling + name.waiting == 0 {
                self.names.remove(&task.host);
            }
        }
        if let Some(address) = good.filter(|address| !self.holds.contains(*address))
            && self.room.set_good(address, true)
        {
            self.update_holds(address);
        }
        let Some(host) = self.hosts.get_mut(&no) else { return };
        host.polling -= 1;
        host.slowest = host.slowest.max(self.at.saturating_sub(since));
        let resources = Arc::clone(&host.key.resources);
        let held = resources.partition_point(|resource| !resource.is_start());
        self.release(&resources[..held]);
        self.remove_if_empty(no);
    }

    fn remove_if_empty(&mut self, no: HostNo) {
        if let Some(host) = self.hosts.get(&no)
            && host.polling + host.waiting() == 0
            && let Some(host) = self.hosts.remove(&no)
        {
            self.held_hosts -= usize::from(host.is_held);
            self.numbers.remove(&host.key);
            host.key.resources.iter().for_each(|resource| self.room.leave(*resource, no));
        }
    }

    /// Removes all tasks that wait; returns how many. None will be added.
    pub(super) fn cancel_pending(&mut self) -> usize {
        self.closed = true;
        self.turns.clear();
        self.lookups.clear();
        let cancelled = self.holds.skipped_sites() + mem::take(&mut self.waiting) + mem::take(&mut self.held);
        self.waiting_for_starts = 0;
        self.holds.take_skipped();
        self.hosts.values_mut().for_each(|host| drop(host.drain()));
        let all: Vec<_> = self.hosts.keys().copied().collect();
        for no in all {
            self.cancel_reservation(no);
            self.remove_if_empty(no);
        }
        self.names.values_mut().for_each(|name| name.waiting = 0);
        self.names.retain(|_, name| name.polling > 0);
        cancelled
    }
}

/// Whether the next poll of a site may take long.
fn takes_long(task: &PollTask, now: UnixTime) -> bool {
    Duration::from_millis(task.status.slowest_ms().into()) >= SLOW || task.status.is_unwell(now)
}

#[cfg(test)]
mod tests;

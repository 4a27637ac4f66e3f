//! What is reported of the queue.

use std::sync::Arc;
use std::time::Duration;

use super::State;
use crate::model::UnixTime;
use crate::run::queue::host::Host;
use crate::store::{HostHash, PollTask};

/// What a run's decisions need to know about the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::run) struct QueueView {
    /// How many tasks wait that are or will be taken, also those whose names are being looked up.
    pub(in crate::run) waiting: usize,
    /// How many of these wait for the times of their starts.
    pub(in crate::run) waiting_for_starts: usize,
    /// How many tasks of held hosts there are, also those that will be returned as skipped.
    pub(in crate::run) held: usize,
    /// Whether no task will be taken before permits are granted.
    pub(in crate::run) is_out_of_permits: bool,
    /// The only host that is left in the queue and not held; `None` if there are several or none.
    ///
    /// Hosts that wait for the times of their starts are one.
    pub(in crate::run) last_host: Option<LastHost>,
}

/// The only host of which sites wait or are being polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::run) struct LastHost {
    /// The hash of the name of its last site that waits.
    pub(in crate::run) host: HostHash,
    /// Since when the next of its sites is due; `None` if none waits.
    pub(in crate::run) due: Option<UnixTime>,
    /// The longest poll of the host in this run, including those in flight.
    pub(in crate::run) slowest: Duration,
    /// Whether the queue had no other.
    pub(in crate::run) is_only: bool,
}

impl LastHost {
    fn of(host: &Host, is_only: bool) -> Self {
        let due = host.front().map(|task| task.due);
        Self { host: host.last_name().unwrap_or_default(), due, slowest: host.slowest, is_only }
    }
}

impl State {
    pub(in crate::run::queue) fn view(&self) -> QueueView {
        QueueView {
            waiting: self.waiting,
            waiting_for_starts: self.waiting_for_starts,
            held: self.held + self.holds.skipped_sites(),
            is_out_of_permits: self.permits == Some(0),
            last_host: self.last_host(),
        }
    }

    /// How many hosts have a task that can be taken now, and how many tasks are being polled.
    pub(in crate::run::queue) fn demand(&self) -> (usize, usize) {
        (self.turns.len().min(self.permits.unwrap_or(usize::MAX)), self.in_flight.len())
    }

    /// The only host that is left, or one of several of which all wait for their starts.
    fn last_host(&self) -> Option<LastHost> {
        if self.lookups.len() > 0 {
            return None;
        }
        let is_only = self.last_no == 1;
        let mut hosts = self.hosts.iter().filter(|(_, host)| !host.is_held);
        if self.hosts.len() != self.held_hosts + 1 {
            if !self.all_wait_for_starts() {
                return None;
            }
            let (_, host) = hosts.find(|(_, host)| host.waiting() > 0)?;
            // Sites are not slow because they wait.
            return Some(LastHost { slowest: Duration::ZERO, ..LastHost::of(host, is_only) });
        }
        let (no, host) = hosts.next()?;
        let in_flight = self.in_flight.values().filter(|poll| poll.host == *no);
        let slowest = in_flight.map(|poll| self.at.saturating_sub(poll.since)).fold(host.slowest, Duration::max);
        Some(LastHost { slowest, ..LastHost::of(host, is_only) })
    }

    /// Whether all hosts that are not held wait for the times of their starts. Looks at each only if it may be so.
    fn all_wait_for_starts(&self) -> bool {
        self.waiting_for_starts > 0
            && self.waiting_for_starts == self.waiting
            && self.hosts.values().all(|host| host.is_held || host.waits_for_starts())
    }

    /// The polls that have been in flight longest, and for how long.
    pub(in crate::run::queue) fn slowest(&self, count: usize) -> Vec<(Arc<PollTask>, Duration)> {
        let mut in_flight: Vec<_> = self.in_flight.values().collect();
        in_flight.sort_by_key(|poll| poll.since);
        let polls = in_flight.into_iter().take(count);
        polls.map(|poll| (Arc::clone(&poll.task), self.at.saturating_sub(poll.since))).collect()
    }

    /// Counts the time of the polls in flight and of the lookups from now on, after a pause of the process.
    pub(in crate::run::queue) fn restart_timers(&mut self) {
        self.in_flight.values_mut().for_each(|poll| poll.since = self.at);
        self.lookups.restart_timers(self.at);
    }
}

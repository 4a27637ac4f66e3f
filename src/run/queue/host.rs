//! A host: the set of addresses of one or several names, and the tasks that wait for it.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::room::Resource;
use crate::store::{HostHash, PollTask};

/// The number of a host in the queue. None is used twice in a run.
pub(super) type HostNo = u64;

/// What tasks of one host have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct HostKey {
    /// In order; empty if they are not known.
    pub(super) addresses: Arc<[IpAddr]>,
    /// What a poll of the host takes, in order.
    pub(super) resources: Arc<[Resource]>,
}

/// Where a host is on its way to the next poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has no task that may be taken.
    Idle,
    /// It waits for the resource after those that it has.
    Waiting,
    /// It has all resources of one poll, and waits for a worker.
    Ready,
}

/// A host of which tasks wait or are being polled.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) key: HostKey,
    /// Tasks of sites that were well, or are new.
    well: VecDeque<Arc<PollTask>>,
    /// Tasks of sites that were failing. A few dead sites, polled first, would keep the others from their turn.
    failing: VecDeque<Arc<PollTask>>,
    pub(super) stage: Stage,
    /// How many of its resources it has for its next poll.
    pub(super) reserved: usize,
    pub(super) polling: usize,
    /// The longest of its polls that have ended.
    pub(super) slowest: Duration,
    /// Whether its tasks are not taken, but for a probe.
    pub(super) is_held: bool,
    /// Whether its next task is taken although it is held.
    pub(super) is_probed: bool,
}

impl Host {
    pub(super) fn new(key: HostKey) -> Self {
        Self {
            key,
            well: VecDeque::new(),
            failing: VecDeque::new(),
            stage: Stage::Idle,
            reserved: 0,
            polling: 0,
            slowest: Duration::ZERO,
            is_held: false,
            is_probed: false,
        }
    }

    pub(super) fn push(&mut self, task: Arc<PollTask>) {
        let is_failing = (task.status.level, task.status.count) != (0, 0);
        if is_failing { &mut self.failing } else { &mut self.well }.push_back(task);
    }

    /// The next task.
    pub(super) fn front(&self) -> Option<&Arc<PollTask>> {
        self.well.front().or(self.failing.front())
    }

    /// The hash of the name of the last task; `None` if none waits.
    pub(super) fn last_name(&self) -> Option<HostHash> {
        self.failing.back().or(self.well.back()).map(|task| task.host)
    }

    pub(super) fn pop_front(&mut self) -> Option<Arc<PollTask>> {
        self.well.pop_front().or_else(|| self.failing.pop_front())
    }

    pub(super) fn pop_back(&mut self) -> Option<Arc<PollTask>> {
        self.failing.pop_back().or_else(|| self.well.pop_back())
    }

    /// How many tasks wait.
    pub(super) fn waiting(&self) -> usize {
        self.well.len() + self.failing.len()
    }

    /// Removes the tasks that wait.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Arc<PollTask>> {
        self.well.drain(..).chain(self.failing.drain(..))
    }

    /// Whether its polls start at limited times.
    pub(super) fn waits_for_starts(&self) -> bool {
        self.key.resources.last().is_some_and(Resource::is_start)
    }

    /// Whether a task may be taken as soon as there is room for it.
    pub(super) fn is_takeable(&self) -> bool {
        self.waiting() > 0 && (!self.is_held || self.is_probed)
    }
}

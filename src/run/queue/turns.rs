//! The hosts that are ready, in the order in which workers take from them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::mem;

use super::room::HostNo;
use crate::store::{HostHash, PollTask};

/// Hosts with a task that may be taken at once, each once.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Hosts whose next task is slow: with its lateness, and its longest duration.
    ///
    /// Lateness is in thousandths of its period, and durations are in milliseconds.
    slow: BinaryHeap<(u32, u32, Reverse<HostNo>)>,
    /// The other hosts.
    others: VecDeque<HostNo>,
}

impl Turns {
    pub(super) fn len(&self) -> usize {
        self.slow.len() + self.others.len()
    }

    /// Adds a host whose next task is slow.
    pub(super) fn push_slow(&mut self, host: HostNo, task: &PollTask) {
        self.slow.push((task.permille_late, task.status.slowest_ms(), Reverse(host)));
    }

    /// Adds a host behind the others.
    pub(super) fn push(&mut self, host: HostNo) {
        self.others.push_back(host);
    }

    /// Adds a host before the others.
    pub(super) fn push_first(&mut self, host: HostNo) {
        self.others.push_front(host);
    }

    /// Removes the host whose turn it is. A slow one comes first if that is allowed, or if there is no other.
    pub(super) fn pop(&mut self, slow_allowed: bool) -> Option<HostNo> {
        if (slow_allowed || self.others.is_empty())
            && let Some((_, _, Reverse(host))) = self.slow.pop()
        {
            return Some(host);
        }
        self.others.pop_front()
    }

    /// How many hosts there are whose next task is slow, or not.
    pub(super) fn count(&self, is_slow: bool) -> usize {
        if is_slow { self.slow.len() } else { self.others.len() }
    }

    /// Removes the host at an index from those whose next task is slow, or from the others.
    pub(super) fn remove_at(&mut self, is_slow: bool, index: usize) -> Option<HostNo> {
        if !is_slow {
            return self.others.remove(index);
        }
        let mut slow = mem::take(&mut self.slow).into_vec();
        let (_, _, Reverse(host)) = slow.swap_remove(index);
        self.slow = slow.into();
        Some(host)
    }

    pub(super) fn remove(&mut self, host: HostNo) {
        self.others.retain(|other| *other != host);
        self.slow.retain(|(_, _, Reverse(other))| *other != host);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What the next polls are for while permits are limited.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// Names that are being looked up.
    pub(super) names: HashSet<HostHash>,
    /// The hosts of such names that have been looked up.
    pub(super) hosts: VecDeque<HostNo>,
}

impl Chosen {
    /// Replaces a name by its host, if it was chosen.
    pub(super) fn resolve(&mut self, name: HostHash, host: Option<HostNo>) {
        if self.names.remove(&name) {
            self.hosts.extend(host);
        }
    }
}

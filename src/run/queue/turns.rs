//! The hosts that are ready, in the order in which workers take from them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::mem;

use super::host::HostNo;
use crate::model::UnixTime;
use crate::store::PollTask;

/// Hosts with a task that may be taken at once, each once.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Hosts whose next task is slow, with the time since which it is due and its longest duration in milliseconds.
    slow: BinaryHeap<(Reverse<UnixTime>, u32, Reverse<HostNo>)>,
    /// The other hosts.
    others: VecDeque<HostNo>,
}

impl Turns {
    pub(super) fn len(&self) -> usize {
        self.slow.len() + self.others.len()
    }

    /// Adds a host whose next task is slow.
    pub(super) fn push_slow(&mut self, host: HostNo, task: &PollTask) {
        self.slow.push((Reverse(task.due), task.status.slowest_ms(), Reverse(host)));
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

    /// Removes the host that a random number leads to, a slow one only where there is no other.
    pub(super) fn pop_random(&mut self, random: usize) -> Option<HostNo> {
        if let Some(index) = random.checked_rem(self.others.len()) {
            return self.others.remove(index);
        }
        let index = random.checked_rem(self.slow.len())?;
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

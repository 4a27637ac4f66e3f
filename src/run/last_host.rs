//! When a run leaves the sites of its last host to the next run.
//!
//! While one slow host holds a run, no other site is polled: later runs decline. So once only its sites are left, they are
//! left to the next run. A host with many sites would then starve where each run has other sites to poll. So its sites are
//! polled all the same once they are a whole period late, but never for longer than half a period. No other site is
//! delayed by more than one period.

use std::time::Duration;

use super::queue::QueueView;
use crate::model::UnixTime;
use crate::retry::Policy;
use crate::store::{DueEntry, HostHash};

/// A run with one host left may always last this long.
const MIN_HOLD: Duration = Duration::from_secs(30);

/// Decides when the sites of the last host are left to the next run.
#[derive(Debug)]
pub(super) struct LastHostRule {
    /// Whether a site was due whose host has another name.
    had_others: bool,
    /// The host of the last connection, and how many at the end of the order are on it.
    tail: (HostHash, usize),
    /// A poll of this duration is slow.
    slow: Duration,
    /// For how long a run may last with one host left.
    hold: Duration,
    /// Since when new sites are due.
    new_due: UnixTime,
    /// Sites that have been due since this time, or longer, are late.
    late_since: UnixTime,
}

impl LastHostRule {
    /// The rule of a run at `now` in which `due` is due, in order. A poll is slow from `slow` on.
    pub(super) fn new(due: &[DueEntry], policy: &Policy, now: UnixTime, slow: Duration) -> Self {
        let host = due.last().map_or(0, |last| last.host);
        let tail = due.iter().rev().take_while(|entry| entry.host == host).count();
        let period = policy.usual_period();
        Self {
            had_others: tail < due.len(),
            tail: (host, tail),
            slow,
            hold: (period / 2).max(MIN_HOLD),
            new_due: policy.next_due(0, 0).unwrap_or(0),
            late_since: now.saturating_sub_unsigned(period.as_secs()),
        }
    }

    /// Whether the rest of the run's sites are left to the next run, at a time since the run began.
    ///
    /// `unloaded` is how many are due and not in the queue.
    pub(super) fn leaves(&self, at: Duration, queue: QueueView, unloaded: usize) -> bool {
        let Some(last) = queue.last_host else { return false };
        let Some(due) = last.due else { return false };
        let (tail_host, tail) = self.tail;
        let is_last = unloaded == 0 || (unloaded <= tail && last.host == tail_host);
        let is_late = due > self.new_due && due <= self.late_since;
        let had_others = self.had_others && !last.is_only;
        let holds_up_others = had_others && last.slowest >= self.slow && !is_late;
        is_last && (holds_up_others || at >= self.hold)
    }
}

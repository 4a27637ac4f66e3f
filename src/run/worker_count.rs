//! How many workers a run has if their number is automatic: a pure rule.
//!
//! A worker that waits for its site takes memory, but no processor time. So a run starts with few workers, and adds some as
//! long as sites wait that could be polled, all workers are busy, and the processors are not. Where other processes use them,
//! that is so while this one uses little itself. Workers are added so fast that slow sites hold up only the first tenths of
//! a second. No worker is taken away: idle ones take no processor time, and their memory may be needed again.

use std::time::Duration;

use super::machine::CpuTime;

/// How many workers start.
pub(super) const FIRST_WORKERS: usize = 32;
/// How many workers there are at most. More would not fit into the memory for them.
pub(super) const MOST_WORKERS: usize = 1024;
/// How often to decide.
pub(super) const DECISION_INTERVAL: Duration = Duration::from_millis(20);
/// From this share of the processors on, no worker is added.
const MAX_SHARE: f64 = 0.7;
/// By which factor the number grows at most at once.
const MAX_FACTOR: f64 = 8.0;
/// The time over which the share is averaged, once it was too large. Polls that end together are not the average.
const AVERAGE: Duration = Duration::from_millis(500);
/// An average over more time is not the share of today.
const STALE: Duration = Duration::from_secs(1);

/// Whether more workers would have something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Demand {
    /// How many workers there are.
    pub(super) workers: usize,
    /// How many of them poll.
    pub(super) polling: usize,
    /// How many hosts have a site that could be polled now.
    pub(super) ready: usize,
}

impl Demand {
    /// Whether sites wait although all workers poll, but for a few that may be about to take one.
    fn is_unmet(self) -> bool {
        self.ready > 0 && self.polling >= self.workers - self.few()
    }

    /// How many workers do no harm without something to do.
    fn few(self) -> usize {
        self.workers / 8
    }
}

/// Decides when workers are added, and how many.
#[derive(Debug)]
pub(super) struct WorkerCount {
    processors: u32,
    /// From when on the share of the processors is averaged.
    since: CpuTime,
    /// The shortest time over which it is averaged.
    window: Duration,
}

impl WorkerCount {
    /// A run whose workers have just started.
    pub(super) fn new(processors: u32, now: CpuTime) -> Self {
        Self { processors, since: now, window: DECISION_INTERVAL }
    }

    /// How many workers to add now, which is `at`.
    ///
    /// `room` returns how many are possible. It and `cpu` are called only if they matter.
    pub(super) fn more(
        &mut self,
        at: Duration,
        demand: Demand,
        cpu: impl FnOnce() -> CpuTime,
        room: impl FnOnce() -> usize,
    ) -> usize {
        let elapsed = at.saturating_sub(self.since.at);
        if !demand.is_unmet() || elapsed < self.window {
            return 0;
        }
        let now = cpu();
        if elapsed >= STALE {
            self.since = now;
            return 0;
        }
        let share = now.share_since(&self.since, self.processors);
        let more = if share < MAX_SHARE {
            // One host may have room for several polls.
            growth(demand.workers, share).min(demand.ready.max(demand.few())).min(room())
        } else {
            0
        };
        if more > 0 {
            (self.since, self.window) = (now, DECISION_INTERVAL);
        } else if elapsed >= AVERAGE {
            (self.since, self.window) = (now, AVERAGE);
        }
        more
    }
}

/// How many workers to add to those that use a share of the processors.
///
/// With them, all processors would be used. If only the rest up to [`MAX_SHARE`] were filled, that would be the share at
/// which a run stays.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small numbers"
)]
fn growth(workers: usize, share: f64) -> usize {
    let factor = (1.0 / share).min(MAX_FACTOR);
    (workers as f64 * (factor - 1.0)).ceil() as usize
}

#[cfg(test)]
mod tests;

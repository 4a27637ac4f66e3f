//! Brings next polls forward, so that each run of a job polls about as many sites as any other.
//!
//! Sites that were imported together, or that waited for the end of the same outage, would be polled together for ever. A
//! run that polls such a crowd moves a part of it to the runs within the next period that would poll the fewest. Only the
//! excess is moved, each poll once and only to an earlier run, so no site is polled later than before. Each level of the
//! retry expression is spread within its own period. Small crowds keep their exact times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::model::{PollStatus, UnixTime};
use crate::retry::Policy;

/// A run polls up to this many sites of a level without spreading them.
pub(super) const MAX_EXACT: u64 = 100;
/// A run may poll by this part more sites than the mean, in percent: less than what is noticed.
const TOLERANCE_PERCENT: u64 = 10;
/// Levels with more ticks in a period are not spread.
const MAX_TICKS: i64 = 1 << 16;

/// Where the next polls go of the sites that a run polls.
#[derive(Debug, Clone)]
pub struct Spread {
    policy: Policy,
    now: UnixTime,
    tick_s: i64,
    levels: Vec<LevelLoad>,
}

/// How many sites of a level are to be polled at each tick of the next period.
#[derive(Debug, Clone)]
struct LevelLoad {
    /// The time one period after `now`.
    natural: UnixTime,
    /// The sites at each tick after `now`, the last of which is the first from `natural` on.
    ///
    /// Empty if the level is not spread.
    by_tick: Vec<u64>,
    /// How many of the level's sites are due now, and how many are scheduled or due in all.
    due: u64,
    total: u64,
    /// The ticks but the last by their load, those with the lowest and of these the latest first; `None` until needed.
    emptiest: Option<BinaryHeap<(Reverse<u64>, usize)>>,
}

impl Spread {
    /// The spread of a run at `now` of a job whose runs begin every `tick_s` seconds, before any site was added.
    #[must_use]
    pub fn new(policy: &Policy, now: UnixTime, tick_s: i64) -> Self {
        let tick_s = tick_s.max(1);
        let level = |level: u32| {
            let natural = policy.next_due(level, now).unwrap_or(UnixTime::MAX);
            let ticks = ticks_until(policy, level, natural, now, tick_s);
            let is_spread = (2..=MAX_TICKS).contains(&ticks);
            let by_tick = if is_spread { vec![0; usize::try_from(ticks).unwrap_or(0)] } else { Vec::new() };
            LevelLoad { natural, by_tick, due: 0, total: 0, emptiest: None }
        };
        let count = u32::try_from(policy.levels().len()).unwrap_or(u32::MAX);
        Self { policy: policy.clone(), now, tick_s, levels: (0..count).map(level).collect() }
    }

    /// Adds a site with its status before the run, due or not. One that is given up, or deferred, has no part in it.
    pub fn add(&mut self, status: &PollStatus) {
        self.add_many(status, 1);
    }

    /// Adds `count` sites with the same status, as [`Spread::add`] does.
    pub fn add_many(&mut self, status: &PollStatus, count: u64) {
        let Some(due) = self.policy.next_due_of_status(status).filter(|_| status.not_before.is_none()) else { return };
        let is_due = self.policy.is_due(status, self.now);
        let ticks = ticks_until(&self.policy, status.level, due, self.now, self.tick_s);
        let Some(level) = self.levels.get_mut(status.level as usize) else { return };
        level.total += count;
        if is_due {
            level.due += count;
        } else if let Some(last) = level.by_tick.len().checked_sub(1) {
            level.by_tick[usize::try_from(ticks - 1).unwrap_or(0).min(last)] += count;
        }
    }

    /// Places up to `count` sites of which none need be brought forward, and returns how many.
    ///
    /// `next` is the status of each after this run. [`Spread::place`] would leave it as it is.
    pub fn place_unmoved(&mut self, next: &PollStatus, count: u64) -> u64 {
        let Some(level) = self.levels.get_mut(next.level as usize).filter(|_| next.not_before.is_none()) else {
            return count;
        };
        let Some(last) = level.by_tick.len().checked_sub(1) else { return count };
        let placed = count.min(level.limit().saturating_sub(level.by_tick[last]));
        level.by_tick[last] += placed;
        placed
    }

    /// Brings the next poll of a site forward if its run would poll too many. `next` is its status after this run.
    pub fn place(&mut self, next: &mut PollStatus) {
        if next.not_before.is_some() || next.last_run != self.now {
            return;
        }
        let Some(level) = self.levels.get_mut(next.level as usize) else { return };
        if let Some(tick) = level.place() {
            let at = self.now.saturating_add(self.tick_s.saturating_mul(i64::try_from(tick + 1).unwrap_or(i64::MAX)));
            next.early_s = u32::try_from(level.natural.saturating_sub(at)).unwrap_or(0);
        }
    }
}

/// The number of the first tick after `now` at which a site of a level is due that is next due at `due`, at least 1.
fn ticks_until(policy: &Policy, level: u32, due: UnixTime, now: UnixTime, tick_s: i64) -> i64 {
    let wait = due.saturating_sub(policy.leeway(level)).saturating_sub(now);
    (wait.saturating_add(tick_s - 1) / tick_s).max(1)
}

impl LevelLoad {
    /// The most sites that may be polled one period after `now`.
    fn limit(&self) -> u64 {
        let ticks = self.by_tick.len() as u64;
        let mean = self.total.div_ceil(ticks);
        let tolerated = (self.total * (100 + TOLERANCE_PERCENT) / (100 * ticks)).max(MAX_EXACT);
        if self.due > tolerated { mean } else { tolerated }
    }

    /// Places a site, and returns the index of the tick that it is brought forward to; `None` if it is not.
    fn place(&mut self) -> Option<usize> {
        let last = self.by_tick.len().checked_sub(1)?;
        if self.by_tick[last] >= self.limit() {
            let before = self.by_tick[..last].iter().enumerate();
            let emptiest =
                self.emptiest.get_or_insert_with(|| before.map(|(tick, load)| (Reverse(*load), tick)).collect());
            let mut first = emptiest.peek_mut()?;
            if first.0.0 < self.by_tick[last] {
                first.0.0 += 1;
                return Some(first.1);
            }
        }
        self.by_tick[last] += 1;
        None
    }
}

#[cfg(test)]
mod tests;

//! Brings next polls forward, so that each run of a job polls about as many sites as any other.
//!
//! Sites that were imported together, or that waited for the end of the same outage, would be polled together for ever. A
//! run that polls such a crowd moves a part of it to the runs within the next period that would poll the fewest. Only the
//! excess is moved, each poll once and only to an earlier run, so no site is polled later than before. Each level of the
//! retry expression is spread within its own period. Small crowds keep their exact times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use serde::{Deserialize, Serialize};

use crate::model::{PollStatus, UnixTime};
use crate::retry::Policy;

/// A run polls up to this many sites of a level without spreading them.
pub(super) const MAX_EXACT: u64 = 100;
/// By how much a run may exceed the mean before sites are spread, in percent.
const TOLERANCE_PERCENT: u64 = 10;
/// Levels with more ticks in a period are not spread.
const MAX_TICKS: usize = 1 << 20;

/// Decides when the sites that a run polls are polled next.
#[derive(Debug, Clone)]
pub struct Spread {
    policy: Policy,
    now: UnixTime,
    tick_s: i64,
    levels: Vec<LevelLoad>,
}

/// How many sites of each level a job has that are scheduled or due, as a run counted them.
///
/// The names of its fields are a part of the format of lock files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SiteCounts {
    pub(super) counted_at: UnixTime,
    pub(super) by_level: Vec<u64>,
}

/// How many sites of a level are to be polled at each tick of the next period.
#[derive(Debug, Clone)]
struct LevelLoad {
    /// How many ticks a period has; 0 if the level is not spread.
    ticks: usize,
    /// The sites at each of these ticks after `now`; empty before the first is added.
    ///
    /// At the last tick, a site that is polled now is due again. Most levels of a long expression have no sites.
    by_tick: Vec<u64>,
    /// How many of the level's sites are due now, and how many are scheduled or due in all.
    due: u64,
    total: u64,
    /// The ticks but the last, those with the fewest sites first; `None` until needed.
    ///
    /// Of several the latest comes first.
    emptiest: Option<BinaryHeap<(Reverse<u64>, usize)>>,
}

impl Spread {
    /// The spread of a run at `now`, before any site was added. Runs begin every `tick_s` seconds.
    #[must_use]
    pub fn new(policy: &Policy, now: UnixTime, tick_s: i64) -> Self {
        let tick_s = tick_s.max(1);
        let level = |level: u32| {
            let natural = policy.next_due(level, now).unwrap_or(UnixTime::MAX);
            let ticks = usize::try_from(ticks_until(policy, level, natural, now, tick_s)).unwrap_or(0);
            let ticks = if (2..=MAX_TICKS).contains(&ticks) { ticks } else { 0 };
            LevelLoad { ticks, by_tick: Vec::new(), due: 0, total: 0, emptiest: None }
        };
        let count = u32::try_from(policy.levels().len()).unwrap_or(u32::MAX);
        Self { policy: policy.clone(), now, tick_s, levels: (0..count).map(level).collect() }
    }

    /// The spread of a run in which about as many sites are due as in others.
    ///
    /// No site must be added, as `counts` are those of a run before. `None` if they cannot be used: `due` are due, which is
    /// a tenth more than the mean, or the counts are not of the last period of level 0.
    pub(super) fn of_usual_run(
        policy: &Policy,
        now: UnixTime,
        tick_s: i64,
        counts: &SiteCounts,
        due: u64,
    ) -> Option<Self> {
        let is_fresh = counts.counted_at <= now && policy.next_due(0, counts.counted_at).is_some_and(|end| now < end);
        if !is_fresh || counts.by_level.len() != policy.levels().len() {
            return None;
        }
        // The other sites are even enough, so it makes no difference where they are.
        let mut spread = Self::new(policy, now, tick_s);
        spread.levels.iter_mut().zip(&counts.by_level).for_each(|(level, total)| level.total = *total);
        let mean: u64 = spread.levels.iter().map(|level| level.total / level.ticks_per_period()).sum();
        (due <= mean.saturating_mul(100 + TOLERANCE_PERCENT) / 100).then_some(spread)
    }

    /// How many sites were added.
    pub(super) fn counts(&self) -> SiteCounts {
        SiteCounts { counted_at: self.now, by_level: self.levels.iter().map(|level| level.total).collect() }
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
        } else if let [by_tick @ .., last] = level.by_tick() {
            let tick = usize::try_from(ticks - 1).unwrap_or(0);
            *by_tick.get_mut(tick).unwrap_or(last) += count;
        }
    }

    /// Places up to `count` sites of which none need be brought forward, and returns how many.
    ///
    /// `next` is the status of each after this run. [`Spread::place`] would leave it as it is.
    pub fn place_unmoved(&mut self, next: &PollStatus, count: u64) -> u64 {
        let Some(level) = self.levels.get_mut(next.level as usize).filter(|_| next.not_before.is_none()) else {
            return count;
        };
        let limit = level.limit();
        let Some(last) = level.by_tick().last_mut() else { return count };
        let placed = count.min(limit.saturating_sub(*last));
        *last += placed;
        placed
    }

    /// Brings the next poll of a site forward if its run would poll too many. `next` is its status after this run.
    pub fn place(&mut self, next: &mut PollStatus) {
        let Self { policy, now, tick_s, levels } = self;
        if next.not_before.is_some() || next.last_run != *now {
            return;
        }
        if let Some(level) = levels.get_mut(next.level as usize)
            && let Some(early_s) = level.place(|ticks| early_for(policy, next.level, *now, *tick_s, ticks))
        {
            next.early_s = early_s;
        }
    }
}

/// How many ticks after `from` a run polls a site that is due at `due`; negative if before.
pub(super) fn ticks_until(policy: &Policy, level: u32, due: UnixTime, from: UnixTime, tick_s: i64) -> i64 {
    let wait = due.saturating_sub(policy.leeway(level)).saturating_sub(from);
    wait.saturating_add(tick_s - 1).div_euclid(tick_s)
}

/// By how many seconds the poll after that of `now` comes early if it is due after so many ticks.
///
/// `None` if no number leads there: after January, none leads to the last of March.
fn early_for(policy: &Policy, level: u32, now: UnixTime, tick_s: i64, ticks: i64) -> Option<u32> {
    let leeway = policy.leeway(level);
    // With short ticks, one would be due some ticks before its time.
    let slack = if leeway < tick_s { 0 } else { leeway };
    let due = now.saturating_add(tick_s.saturating_mul(ticks)).saturating_add(slack);
    let start = policy.levels().get(level as usize)?.period.before(due);
    let early_s = u32::try_from(now.saturating_sub(start)).ok()?;
    let due = policy.next_due_of_status(&PollStatus { level, last_run: now, early_s, ..PollStatus::default() })?;
    (ticks_until(policy, level, due, now, tick_s).max(1) == ticks && due > now).then_some(early_s)
}

impl LevelLoad {
    /// How many ticks a period has, at least 1.
    fn ticks_per_period(&self) -> u64 {
        self.ticks.max(1) as u64
    }

    /// The sites at each tick; empty if the level is not spread.
    fn by_tick(&mut self) -> &mut [u64] {
        self.by_tick.resize(self.ticks, 0);
        &mut self.by_tick
    }

    /// The most sites that may be polled one period after `now`.
    fn limit(&self) -> u64 {
        let tolerated =
            (self.total.saturating_mul(100 + TOLERANCE_PERCENT) / (100 * self.ticks_per_period())).max(MAX_EXACT);
        if self.due > tolerated { self.total.div_ceil(self.ticks_per_period()) } else { tolerated }
    }

    /// Places a site, and returns by how many seconds it is brought forward; `None` if it is not.
    ///
    /// `early_for` returns by how many seconds one is brought forward to a number of ticks; `None` if that cannot be.
    fn place(&mut self, early_for: impl Fn(i64) -> Option<u32>) -> Option<u32> {
        let last = self.by_tick().len().checked_sub(1)?;
        if self.by_tick[last] >= self.limit() {
            let before = self.by_tick[..last].iter().enumerate();
            let emptiest =
                self.emptiest.get_or_insert_with(|| before.map(|(tick, load)| (Reverse(*load), tick)).collect());
            while let Some(mut first) = emptiest.peek_mut().filter(|first| first.0.0 < self.by_tick[last]) {
                let early_s = i64::try_from(first.1 + 1).ok().and_then(&early_for);
                if early_s.is_some() {
                    first.0.0 += 1;
                    return early_s;
                }
                PeekMut::pop(first);
            }
        }
        self.by_tick[last] += 1;
        None
    }
}

#[cfg(test)]
mod tests;

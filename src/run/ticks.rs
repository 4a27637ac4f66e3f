//! The times at which cron starts the runs of a job.

use serde::{Deserialize, Serialize};

use crate::model::UnixTime;
use crate::store::{Job, StateCounts};
use crate::util::time::DAY_S;

/// The usual tick of a job of which too few runs are known, in seconds.
const DEFAULT_TICK_S: i64 = 300;
/// How much later or earlier than its minute cron starts a run at most, in seconds.
const MAX_JITTER_S: i64 = 5;
/// How many starts are kept.
const KEPT: usize = 9;
/// With fewer intervals between starts, the usual tick is not known.
const MIN_INTERVALS: usize = 3;
/// Uneven intervals repeat after at most so many runs.
const MAX_REPEATED: usize = 4;
/// The shortest stop, in usual ticks.
const MIN_STOP_TICKS: i64 = 3;
/// A shorter stop, such as a restart of the machine, is not worth a report, in seconds.
const MIN_STOP_S: i64 = 600;
/// With fewer starts before it no stop is known: the job may be run by hand from time to time.
const MIN_STARTS: usize = 4;

/// When the last runs of a job and batch began, in order; those that found nothing due are among them.
///
/// The times are those of the schedule. They are a part of the format of lock files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticks(Vec<UnixTime>);

impl Ticks {
    /// Adds a run that begins at `now`. Starts that are not before `now` show a wrong clock, and are dropped.
    pub fn add(&mut self, now: UnixTime) {
        self.0.retain(|start| *start < now);
        self.0.push(now);
        self.0.drain(..self.0.len().saturating_sub(KEPT));
    }

    /// The first start after `now` of runs that go on at the usual tick.
    ///
    /// Where no run is known, runs start at multiples of the usual tick, as cron starts them.
    #[must_use]
    pub fn next_after(&self, now: UnixTime) -> UnixTime {
        let tick_s = self.usual_s();
        let since = now.saturating_sub(self.last().unwrap_or(0)).rem_euclid(tick_s);
        now.saturating_add(tick_s - since)
    }

    /// The start of the last run; `None` if none is known.
    #[must_use]
    pub fn last(&self) -> Option<UnixTime> {
        self.0.last().copied()
    }

    /// The seconds between the last two runs; `None` unless two are known.
    #[must_use]
    pub fn gap_s(&self) -> Option<i64> {
        self.0.last_chunk().map(|[before, last]| last.saturating_sub(*before))
    }

    /// The stop before the last run; `None` if there was none, or if it is not known how often runs begin.
    ///
    /// `ended` is when the run before that ended; `None` if it is not known.
    pub(super) fn stop(&self, ended: Option<UnixTime>) -> Option<Stop> {
        let [from, to] = *self.0.last_chunk()?;
        let idle_since = ended.filter(|ended| (from..=to).contains(ended)).unwrap_or(from);
        let min_s = self.usual_s().saturating_mul(MIN_STOP_TICKS).max(MIN_STOP_S);
        let is_stop = self.0.len() > MIN_STARTS && to.saturating_sub(idle_since) >= min_s;
        is_stop.then_some(Stop { from, to })
    }

    /// The usual tick: the median of the seconds between two runs, at least 1.
    ///
    /// Five minutes until three such intervals are known. Where two crontab lines start runs at uneven intervals, it is that
    /// after which they repeat. Cron starts runs each so many minutes, but not on the second, so it is a number of minutes
    /// where it is near one.
    #[must_use]
    pub fn usual_s(&self) -> i64 {
        let Some((median, is_usual)) = self.median_over(1) else { return DEFAULT_TICK_S };
        let repeated = || (2..=MAX_REPEATED).find_map(|runs| self.median_over(runs).filter(|(_, is_usual)| *is_usual));
        let median = if is_usual { median } else { repeated().map_or(median, |(median, _)| median) };
        let minutes = median.saturating_add(30) / 60 * 60;
        let is_near = (median - minutes).abs() <= (median / 20).min(MAX_JITTER_S);
        if is_near { minutes } else { median }.max(1)
    }

    /// The median of the seconds between a run and the one so many runs later, and whether it is usual.
    ///
    /// That is, whether most intervals are near it, or all if there are runs between. `None` if few intervals are known.
    fn median_over(&self, runs: usize) -> Option<(i64, bool)> {
        let ends = self.0.windows(runs + 1);
        let mut intervals: Vec<_> = ends.map(|starts| starts[runs].saturating_sub(starts[0])).collect();
        intervals.sort_unstable();
        let median = *intervals.get(intervals.len() / 2).filter(|_| intervals.len() >= MIN_INTERVALS)?;
        let near = intervals.iter().filter(|interval| (*interval - median).abs() <= 2 * MAX_JITTER_S).count();
        let is_usual = if runs == 1 { 8 * near >= 5 * intervals.len() } else { near == intervals.len() };
        Some((median, is_usual))
    }
}

/// Returns since when no run of a job has begun although connections were due.
///
/// One is overdue at `now` if the first of them became due more than `limit_s` seconds ago, and the last run began more than
/// `limit_s` seconds ago. `None` if none is overdue, or if a run is active.
#[must_use]
pub fn no_run_since(job: &Job, counts: &StateCounts, is_active: bool, now: UnixTime, limit_s: i64) -> Option<UnixTime> {
    let since = counts.due_since?.max(job.last_run.as_ref()?.now);
    (!is_active && now.saturating_sub(since) > limit_s).then_some(since)
}

/// A time in which no run of a job began. A part of the format of lock files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stop {
    /// When the last run before it began.
    pub(super) from: UnixTime,
    /// When the first run after it began.
    pub(super) to: UnixTime,
}

impl Stop {
    /// Whether it is a part of the schedule, as nights are where cron starts runs by day.
    ///
    /// Then the stop before it began and ended at the same times of the day, and ended less than a day before this one.
    pub(super) fn repeats(self, before: Self, tick_s: i64) -> bool {
        let is_same_time = |a: UnixTime, b: UnixTime| {
            let apart_s = a.saturating_sub(b).rem_euclid(DAY_S);
            apart_s.min(DAY_S - apart_s) <= tick_s
        };
        let is_next = (0..DAY_S).contains(&self.from.saturating_sub(before.to));
        is_next && is_same_time(self.from, before.from) && is_same_time(self.to, before.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::JobName;
    use crate::store::RunRecord;

    fn ticks(starts: &[UnixTime]) -> Ticks {
        let mut ticks = Ticks::default();
        for start in starts {
            ticks.add(*start);
        }
        ticks
    }

    #[test]
    fn the_usual_tick_is_the_median_of_the_last_intervals() {
        assert_eq!(ticks(&[]).usual_s(), 300);
        assert_eq!(ticks(&[600, 1200, 1800]).usual_s(), 300, "two intervals are too few");
        assert_eq!(ticks(&[600, 1200, 1800, 2400]).usual_s(), 600);
        let stop = ticks(&[0, 60, 120, 180, 200_000, 200_060, 200_090]);
        assert_eq!((stop.usual_s(), stop.last()), (60, Some(200_090)), "a stop and a run by hand are rare");
        let slower: Vec<_> = (0..20).map(|tick| tick * 60).chain((20..30).map(|tick| tick * 1000)).collect();
        assert_eq!(ticks(&slower).usual_s(), 1000, "former intervals are dropped");
        let by_hand = ticks(&[0, 300, 600, 700, 900, 1200, 1330, 1500, 1800]);
        assert_eq!(by_hand.usual_s(), 300, "runs by hand repeat nothing");
        let lines = ticks(&[0, 60, 300, 900, 960, 1200, 1800, 1860, 2100]);
        assert_eq!(lines.usual_s(), 900, "three uneven intervals");
        for (first, second, usual) in [(297, 304, 300), (58, 63, 60), (20, 20, 20), (95, 95, 95), (60, 240, 300)] {
            let jitter: Vec<_> = (0..9).map(|tick| tick / 2 * (first + second) + tick % 2 * first).collect();
            assert_eq!(ticks(&jitter).usual_s(), usual, "{first} and {second} s");
        }
    }

    #[test]
    fn three_missing_ticks_are_a_stop() {
        let stop = |starts: &[UnixTime], ended| ticks(starts).stop(ended).map(|stop| (stop.from, stop.to));
        let stopped = [0, 300, 600, 900, 1800];
        assert_eq!(stop(&stopped, None), Some((900, 1800)));
        assert_eq!(stop(&[0, 300, 600, 900, 1799], None), None);
        assert_eq!(stop(&[300, 600, 900, 1800], None), None, "too few starts are known");
        assert_eq!(stop(&stopped, Some(901)), None, "a run was active meanwhile");
        assert_eq!(stop(&stopped, Some(300)), Some((900, 1800)), "this is of another run");
        assert_eq!(stop(&[0, 60, 120, 180, 779], None), None, "a restart of the machine takes that long");
        assert_eq!(stop(&[0, 60, 120, 180, 780], None), Some((180, 780)));
    }

    #[test]
    fn a_stop_of_each_night_is_a_part_of_the_schedule() {
        let hours = |from: i64, to: i64| Stop { from: from * 3600, to: to * 3600 };
        let night = hours(18, 32);
        for (later, repeats) in [
            (hours(42, 56), true),
            (Stop { from: 42 * 3600 - 300, ..hours(42, 56) }, true),
            (hours(42, 56 + 48), true),
            (hours(41, 56), false),
            (hours(42, 57), false),
            (hours(66, 80), false),
        ] {
            assert_eq!(later.repeats(night, 300), repeats, "{later:?}");
        }
        assert!(hours(24, 38).repeats(Stop { from: -300, to: 14 * 3600 }, 300), "a little before and after midnight");
        assert!(!night.repeats(night, 300));
    }

    #[test]
    fn starts_of_a_wrong_clock_are_dropped() {
        assert_eq!(ticks(&[60, 120, 90_000, 180]), ticks(&[60, 120, 180]));
        assert_eq!(ticks(&[60, 60]), ticks(&[60]));
    }

    #[test]
    fn the_next_start_is_a_whole_number_of_ticks_after_the_last() {
        let known = ticks(&[7, 607, 1207, 1807]);
        assert_eq!([1806, 1807, 1808, 2406, 2407].map(|now| known.next_after(now)), [1807, 2407, 2407, 2407, 3007]);
        assert_eq!([0, 299, 300].map(|now| ticks(&[]).next_after(now)), [300, 300, 600], "as cron starts them");
        assert_eq!(ticks(&[7]).next_after(400), 607);
    }

    #[test]
    fn a_run_is_overdue_if_connections_wait_and_none_begins() {
        let since = |due_since, last_run: Option<UnixTime>, is_active: bool| {
            let mut job = Job::unknown(1, 1, JobName::default());
            job.last_run = last_run.map(|now| RunRecord { now, ..RunRecord::default() });
            no_run_since(&job, &StateCounts { due_since, ..StateCounts::default() }, is_active, 1000, 100)
        };
        assert_eq!(since(Some(700), Some(800), false), Some(800));
        assert_eq!(since(Some(899), Some(800), false), Some(899));
        assert_eq!(since(Some(900), Some(800), false), None, "they are due for no longer than the limit");
        assert_eq!(since(Some(700), Some(900), false), None, "the last run began within the limit");
        assert_eq!(since(None, Some(100), false), None, "nothing is due");
        assert_eq!(since(Some(700), None, false), None, "no run was ever recorded");
        assert_eq!(since(Some(700), Some(800), true), None, "a run is active");
    }
}

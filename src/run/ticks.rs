//! The times at which cron starts the runs of a job.

use serde::{Deserialize, Serialize};

use crate::model::UnixTime;

/// The usual tick of a job of which too few runs are known, in seconds.
const DEFAULT_TICK_S: i64 = 300;
/// How many starts are kept.
const KEPT: usize = 9;
/// With fewer intervals between starts, the usual tick is not known.
const MIN_INTERVALS: usize = 3;

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

    /// The usual tick: the median of the seconds between two runs, at least 1.
    ///
    /// Five minutes until three such intervals are known.
    #[must_use]
    pub fn usual_s(&self) -> i64 {
        let mut intervals: Vec<_> = self.0.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
        if intervals.len() < MIN_INTERVALS {
            return DEFAULT_TICK_S;
        }
        intervals.sort_unstable();
        intervals[intervals.len() / 2].max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(starts: &[UnixTime]) -> Ticks {
        let mut ticks = Ticks::default();
        starts.iter().for_each(|start| ticks.add(*start));
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
}

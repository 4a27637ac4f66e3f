//! The times at which cron starts the runs of a job.

use serde::{Deserialize, Serialize};

use crate::model::UnixTime;

/// The usual tick of a job of which too few runs are known, in seconds.
const DEFAULT_TICK_S: i64 = 300;
/// How much later or earlier than usual cron starts a run, in seconds.
const MAX_JITTER_S: i64 = 5;
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

    /// The start of the last run; `None` if none is known.
    #[must_use]
    pub fn last(&self) -> Option<UnixTime> {
        self.0.last().copied()
    }

    /// The usual tick: the median of the seconds between two runs, at least 1.
    ///
    /// Five minutes until three such intervals are known. Cron starts runs each so many minutes, but not on the second, so
    /// it is a number of minutes where it is near one.
    #[must_use]
    pub fn usual_s(&self) -> i64 {
        let mut intervals: Vec<_> = self.0.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
        if intervals.len() < MIN_INTERVALS {
            return DEFAULT_TICK_S;
        }
        intervals.sort_unstable();
        let median = intervals[intervals.len() / 2];
        let minutes = (median + 30) / 60 * 60;
        let is_near = (median - minutes).abs() <= (median / 20).min(MAX_JITTER_S);
        if is_near { minutes } else { median }.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for (first, second, usual) in [(297, 304, 300), (58, 63, 60), (20, 20, 20), (95, 95, 95)] {
            let jitter: Vec<_> = (0..9).map(|tick| tick / 2 * (first + second) + tick % 2 * first).collect();
            assert_eq!(ticks(&jitter).usual_s(), usual, "{first} and {second} s");
        }
    }

    #[test]
    fn starts_of_a_wrong_clock_are_dropped() {
        assert_eq!(ticks(&[60, 120, 90_000, 180]), ticks(&[60, 120, 180]));
        assert_eq!(ticks(&[60, 60]), ticks(&[60]));
    }
}

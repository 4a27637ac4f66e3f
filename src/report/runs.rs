//! What the runs of a job did.

use std::time::Duration;

use super::data::RunHealth;
use crate::exit;
use crate::model::{Lateness, UnixTime};
use crate::store::RunEntry;

/// How many of the runs that ended in an outage are listed.
const MAX_OUTAGES: usize = 20;

impl RunHealth {
    /// The health of the runs from `from` to `to`, of a job with this usual period.
    pub(super) fn of(runs: &[RunEntry], period: Duration, from: UnixTime, to: UnixTime) -> Self {
        let runs: Vec<_> = runs.iter().filter(|entry| (from..=to).contains(&entry.run.now)).collect();
        let is_late = |entry: &&&RunEntry| {
            let is_late = |lateness: Lateness| u64::from(lateness.p95) >= period.as_secs();
            entry.run.behind_since.is_some() || entry.run.lateness_s.is_some_and(is_late)
        };
        let count = |counts: &dyn Fn(&&&RunEntry) -> bool| runs.iter().filter(counts).count() as u64;
        let outages = runs.iter().rev().filter(|entry| entry.run.outage);
        let lateness: Vec<_> = runs.iter().filter_map(|entry| entry.run.lateness_s).collect();
        let median = |of: fn(&Lateness) -> u32| percentile(lateness.iter().map(of).collect(), 50);
        let elapsed: Vec<_> = runs.iter().map(|entry| entry.run.elapsed_ms).collect();
        let elapsed = |percent| percentile(elapsed.clone(), percent);
        Self {
            total: runs.len() as u64,
            late: count(&is_late),
            own_outages: count(&|entry| entry.run.outage),
            outages: outages.take(MAX_OUTAGES).map(|entry| (entry.run.now, entry.run.outage_cause)).collect(),
            failed: count(&|entry| !entry.run.outage && entry.exit_code != exit::OK),
            elapsed_ms: elapsed(50).zip(elapsed(95)).zip(elapsed(100)).map(|((p50, p95), max)| (p50, p95, max)),
            lateness_s: median(|late| late.p50).zip(median(|late| late.p95)).map(|(p50, p95)| Lateness {
                p50,
                p95,
                max: lateness.iter().map(|late| late.max).max().unwrap_or(p95),
            }),
        }
    }
}

/// The smallest value that is at least as large as this part of all; `None` if there are none.
fn percentile<T: Ord + Copy>(mut values: Vec<T>, percent: usize) -> Option<T> {
    values.sort_unstable();
    values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RunRecord;

    #[test]
    fn runs_are_counted_by_how_they_went() {
        let lateness = |p95| Some(Lateness { p50: p95 / 2, p95, max: p95 * 2 });
        let run = |now, lateness_s, exit_code| RunEntry {
            run: RunRecord { now, lateness_s, elapsed_ms: 10, ..RunRecord::default() },
            exit_code,
        };
        let mut runs = vec![run(0, None, 1), run(1, lateness(59), 0), run(2, lateness(60), 0), run(3, lateness(8), 74)];
        let behind = RunRecord { now: 4, behind_since: Some(1), elapsed_ms: 20, ..RunRecord::default() };
        runs.push(RunEntry { run: behind, exit_code: exit::OK });
        let outage = |now| RunRecord { now, outage: true, elapsed_ms: 40, ..RunRecord::default() };
        runs.extend((5..30).map(|now| RunEntry { run: outage(now), exit_code: exit::OWN_OUTAGE }));
        runs.push(run(31, None, 1));
        let health = RunHealth::of(&runs, Duration::from_secs(60), 1, 30);
        assert_eq!((health.total, health.late, health.own_outages, health.failed), (29, 2, 25, 1));
        let outages: Vec<_> = health.outages.iter().map(|(at, _)| *at).collect();
        assert_eq!(outages, (10..30).rev().collect::<Vec<_>>());
        assert_eq!(health.elapsed_ms, Some((40, 40, 40)));
        assert_eq!(health.lateness_s, Some(Lateness { p50: 29, p95: 59, max: 120 }));
        assert_eq!([1, 50, 51, 100].map(|percent| percentile(vec![4, 1, 3, 2], percent)), [1, 2, 3, 4].map(Some));
        assert_eq!(percentile(Vec::<u64>::new(), 50), None);
    }
}

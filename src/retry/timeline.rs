//! The polls of a site that always fails, and warnings about unusual expressions.

use super::{Policy, Times};
use crate::model::UnixTime;

/// When a site that always fails is polled, and when it is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// One step per level, in order.
    pub steps: Vec<Step>,
    /// Seconds from the first poll to the one after which the site is given up; `None` if it never is.
    pub gives_up_after: Option<i64>,
}

/// The polls of one level. Offsets are seconds since the first poll of all, and saturate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The index of the level.
    pub level: u32,
    /// The number of polls.
    pub times: Times,
    /// The offset of the first poll.
    pub first: i64,
    /// The offset of the last poll; `None` if there is no last one.
    pub last: Option<i64>,
}

impl Timeline {
    /// Makes the timeline of a site whose first poll is at `base`.
    ///
    /// `base` determines the lengths of months and years. The site is polled as soon as it is due, as if cron started a
    /// run every second.
    #[must_use]
    pub fn new(policy: &Policy, base: UnixTime) -> Self {
        let offset = |at: UnixTime| at.saturating_sub(base);
        // The last poll of the level before; `None` at the first level.
        let mut previous = None;
        let steps: Vec<_> = (0..)
            .zip(policy.levels())
            .map(|(level, rule)| {
                let first = previous.map_or(base, |at| rule.period.after(at));
                let last = match rule.times {
                    Times::Count(times) => Some(rule.period.after_times(first, times.get() - 1)),
                    Times::Forever => None,
                };
                previous = last;
                Step { level, times: rule.times, first: offset(first), last: last.map(offset) }
            })
            .collect();
        Self { gives_up_after: steps.last().and_then(|step| step.last), steps }
    }
}

/// Warnings about what is probably a mistake in an expression, each without a full stop.
#[must_use]
pub fn warnings(policy: &Policy) -> Vec<String> {
    const CRON_SECONDS: i64 = 5 * 60;
    const DAY_SECONDS: i64 = 86_400;

    let levels = policy.levels();
    let mut warnings = Vec::new();
    for level in levels.iter().filter(|level| level.period.mean_seconds() < CRON_SECONDS) {
        warnings.push(format!("'{level}' is shorter than the five minutes at which cron usually starts a run"));
    }
    for pair in levels.windows(2).filter(|pair| pair[0].period.mean_seconds() == pair[1].period.mean_seconds()) {
        warnings.push(format!("'{}' has the same period as '{}' before it", pair[1], pair[0]));
    }
    // No month is as short as a day, so the base does not matter.
    if Timeline::new(policy, 0).gives_up_after.is_some_and(|seconds| seconds < DAY_SECONDS) {
        warnings.push("a site that fails is given up within a day".to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-01T00:00:00Z
    const BASE: UnixTime = 1_767_225_600;

    fn timeline(text: &str) -> Timeline {
        Timeline::new(&text.parse().unwrap(), BASE)
    }

    fn offsets(timeline: &Timeline) -> Vec<(i64, Option<i64>)> {
        timeline.steps.iter().map(|step| (step.first, step.last)).collect()
    }

    #[test]
    fn offsets_of_the_default() {
        let timeline = Timeline::new(&Policy::default(), BASE);
        let (hour, day) = (3_600, 86_400);
        assert_eq!(offsets(&timeline), [(0, Some(47 * hour)), (47 * hour + day, Some(47 * hour + 90 * day))]);
        assert_eq!(timeline.gives_up_after, Some(47 * hour + 90 * day));
    }

    #[test]
    fn months_have_their_calendar_lengths() {
        let day = 86_400;
        let months = timeline("1 day (x31); 1 month (x2); 1 year (x*)");
        // January 31, the last of February and March 28, and March 28 of the year after.
        assert_eq!(offsets(&months), [(0, Some(30 * day)), (58 * day, Some(86 * day)), ((86 + 365) * day, None)]);
        assert_eq!(months.gives_up_after, None);
    }

    #[test]
    fn billions_of_polls_are_computed_at_once() {
        assert_eq!(timeline("1 sec (x4000000000)").gives_up_after, Some(3_999_999_999));
        assert!(timeline("1 month (x4000000000); 10000 year (x4000000000)").gives_up_after.is_some());
    }

    #[test]
    fn a_replay_of_the_policy_gives_the_same_timeline() {
        for text in ["20 min (x6); 1 hour (x24); 1 day (x30)", "2 hour (x1); 31 day (x1); 1 month (x20); 1 year (x9)"] {
            let policy: Policy = text.parse().unwrap();
            let (mut at, mut level, mut count) = (BASE, 0, 0);
            let mut polls: Vec<Vec<i64>> = Vec::new();
            // More polls than any of these expressions allows.
            for _ in 0..100 {
                polls.resize(level as usize + 1, Vec::new());
                polls[level as usize].push(at - BASE);
                (level, count) = policy.next(level, count, false);
                let Some(next) = policy.next_due(level, at) else { break };
                at = next;
            }
            let replayed: Vec<_> = polls.iter().map(|polls| (polls[0], polls.last().copied())).collect();
            assert_eq!(offsets(&timeline(text)), replayed, "{text}");
            assert_eq!(timeline(text).gives_up_after, Some(at - BASE));
        }
    }

    #[test]
    fn unusual_expressions_have_warnings() {
        for (text, expected) in [
            ("1 hour (x48); 1 day (x90)", &[][..]),
            ("5 min (x*)", &[]),
            (
                "5 min (x300); 60 min (x2); 1 hour (x2)",
                &["'1 hour (x2)' has the same period as '60 min (x2)' before it"],
            ),
            (
                "299 sec (x1000)",
                &["'299 sec (x1000)' is shorter than the five minutes at which cron usually starts a run"],
            ),
            ("1 day (x1)", &["a site that fails is given up within a day"]),
            ("1 day (x2)", &[]),
            (
                "1 sec (x100)",
                &[
                    "'1 sec (x100)' is shorter than the five minutes at which cron usually starts a run",
                    "a site that fails is given up within a day",
                ],
            ),
        ] {
            assert_eq!(warnings(&text.parse().unwrap()), expected, "{text}");
        }
    }
}

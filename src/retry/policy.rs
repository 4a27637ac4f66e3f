//! The levels of a retry expression, and the status that an outcome leads to.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use super::Period;
use crate::model::{Failure, Outcome, PollStatus, UnixTime};

/// How many failures in a row a level allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Times {
    /// This many. Then the next level follows.
    Count(NonZeroU32),
    /// Any number. Only a success ends the level.
    Forever,
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(times) => write!(f, "x{times}"),
            Self::Forever => f.write_str("x*"),
        }
    }
}

/// One level of an expression: `20 min (x6)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Level {
    /// The time between two polls of a site at this level.
    pub period: Period,
    /// The failures in a row after which the next level follows.
    pub times: Times,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.period, self.times)
    }
}

/// A retry expression: at least one level, and only the last may be [`Times::Forever`].
///
/// It is made by parsing. Its printed text is parsed to the same policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Policy {
    pub(super) levels: Vec<Level>,
}

impl Default for Policy {
    /// `1 hour (x48); 1 day (x90)`.
    fn default() -> Self {
        // A test proves that it is valid.
        "1 hour (x48); 1 day (x90)".parse().expect("a valid expression")
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, level) in self.levels.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{level}")?;
        }
        Ok(())
    }
}

impl Policy {
    /// How many deferrals in a row are not counted. The next one counts as a failure.
    const UNCOUNTED_DEFERRALS: u8 = 2;

    /// The levels in order. A site whose level is not among them is given up.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// The mean period of level 0: the usual time between two polls of a healthy site.
    #[must_use]
    pub fn usual_period(&self) -> Duration {
        let seconds = self.levels.first().map_or(0, |level| level.period.mean_seconds());
        Duration::from_secs(seconds.unsigned_abs())
    }

    /// The level of an index; `None` if a site is given up.
    pub(super) fn level(&self, level: u32) -> Option<&Level> {
        self.levels.get(usize::try_from(level).ok()?)
    }

    /// The level and count that an outcome leads to.
    ///
    /// A success leads to (0, 0). A failure at level L with count c leads to (L, c + 1) if c + 1 < times(L), else to
    /// (L + 1, 0). So does a failure at a level beyond the expression. A failure never ends a level of `(x*)`.
    #[must_use]
    pub fn next(&self, level: u32, count: u32, ok: bool) -> (u32, u32) {
        if ok {
            return (0, 0);
        }
        let failures = count.saturating_add(1);
        let stays = self.level(level).is_some_and(|level| match level.times {
            Times::Count(times) => failures < times.get(),
            Times::Forever => true,
        });
        if stays { (level, failures) } else { (level.saturating_add(1), 0) }
    }

    /// Records the outcome of a poll by the run of `now`, in the schedule and the history.
    ///
    /// A failure with a `retry_after` is a deferral. It is not counted, and the site is not due before the later of the
    /// time that it asked for and its next time by the level. The third deferral in a row counts as a failure.
    pub fn apply(&self, status: &mut PollStatus, now: UnixTime, outcome: &Outcome) {
        (status.last_run, status.early_s, status.last_poll) = (now, 0, None);
        match outcome {
            Err(Failure { retry_after: Some(seconds), .. }) if status.deferrals < Self::UNCOUNTED_DEFERRALS => {
                let asked = now.saturating_add((*seconds).into());
                // `None`, for a site that is given up, is less than any time.
                status.not_before = self.next_due(status.level, now).max(Some(asked));
                status.deferrals += 1;
            }
            _ => {
                (status.level, status.count) = self.next(status.level, status.count, outcome.is_ok());
                status.not_before = None;
                status.deferrals = 0;
            }
        }
        status.remember(now, outcome);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::FailureClass;
    use crate::retry::period::tests::any_period;

    pub(crate) fn any_policy() -> impl Strategy<Value = Policy> {
        let count = prop_oneof![1_u32..20, any::<u32>()].prop_filter_map("zero", NonZeroU32::new);
        let level = (any_period(), count).prop_map(|(period, times)| Level { period, times: Times::Count(times) });
        (prop::collection::vec(level, 1..5), any::<bool>()).prop_map(|(mut levels, forever)| {
            if forever {
                levels.last_mut().unwrap().times = Times::Forever;
            }
            Policy { levels }
        })
    }

    fn policy(text: &str) -> Policy {
        text.parse().unwrap()
    }

    pub(crate) fn deferral(seconds: u32) -> Outcome {
        Err(Failure { retry_after: Some(seconds), ..Failure::new(FailureClass::Http, "status 503") })
    }

    #[test]
    fn default_is_the_documented_one() {
        assert_eq!(Policy::default().to_string(), "1 hour (x48); 1 day (x90)");
    }

    #[test]
    fn failures_lead_through_the_levels() {
        let policy = policy("20 min (x6); 1 hour (x1); 1 day (x*)");
        for (from, to) in [
            ((0, 0), (0, 1)),
            ((0, 4), (0, 5)),
            ((0, 5), (1, 0)),
            ((0, 90), (1, 0)),
            ((1, 0), (2, 0)),
            ((2, 0), (2, 1)),
            ((2, u32::MAX), (2, u32::MAX)),
            ((3, 0), (4, 0)),
            ((7, 7), (8, 0)),
            ((u32::MAX, 0), (u32::MAX, 0)),
        ] {
            assert_eq!(policy.next(from.0, from.1, false), to, "{from:?}");
            assert_eq!(policy.next(from.0, from.1, true), (0, 0));
        }
    }

    #[test]
    fn two_deferrals_are_not_counted_and_the_third_is() {
        let policy = policy("1 hour (x48)");
        let mut status = PollStatus { count: 3, ..PollStatus::default() };
        let mut seen = Vec::new();
        for (now, seconds) in [(10_000, 60), (20_000, 7_200), (30_000, 60), (40_000, 60)] {
            policy.apply(&mut status, now, &deferral(seconds));
            seen.push((status.last_run, status.count, status.deferrals, status.not_before));
        }
        assert_eq!(
            seen,
            [
                (10_000, 3, 1, Some(13_600)),
                (20_000, 3, 2, Some(27_200)),
                (30_000, 4, 0, None),
                (40_000, 4, 1, Some(43_600))
            ]
        );
        assert_eq!(status.attempts.len(), 4);

        policy.apply(&mut status, 50_000, &Ok(()));
        assert_eq!((status.count, status.deferrals, status.not_before), (0, 0, None));
        assert_eq!((status.last_success, status.last_run), (Some(50_000), 50_000));
    }

    #[test]
    fn a_deferral_leaves_a_given_up_site_given_up() {
        let mut status = PollStatus { level: 1, ..PollStatus::default() };
        policy("1 hour (x48)").apply(&mut status, 1_000, &deferral(60));
        assert_eq!((status.level, status.not_before), (1, Some(1_060)));
    }

    proptest! {
        #[test]
        fn failing_site_is_given_up_after_the_sum_of_the_counts(counts in prop::collection::vec(1_u32..50, 1..6)) {
            let levels: Vec<_> = counts.iter().map(|count| format!("1 hour (x{count})")).collect();
            let policy = policy(&levels.join(";"));
            let (mut level, mut count, mut failures) = (0, 0, 0);
            while policy.level(level).is_some() {
                (level, count) = policy.next(level, count, false);
                failures += 1;
                // No five levels of at most 49 failures take more.
                prop_assert!(failures <= 5 * 49);
            }
            prop_assert_eq!(failures, counts.iter().sum::<u32>());
            prop_assert_eq!(count, 0);
        }
    }
}

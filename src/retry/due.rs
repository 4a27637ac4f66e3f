//! When a site is due.

use std::ops::RangeInclusive;

use super::{Level, Period, Policy};
use crate::model::{PollStatus, UnixTime};

/// The two ranges of an index by `last_run` in which the due sites of one level are.
///
/// One range ends at `past` and the other starts at `future`, both included. They never overlap. Not all sites in them
/// are due: see [`Policy::is_due`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanBounds {
    /// The latest `last_run` of a due site that was polled in the past.
    pub past: UnixTime,
    /// The earliest `last_run` of a site that is due because the clock was wrong.
    pub future: UnixTime,
}

/// The lateness of a new site, as [`Policy::permille_late`] returns it.
pub const NEW_PERMILLE_LATE: u32 = u32::MAX;

/// The most seconds by which a site counts as due early.
pub const MAX_LEEWAY_S: i64 = 30;

/// A `last_run` that is more seconds ahead was written by a wrong clock.
///
/// Two servers may differ by less, and a correction of the clock may be less.
const MAX_AHEAD_S: i64 = 300;

/// How many seconds early a site counts as due: `min(period / 20, 30 s)`.
///
/// Cron does not start a run exactly on the second.
fn leeway(period: Period) -> i64 {
    (period.mean_seconds() / 20).min(MAX_LEEWAY_S)
}

impl Policy {
    /// How many seconds before its time a site of a level counts as due; 0 if the level is given up.
    #[must_use]
    pub fn leeway(&self, level: u32) -> i64 {
        self.level(level).map_or(0, |level| leeway(level.period))
    }

    /// The time one period of the level after `last_run`; `None` if the level is given up.
    #[must_use]
    pub fn next_due(&self, level: u32, last_run: UnixTime) -> Option<UnixTime> {
        Some(self.level(level)?.period.after(last_run))
    }

    /// When a site is next due; `None` if it is given up.
    ///
    /// This is the later of two times: the next by its level, which is 0 for a site that was never polled, and the one
    /// that the site asked for. The status is taken as it is, even where [`Policy::clock_was_wrong`].
    #[must_use]
    pub fn next_due_of_status(&self, status: &PollStatus) -> Option<UnixTime> {
        let by_level = self.next_due(status.level, status.period_start())?;
        let by_level = if status.last_run == 0 { 0 } else { by_level };
        // `None`, if the site asked for nothing, is less than any time.
        Some(by_level).max(status.not_before)
    }

    /// When a connection is due next as seen at `now`, or since when it is due; `None` is never.
    ///
    /// A new one is due since 0, and after a wrong clock one is due since `now`. None is due before its last poll, as one
    /// whose poll was brought forward would be after a change to a shorter period.
    #[must_use]
    pub fn when_due(&self, status: &PollStatus, disabled: bool, now: UnixTime) -> Option<UnixTime> {
        let due = self.next_due_of_status(status).filter(|_| !disabled)?.max(status.last_run);
        Some(if self.is_due(status, now) { due.min(now) } else { due })
    }

    /// Whether a site is due at `now`.
    ///
    /// It is if its next time has come, or will come within the seconds of leeway, or if [`Policy::clock_was_wrong`]. A
    /// site that is given up is never due.
    #[must_use]
    pub fn is_due(&self, status: &PollStatus, now: UnixTime) -> bool {
        let next_time_has_come = || {
            let (Some(level), Some(next)) = (self.level(status.level), self.next_due_of_status(status)) else {
                return false;
            };
            next <= now.saturating_add(leeway(level.period))
        };
        self.clock_was_wrong(status, now) || next_time_has_come()
    }

    /// How late a due site is at `now`, in thousandths of its period.
    ///
    /// [`NEW_PERMILLE_LATE`] for a new site, as it is not known since when it waits. One that is due because the clock was
    /// wrong is not late.
    #[must_use]
    pub fn permille_late(&self, status: &PollStatus, now: UnixTime) -> u32 {
        if status.is_new() {
            return NEW_PERMILLE_LATE;
        }
        let (Some(level), Some(due)) = (self.level(status.level), self.next_due_of_status(status)) else { return 0 };
        let late = i128::from(now.saturating_sub(due).max(0)) * 1000 / i128::from(level.period.mean_seconds());
        u32::try_from(late).unwrap_or(u32::MAX).min(NEW_PERMILLE_LATE - 1)
    }

    /// Whether `last_run` lies more than five minutes ahead of `now`, which makes a site due.
    ///
    /// What is compared is [`PollStatus::period_start`], as the due index has no other time.
    ///
    /// `not_before` is wrong as well then. It does not show a wrong clock by itself, since a site may ask for a day. A site
    /// that is given up is not due, so this is `false`.
    #[must_use]
    pub fn clock_was_wrong(&self, status: &PollStatus, now: UnixTime) -> bool {
        self.level(status.level).is_some() && status.period_start() > now.saturating_add(MAX_AHEAD_S)
    }

    /// Whether any site of a level may be due at `now`, if all were last polled in a range of times.
    ///
    /// `false` is certain for sites that did not ask to wait. `true` is no answer.
    #[must_use]
    pub fn may_be_due(&self, level: u32, last_runs: &RangeInclusive<UnixTime>, now: UnixTime) -> bool {
        let status = |last_run| PollStatus { level, last_run, ..PollStatus::default() };
        let first_is_due =
            |level: &Level| level.period.first_after(last_runs) <= now.saturating_add(leeway(level.period));
        [last_runs.start(), last_runs.end()].iter().any(|last_run| self.is_due(&status(**last_run), now))
            || self.level(level).is_some_and(first_is_due)
    }

    /// The bounds of `last_run` for the due sites of a level; `None` if the level is given up.
    #[must_use]
    pub fn scan_bounds(&self, level: u32, now: UnixTime) -> Option<ScanBounds> {
        let period = self.level(level)?.period;
        // Calendar months cannot be counted backwards: a month after both January 30 and 31 is the last of February.
        // Their mean length with five days of slack finds every site.
        let slack = if period.is_calendar() { 5 * 86_400 } else { 0 };
        let past = now.saturating_add(leeway(period)).saturating_sub(period.mean_seconds() - slack);
        // A site that was never polled has 0.
        let past = past.max(0);
        Some(ScanBounds { past, future: now.saturating_add(MAX_AHEAD_S).max(past).saturating_add(1) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Attempt;
    use crate::retry::policy::tests::{any_policy, deferral};

    const NOW: UnixTime = 1_767_225_600;

    fn policy(text: &str) -> Policy {
        text.parse().unwrap()
    }

    fn status(level: u32, last_run: UnixTime) -> PollStatus {
        PollStatus {
            level,
            last_run,
            attempts: vec![Attempt { at: last_run, class: None, duration_ms: 0 }],
            ..PollStatus::default()
        }
    }

    #[test]
    fn due_a_little_early() {
        for (period, early) in [
            ("19 sec", 0),
            ("20 sec", 1),
            ("1 min", 3),
            ("5 min", 15),
            ("599 sec", 29),
            ("10 min", 30),
            ("1 day", 30),
            ("1 month", 30),
            ("1 year", 30),
        ] {
            let policy = policy(&format!("{period} (x1)"));
            let next = policy.next_due(0, NOW).unwrap();
            assert!(policy.is_due(&status(0, NOW), next - early), "{period}");
            assert!(!policy.is_due(&status(0, NOW), next - early - 1), "{period}");
        }
    }

    #[test]
    fn new_is_due_and_given_up_is_not() {
        let policy = policy("1 day (x2)");
        for now in [0, 1, NOW] {
            assert!(policy.is_due(&PollStatus::default(), now));
        }
        assert_eq!(policy.next_due_of_status(&PollStatus::default()), Some(0));
        for level in [1, 2, u32::MAX] {
            let given_up = PollStatus { level, ..PollStatus::default() };
            assert!(!policy.is_due(&given_up, NOW));
            assert_eq!(policy.next_due_of_status(&given_up), None);
            assert_eq!(policy.scan_bounds(level, NOW), None);
        }
    }

    #[test]
    fn scan_bounds_are_tight_where_the_calendar_does_not_matter() {
        let policy = policy("1 hour (x1)");
        let bounds = ScanBounds { past: NOW + 30 - 3_600, future: NOW + 301 };
        assert_eq!(policy.scan_bounds(0, NOW), Some(bounds));
        assert!(policy.is_due(&status(0, bounds.past), NOW) && !policy.is_due(&status(0, bounds.past + 1), NOW));
        assert!(policy.is_due(&status(0, bounds.future), NOW) && !policy.is_due(&status(0, bounds.future - 1), NOW));
    }

    #[test]
    fn deferral_must_have_come() {
        let policy = policy("1 hour (x2)");
        let mut status = PollStatus::default();
        policy.apply(&mut status, NOW, &deferral(7_200));
        assert_eq!(policy.next_due_of_status(&status), Some(NOW + 7_200));
        assert!(!policy.is_due(&status, NOW + 7_169));
        assert!(policy.is_due(&status, NOW + 7_170));
        // The clock of the run was wrong: what the site asked for then means nothing.
        assert!(!policy.is_due(&status, NOW - 300) && policy.is_due(&status, NOW - 301));
    }

    #[test]
    fn more_than_five_minutes_ahead_is_a_wrong_clock_for_any_period() {
        let policy = policy("1 min (x1); 1 hour (x1); 1 month (x1)");
        for level in 0..3 {
            for (ahead, wrong) in [(1, false), (300, false), (301, true), (400 * 86_400, true)] {
                let status = status(level, NOW + ahead);
                assert_eq!(policy.clock_was_wrong(&status, NOW), wrong, "{ahead}");
                assert_eq!(policy.is_due(&status, NOW), wrong, "{ahead}");
            }
        }
        assert!(!policy.clock_was_wrong(&status(3, NOW * 2), NOW), "given up");
    }

    #[test]
    fn a_poll_that_is_brought_forward_is_due_earlier_by_any_expression() {
        let daily = policy("1 day (x2)");
        let shifted = PollStatus { early_s: 80_000, ..status(0, NOW) };
        assert_eq!(daily.next_due_of_status(&shifted), Some(NOW + 6_400));
        assert!(!daily.is_due(&shifted, NOW + 6_369) && daily.is_due(&shifted, NOW + 6_370));
        assert_eq!(daily.permille_late(&shifted, NOW + 6_400 + 43_200), 500);
        assert_eq!(daily.when_due(&shifted, false, NOW + 9_000), Some(NOW + 6_400));
        // A job that was daily is due at once, since its last poll and not before.
        let often = policy("20 min (x2)");
        assert!(often.is_due(&shifted, NOW + 1));
        assert_eq!(often.when_due(&shifted, false, NOW + 1), Some(NOW));
        // A wrong clock makes it due if its period begins more than five minutes ahead.
        let ahead = PollStatus { early_s: 80_000, ..status(0, NOW + 80_301) };
        assert!(daily.clock_was_wrong(&ahead, NOW) && daily.is_due(&ahead, NOW));
        assert!(!daily.clock_was_wrong(&ahead, NOW + 1) && !daily.is_due(&ahead, NOW + 1));
        // Near the beginning of time one is not new.
        assert_eq!(PollStatus { early_s: 80_000, ..status(0, 100) }.period_start(), 1);
    }

    /// Times near each other, near 0, and anywhere.
    fn any_time() -> impl Strategy<Value = UnixTime> {
        prop_oneof![
            3 => NOW - 100_000_000..NOW + 100_000_000,
            1 => -10_i64..100_000,
            1 => any::<i64>(),
        ]
    }

    fn any_shift() -> impl Strategy<Value = u32> {
        prop_oneof![Just(0), 0..100_000_u32, any::<u32>()]
    }

    proptest! {
        #[test]
        fn next_due_is_after_last_run(policy in any_policy(), last_run in any_time()) {
            let next = policy.next_due(0, last_run).unwrap();
            prop_assert!(next > last_run || next == i64::MAX);
        }

        #[test]
        fn scan_misses_nothing(
            policy in any_policy(), level in 0_u32..5, last_run in any_time(), early_s in any_shift(), now in any_time()
        ) {
            let mut status = PollStatus { early_s, ..status(level, last_run) };
            let start = status.period_start();
            prop_assert!(start <= last_run && (start == 0) == status.is_new());
            // The index knows when the period began, and no more.
            let indexed = PollStatus { last_run: start, early_s: 0, ..status.clone() };
            prop_assert_eq!(policy.is_due(&indexed, now), policy.is_due(&status, now));
            prop_assert_eq!(policy.permille_late(&indexed, now), policy.permille_late(&status, now));
            if policy.is_due(&status, now) {
                let bounds = policy.scan_bounds(level, now).unwrap();
                let wrong_clock = policy.clock_was_wrong(&status, now);
                prop_assert!(start <= bounds.past || (wrong_clock && start >= bounds.future));
                prop_assert!(bounds.past < bounds.future);
            }
            status.not_before = Some(now.saturating_add(MAX_LEEWAY_S + 1));
            prop_assert!(!policy.is_due(&status, now) || policy.clock_was_wrong(&status, now));
        }

        #[test]
        fn a_range_of_last_runs_misses_no_due_site(
            policy in any_policy(), level in 0_u32..5, times in [any_time(), any_time(), any_time()], now in any_time()
        ) {
            // The due index has no time before 0.
            let mut times = times.map(|time| time.max(0));
            times.sort_unstable();
            let [first, inside, last] = times;
            if policy.is_due(&status(level, inside), now) {
                prop_assert!(policy.may_be_due(level, &(first..=last), now));
            }
        }

        /// Around the ends of months, where calendar arithmetic is not monotone.
        #[test]
        fn scan_misses_no_end_of_a_month(months in 1_u32..30, last_run in 0..NOW, late in -10_i64..500_000) {
            let policy = policy(&format!("{months} month (x1)"));
            let now = policy.next_due(0, last_run).unwrap() + late;
            if policy.is_due(&status(0, last_run), now) {
                prop_assert!(last_run <= policy.scan_bounds(0, now).unwrap().past);
            }
        }
    }
}

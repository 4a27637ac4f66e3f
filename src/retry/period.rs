//! Periods: a number of seconds, or of calendar months.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use chrono::{DateTime, Months};

use crate::model::UnixTime;

/// The units of a period, shortest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// A second.
    Sec,
    /// 60 seconds.
    Min,
    /// 3600 seconds.
    Hour,
    /// 24 hours.
    Day,
    /// 7 days.
    Week,
    /// A calendar month in UTC.
    Month,
    /// 12 calendar months.
    Year,
}

impl Unit {
    /// All units, shortest first.
    pub const ALL: [Self; 7] = [Self::Sec, Self::Min, Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// The name of the unit in a printed expression.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sec => "sec",
            Self::Min => "min",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// The unit of a word in any case: a name, `second`, `minute`, or a plural; `None` for another word.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        match word.strip_suffix('s').unwrap_or(&word) {
            "second" => Some(Self::Sec),
            "minute" => Some(Self::Min),
            singular => Self::ALL.into_iter().find(|unit| unit.name() == singular),
        }
    }

    /// The unit of a letter in lower case, where `m` is minutes; `None` for months, years and other texts.
    pub(super) fn from_letter(letter: &str) -> Option<Self> {
        [("s", Self::Sec), ("m", Self::Min), ("h", Self::Hour), ("d", Self::Day), ("w", Self::Week)]
            .into_iter()
            .find_map(|(known, unit)| (known == letter).then_some(unit))
    }

    /// The length in seconds; `None` if it depends on the calendar.
    pub(super) fn fixed_seconds(self) -> Option<i64> {
        self.months().is_none().then(|| self.mean_seconds())
    }

    /// The length in seconds; for months and years the mean.
    ///
    /// The mean is taken over the 400 years after which the calendar repeats.
    const fn mean_seconds(self) -> i64 {
        match self {
            Self::Sec => 1,
            Self::Min => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 7 * 86_400,
            Self::Month => 2_629_746,
            Self::Year => 31_556_952,
        }
    }

    /// How many calendar months the unit has; `None` if it has a fixed length.
    fn months(self) -> Option<u32> {
        match self {
            Self::Month => Some(1),
            Self::Year => Some(12),
            _ => None,
        }
    }
}

/// The time between two polls, from a second to 10,000 years: `20 min`, `2 week`, `1 month`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Period {
    number: NonZeroU32,
    unit: Unit,
}

impl Period {
    const MAX_SECONDS: i64 = 10_000 * Unit::Year.mean_seconds();

    /// Makes a period of `number` units; `None` if that is more than 10,000 years.
    #[must_use]
    pub fn new(number: NonZeroU32, unit: Unit) -> Option<Self> {
        let period = Self { number, unit };
        (period.mean_seconds() <= Self::MAX_SECONDS).then_some(period)
    }

    /// The length in seconds; for months and years the mean.
    ///
    /// The mean differs from any actual length by at most five days.
    #[must_use]
    pub fn mean_seconds(self) -> i64 {
        i64::from(self.number.get()) * self.unit.mean_seconds()
    }

    /// Whether the length depends on the calendar.
    #[must_use]
    pub fn is_calendar(self) -> bool {
        self.unit.months().is_some()
    }

    /// The time one period after `from`.
    ///
    /// Months and years are calendar ones in UTC, clamped to the end of the month: a month after January 31 is the last
    /// of February. The result saturates at the end of [`UnixTime`].
    #[must_use]
    pub fn after(self, from: UnixTime) -> UnixTime {
        self.after_multiple(from, 1)
    }

    /// The time one period before `to`.
    ///
    /// One period after it is `to`, or up to three days earlier: no month begins that ends on March 31.
    #[must_use]
    pub(crate) fn before(self, to: UnixTime) -> UnixTime {
        let calendar = || {
            let months = self.unit.months()?.checked_mul(self.number.get())?;
            Some(DateTime::from_timestamp(to, 0)?.checked_sub_months(Months::new(months))?.timestamp())
        };
        calendar().unwrap_or_else(|| to.saturating_sub(self.mean_seconds()))
    }

    /// A time that is not later than one period after any time of a range, and less than a day earlier.
    ///
    /// A month after January 29, 10:00, and January 30, 03:00, the second comes first, as both are clamped to the last of
    /// February. At most four days are clamped to one, so the start of the range and the next three midnights decide.
    #[must_use]
    pub(super) fn first_after(self, range: &RangeInclusive<UnixTime>) -> UnixTime {
        const DAY_S: i64 = 86_400;
        let first = *range.start();
        let midnights = (1..4).map(|days| (first.div_euclid(DAY_S) + days).saturating_mul(DAY_S));
        let midnights = midnights.filter(|time| self.is_calendar() && range.contains(time));
        midnights.map(|time| self.after(time)).fold(self.after(first), UnixTime::min)
    }

    /// The time after `times` calls of [`Period::after`] in a row, computed in bounded time.
    #[must_use]
    pub fn after_times(self, from: UnixTime, times: u32) -> UnixTime {
        // Steps of months may lose days in short months. The lengths of months repeat after 400 years, so after 4800
        // steps no more days are lost, and the rest can be one leap.
        let steps = if self.is_calendar() { times.min(4_800) } else { 0 };
        let from = (0..steps).fold(from, |at, _| self.after(at));
        self.after_multiple(from, times - steps)
    }

    /// The time one step of `times` periods after `from`.
    fn after_multiple(self, from: UnixTime, times: u32) -> UnixTime {
        let calendar = || {
            let months = self.unit.months()?.checked_mul(self.number.get())?.checked_mul(times)?;
            let from = DateTime::from_timestamp(from, 0)?;
            Some(from.checked_add_months(Months::new(months))?.timestamp())
        };
        // Beyond the end of the calendar, some 260,000 years from now, mean lengths are used.
        calendar().unwrap_or_else(|| from.saturating_add(self.mean_seconds().saturating_mul(times.into())))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.unit.name())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn any_period() -> impl Strategy<Value = Period> {
        let number = prop_oneof![1_u32..100, any::<u32>()];
        (number, prop::sample::select(Unit::ALL.to_vec()))
            .prop_filter_map("out of range", |(number, unit)| Period::new(NonZeroU32::new(number)?, unit))
    }

    fn period(number: u32, unit: Unit) -> Period {
        Period::new(NonZeroU32::new(number).unwrap(), unit).unwrap()
    }

    fn unix(text: &str) -> UnixTime {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp()
    }

    #[test]
    fn calendar_months_and_years() {
        for (from, number, unit, after) in [
            ("2025-01-31T10:20:30Z", 1, Unit::Month, "2025-02-28T10:20:30Z"),
            ("2024-01-31T10:20:30Z", 1, Unit::Month, "2024-02-29T10:20:30Z"),
            ("2024-01-30T23:59:59Z", 1, Unit::Month, "2024-02-29T23:59:59Z"),
            ("2025-02-28T00:00:00Z", 1, Unit::Month, "2025-03-28T00:00:00Z"),
            ("2025-03-31T00:00:00Z", 1, Unit::Month, "2025-04-30T00:00:00Z"),
            ("2025-12-31T00:00:00Z", 2, Unit::Month, "2026-02-28T00:00:00Z"),
            ("2025-10-31T00:00:00Z", 16, Unit::Month, "2027-02-28T00:00:00Z"),
            ("2024-02-29T12:00:00Z", 1, Unit::Year, "2025-02-28T12:00:00Z"),
            ("2024-02-29T12:00:00Z", 4, Unit::Year, "2028-02-29T12:00:00Z"),
            ("2096-02-29T12:00:00Z", 4, Unit::Year, "2100-02-28T12:00:00Z"),
            ("1996-02-29T12:00:00Z", 4, Unit::Year, "2000-02-29T12:00:00Z"),
            ("2025-03-29T23:30:00Z", 1, Unit::Day, "2025-03-30T23:30:00Z"),
            ("2024-02-28T00:00:00Z", 1, Unit::Week, "2024-03-06T00:00:00Z"),
        ] {
            assert_eq!(period(number, unit).after(unix(from)), unix(after), "{from} + {number} {}", unit.name());
        }
    }

    #[test]
    fn only_months_and_years_depend_on_the_calendar() {
        for unit in Unit::ALL {
            let period = period(3, unit);
            assert_eq!(period.is_calendar(), matches!(unit, Unit::Month | Unit::Year), "{}", unit.name());
        }
    }

    #[test]
    fn ten_thousand_years_are_the_limit() {
        for (number, unit) in
            [(10_000, Unit::Year), (120_000, Unit::Month), (521_775, Unit::Week), (3_652_425, Unit::Day)]
        {
            assert!(Period::new(NonZeroU32::new(number).unwrap(), unit).is_some(), "{number} {}", unit.name());
            assert!(Period::new(NonZeroU32::new(number + 1).unwrap(), unit).is_none(), "{number} {}", unit.name());
        }
    }

    #[test]
    fn the_first_of_a_range_may_be_one_that_is_polled_later() {
        for (number, unit, from, to, first) in [
            (1, Unit::Month, "2026-01-29T10:00:00Z", "2026-01-31T20:00:00Z", "2026-02-28T00:00:00Z"),
            (1, Unit::Month, "2026-01-28T10:00:00Z", "2026-01-29T20:00:00Z", "2026-02-28T00:00:00Z"),
            (1, Unit::Month, "2026-01-27T10:00:00Z", "2026-01-31T20:00:00Z", "2026-02-27T10:00:00Z"),
            (1, Unit::Month, "2026-01-31T03:00:00Z", "2026-01-31T20:00:00Z", "2026-02-28T03:00:00Z"),
            (1, Unit::Month, "2026-03-30T10:00:00Z", "2026-03-30T23:59:59Z", "2026-04-30T10:00:00Z"),
            (1, Unit::Month, "2026-03-30T10:00:00Z", "2026-03-31T00:00:00Z", "2026-04-30T00:00:00Z"),
            (1, Unit::Year, "2028-02-28T20:00:00Z", "2028-02-29T22:00:00Z", "2029-02-28T00:00:00Z"),
            (1, Unit::Day, "2026-01-29T10:00:00Z", "2026-01-31T20:00:00Z", "2026-01-30T10:00:00Z"),
        ] {
            assert_eq!(period(number, unit).first_after(&(unix(from)..=unix(to))), unix(first), "{from} to {to}");
        }
    }

    proptest! {
        /// Times of the last days of a month, and some of the next.
        #[test]
        fn the_first_of_a_range_is_a_tight_lower_bound(
            tested in prop_oneof![1 => any_period(), 3 => (1_u32..40).prop_map(|months| period(months, Unit::Month))],
            month in 1_u32..1_500, seconds in prop::collection::vec(0..6 * 86_400_i64, 2..5)
        ) {
            let from = period(month, Unit::Month).after(26 * 86_400);
            let times: Vec<_> = seconds.iter().map(|offset| from + offset).collect();
            let range = *times.iter().min().unwrap()..=*times.iter().max().unwrap();
            let first = times.iter().map(|time| tested.after(*time)).min().unwrap();
            let bound = tested.first_after(&range);
            prop_assert!(bound <= first && first - bound < 86_400, "{} {}", bound, first);
            prop_assert!(tested.is_calendar() || bound == first);
        }

        #[test]
        fn never_panics_and_never_goes_back(period in any_period(), from in any::<i64>(), times in any::<u32>()) {
            prop_assert!(period.after(from) > from || period.after(from) == i64::MAX);
            prop_assert!(period.after_times(from, times) >= from);
        }

        #[test]
        fn a_period_before_a_time_ends_then_or_up_to_three_days_earlier(period in any_period(), to in -9_000_000_000..9_000_000_000_i64) {
            let early = to - period.after(period.before(to));
            prop_assert!(if period.is_calendar() { (0..=3 * 86_400).contains(&early) } else { early == 0 }, "{}", early);
        }

        /// The times are those that chrono can compute with.
        #[test]
        fn the_mean_length_differs_by_at_most_five_days(
            period in any_period(), from in -7_000_000_000_000_i64..7_000_000_000_000
        ) {
            prop_assert!((period.after(from) - from - period.mean_seconds()).abs() <= 5 * 86_400);
        }

        #[test]
        fn many_steps_at_once_equal_single_steps(
            number in 1_u32..40, from in 0_i64..20_000_000_000, times in 0_u32..20_000
        ) {
            let period = period(number, Unit::Month);
            let stepped = (0..times).fold(from, |at, _| period.after(at));
            prop_assert_eq!(period.after_times(from, times), stepped);
        }
    }
}

//! Durations as people write them: `30s`, `1h30m`, `90 day`.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::{Period, Unit};
use crate::util::time;

/// The message for text that is not a duration.
pub const EXPECTED_DURATION: &str = "expected a duration such as 30s, 20m, 2h or 1h30m, or a number of seconds";

/// Parses a duration below 2³² seconds: numbers with units, or a number of seconds.
///
/// Units are those of retry expressions, and `s`, `m` (minutes), `h`, `d` and `w`. Each is shorter than the one before
/// it. Months and years are refused, since their lengths differ. Numbers may have a fraction.
///
/// `None` for any other text.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return time::seconds(seconds);
    }
    let seconds = parts(text)?.into_iter().map(|(number, unit)| {
        let number: f64 = number.parse().ok()?;
        // No unit of a fixed length is too long for it to be exact.
        #[expect(clippy::cast_precision_loss, reason = "no unit is that long")]
        let seconds = unit.fixed_seconds()? as f64;
        Some(number * seconds)
    });
    time::seconds(seconds.sum::<Option<f64>>()?)
}

/// Parses a period: a text with units that [`duration`] reads, or a number of months or years.
///
/// It has whole seconds. Months and years are calendar ones. `None` for any other text.
#[must_use]
pub fn period(text: &str) -> Option<Period> {
    if let [(number, unit)] = parts(text)?[..]
        && let Ok(number) = number.parse()
    {
        return Period::new(number, unit);
    }
    let length = duration(text).filter(|length| length.subsec_nanos() == 0)?;
    Period::new(u32::try_from(length.as_secs()).ok().and_then(NonZeroU32::new)?, Unit::Sec)
}

/// The numbers of a text, each with its unit; `None` if it is not such a text.
fn parts(text: &str) -> Option<Vec<(&str, Unit)>> {
    let mut parts: Vec<(&str, Unit)> = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (number, after) = split_at_other(rest, |c| c.is_ascii_digit() || c == '.');
        let (word, after) = split_at_other(after.trim_start(), char::is_alphabetic);
        let unit = Unit::from_letter(word).or_else(|| Unit::from_word(word))?;
        if !number.starts_with(|c: char| c.is_ascii_digit()) || parts.last().is_some_and(|(_, longer)| *longer <= unit)
        {
            return None;
        }
        parts.push((number, unit));
        rest = after.trim_start();
    }
    (!parts.is_empty()).then_some(parts)
}

/// Splits a text before the first character that does not belong to its start.
fn split_at_other(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// A limit of time in the configuration, above 0: a number of seconds, or a text for [`duration`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimit(pub Duration);

impl<'de> Deserialize<'de> for TimeLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeLimitVisitor)
    }
}

struct TimeLimitVisitor;

impl TimeLimitVisitor {
    fn check<E: de::Error>(limit: Option<Duration>) -> Result<TimeLimit, E> {
        let above_zero = limit.filter(|limit| !limit.is_zero());
        above_zero.map(TimeLimit).ok_or_else(|| E::custom(format!("{EXPECTED_DURATION}, above 0")))
    }
}

impl de::Visitor<'_> for TimeLimitVisitor {
    type Value = TimeLimit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"30s\", or a number of seconds")
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<TimeLimit, E> {
        Self::check(time::seconds(seconds))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<TimeLimit, E> {
        Self::check(u32::try_from(seconds).ok().map(|seconds| Duration::from_secs(seconds.into())))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TimeLimit, E> {
        Self::check(duration(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_have_units_or_are_seconds() {
        for (text, seconds) in [
            ("30", 30.0),
            ("0.5", 0.5),
            ("0", 0.0),
            ("1e3", 1_000.0),
            ("30s", 30.0),
            ("20m", 1_200.0),
            ("2h", 7_200.0),
            ("1d", 86_400.0),
            ("2w", 1_209_600.0),
            ("1.5h", 5_400.0),
            ("1h30m", 5_400.0),
            (" 1 h 30 min ", 5_400.0),
            ("1d2h3m4.5s", 93_784.5),
            ("90 day", 7_776_000.0),
            ("20 MINUTES", 1_200.0),
            ("0s", 0.0),
            ("4294967295s", 4_294_967_295.0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for bad in [
            "",
            " ",
            "x",
            "s",
            "-1",
            "-1s",
            "inf",
            "NaN",
            "4294967296",
            "4294967296s",
            "50000d",
            "1M",
            "1H",
            "1mo",
            "1 month",
            "1 year",
            "1y",
            "30m1h",
            "1h1h",
            "1h 30",
            "30 1h",
            "1..5h",
            ".5h",
            "1,5h",
            "1h;",
            "1s1",
            "１s",
            "1ß",
            "1 s s",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn periods_are_whole_and_may_be_months() {
        for (text, printed) in [
            ("90d", "90 day"),
            ("2w", "2 week"),
            ("36h", "36 hour"),
            ("90 day", "90 day"),
            ("6 month", "6 month"),
            ("1year", "1 year"),
            ("1h30m", "5400 sec"),
            ("5m", "5 min"),
            ("1.5d", "129600 sec"),
        ] {
            assert_eq!(period(text).map(|period| period.to_string()).as_deref(), Some(printed), "{text}");
        }
        for bad in [
            "",
            "90",
            "0d",
            "-1d",
            "1.5 month",
            "10001 year",
            "4294967296s",
            "1 month 1 day",
            "0h0m",
            "1h0.5s",
            "1 day (x1)",
        ] {
            assert_eq!(period(bad), None, "{bad}");
        }
    }

    #[test]
    fn limits_of_the_configuration_are_above_zero() {
        #[derive(Deserialize)]
        struct Table {
            limit: TimeLimit,
        }
        let limit = |value: &str| toml::from_str::<Table>(&format!("limit = {value}")).map(|table| table.limit.0);
        for (value, ms) in [("1", 1_000), ("0.5", 500), ("\"2m\"", 120_000), ("\"7\"", 7_000)] {
            assert_eq!(limit(value), Ok(Duration::from_millis(ms)), "{value}");
        }
        for bad in
            ["0", "0.0", "-1", "-1.0", "4294967296", "1e19", "inf", "nan", "\"\"", "\"0s\"", "\"1 month\"", "true"]
        {
            let message = limit(bad).unwrap_err().to_string();
            assert!(message.contains("limit = ") && message.contains("a number of seconds"), "{bad}: {message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[0-9.]{0,12} ?[a-zé]{0,4}[0-9]{0,3}.{0,3}") {
            let _ = (duration(&text), period(&text));
        }

        #[test]
        fn a_printed_period_is_read_back(period in crate::retry::period::tests::any_period()) {
            prop_assert_eq!(super::period(&period.to_string()), Some(period));
        }
    }
}

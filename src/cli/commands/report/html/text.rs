//! How the template shows values. As methods they take values and references alike.

use std::fmt::Display;

use crate::cli::named;
use crate::cli::ui::outage;
use crate::model::{FailureClass, Fault, UnixTime};
use crate::util::text::sanitize;
use crate::util::time;

/// What strangers may have chosen.
pub(super) trait Shown: Display {
    /// The text, printable and of a bounded length. The template escapes it.
    fn shown(&self) -> String {
        sanitize(&self.to_string())
    }
}

impl<T: Display + ?Sized> Shown for T {}

/// Times in UTC.
pub(super) trait Time {
    /// For programs: `2026-01-31T12:00:00Z`.
    fn machine(&self) -> String;

    /// `2026-01-31 12:00`.
    fn minute(&self) -> String {
        self.machine().chars().take(16).collect::<String>().replace('T', " ")
    }

    /// `2026-01-31`.
    fn day(&self) -> String {
        self.machine().chars().take(10).collect()
    }

    /// `12:00`.
    fn time_of_day(&self) -> String {
        self.machine().chars().skip(11).take(5).collect()
    }
}

impl Time for UnixTime {
    fn machine(&self) -> String {
        time::rfc3339(*self)
    }
}

/// Numbers and numbers of seconds.
pub(super) trait Number {
    /// With a comma before each three digits: `1,204`.
    fn number(&self) -> String;

    /// Seconds in their two largest units: `3 h 20 min`. A thousand days and more have no hours: `1,204 d`.
    fn duration(&self) -> String;
}

impl Number for u64 {
    fn number(&self) -> String {
        let digits = self.to_string();
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        text
    }

    fn duration(&self) -> String {
        match self / 86_400 {
            days @ 1000.. => format!("{} d", days.number()),
            _ => time::duration(i64::try_from(*self).unwrap_or(i64::MAX)),
        }
    }
}

/// Texts that may be missing.
pub(super) trait OrDash {
    /// The text, or a dash.
    fn or_dash(&self) -> &str;
}

impl OrDash for Option<String> {
    fn or_dash(&self) -> &str {
        self.as_deref().unwrap_or("–")
    }
}

/// The class of a failure; `None` if it is not known.
pub(super) trait Class {
    /// Its name.
    fn name(&self) -> &'static str;

    /// What it means.
    fn meaning(&self) -> &'static str;
}

impl Class for Option<FailureClass> {
    fn name(&self) -> &'static str {
        self.map_or("unknown", FailureClass::name)
    }

    fn meaning(&self) -> &'static str {
        self.map_or("It is not known how the first poll failed", named::class_meaning)
    }
}

/// The cause of an own outage; `None` if it is not known.
pub(super) trait Cause {
    /// What it was.
    fn cause(&self) -> &'static str;
}

impl Cause for Option<Fault> {
    fn cause(&self) -> &'static str {
        self.map_or("the cause is not known", outage::cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas() {
        let numbers = [0, 999, 1000, 123_456, 1_000_000].map(|number: u64| number.number());
        assert_eq!(numbers, ["0", "999", "1,000", "123,456", "1,000,000"]);
    }

    #[test]
    fn long_durations_are_in_days() {
        let days = |days: u64| (days * 86_400 + 7200).duration();
        assert_eq!([0, 999, 1000, 36_500].map(days), ["2 h", "999 d 2 h", "1,000 d", "36,500 d"]);
    }

    #[test]
    fn times_are_in_utc() {
        let at: UnixTime = 1_769_860_859;
        assert_eq!([at.machine(), at.minute()], ["2026-01-31T12:00:59Z", "2026-01-31 12:00"]);
        assert_eq!([at.day(), at.time_of_day()], ["2026-01-31", "12:00"]);
    }
}

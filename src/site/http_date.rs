//! Dates in headers of HTTP.

use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};

use crate::util::text::parse_digits;

const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Parses a date in any of the three forms of RFC 9110, 5.6.7; `None` if it has another form.
///
/// `UTC` and `+0000` may stand for `GMT`. The weekday need not be that of the date.
pub(super) fn parse(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    match fields[..] {
        // Sun, 06 Nov 1994 08:49:37 GMT
        [weekday, day, month, year, time, zone] if is_weekday(weekday.strip_suffix(',')?) && is_utc(zone) => {
            instant(digits(year, 4..=4)?, month, day, time)
        }
        // Sunday, 06-Nov-94 08:49:37 GMT
        [weekday, date, time, zone] if is_weekday(weekday.strip_suffix(',')?) && is_utc(zone) => {
            let mut parts = date.split('-');
            let (day, month, year) = (parts.next()?, parts.next()?, parts.next().filter(|_| parts.next().is_none())?);
            let year = now.year() - now.year() % 100 + digits::<i32>(year, 2..=2)?;
            // The latest year with these two digits that is not more than 50 years ahead.
            let latest = now.checked_add_months(Months::new(50 * 12))?;
            let dates = [year + 100, year, year - 100].map(|year| instant(year, month, day, time));
            dates.into_iter().flatten().find(|date| *date <= latest)
        }
        // Sun Nov  6 08:49:37 1994
        [weekday, month, day, time, year] if is_weekday(weekday) => instant(digits(year, 4..=4)?, month, day, time),
        _ => None,
    }
}

/// Whether this is the name of a day of the week, whole or its first three letters.
fn is_weekday(name: &str) -> bool {
    WEEKDAYS.iter().any(|day| day.eq_ignore_ascii_case(name) || day[..3].eq_ignore_ascii_case(name))
}

fn is_utc(zone: &str) -> bool {
    ["GMT", "UTC", "+0000"].iter().any(|utc| utc.eq_ignore_ascii_case(zone))
}

fn instant(year: i32, month: &str, day: &str, time: &str) -> Option<DateTime<Utc>> {
    let month = (1..).zip(MONTHS).find(|(_, name)| name.eq_ignore_ascii_case(month))?.0;
    let mut parts = time.split(':').map(|part| digits(part, 2..=2));
    let [hour, minute, second] = [parts.next()??, parts.next()??, parts.next().filter(|_| parts.next().is_none())??];
    // 60 is a leap second, which the clocks of computers do not have.
    let second = if second == 60 { 59 } else { second };
    Some(NaiveDate::from_ymd_opt(year, month, digits(day, 1..=2)?)?.and_hms_opt(hour, minute, second)?.and_utc())
}

/// Parses a number of ASCII digits; `None` if their count is not in the range.
fn digits<T: FromStr>(text: &str, count: RangeInclusive<usize>) -> Option<T> {
    count.contains(&text.len()).then(|| parse_digits(text))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_of_two_digits_is_at_most_50_years_ahead() {
        let year = |now: i32, value: &str| {
            let now = NaiveDate::from_ymd_opt(now, 11, 29).unwrap().and_hms_opt(12, 0, 0).unwrap().and_utc();
            parse(&format!("Sunday, {value} 12:00:00 GMT"), now).map(|date| date.year())
        };
        for (now, value, expected) in [
            (2026, "29-Nov-26", Some(2026)),
            (2026, "29-Nov-76", Some(2076)),
            (2026, "30-Nov-76", Some(1976)),
            (2026, "29-Nov-77", Some(1977)),
            (2026, "29-Nov-94", Some(1994)),
            (2094, "29-Nov-05", Some(2105)),
            (2026, "29-Feb-24", Some(2024)),
            (2026, "29-Feb-23", None),
        ] {
            assert_eq!(year(now, value), expected, "{now} {value}");
        }
    }
}

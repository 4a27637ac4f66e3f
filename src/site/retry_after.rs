//! `Retry-After`: how long a site asks not to be called (RFC 9110, 10.2.3).

use chrono::{DateTime, Utc};

use super::http_date;
use crate::model::Failure;

/// The seconds from `now` that a reply with these lines of the header asks to wait, at most a day.
///
/// Each line is a list of seconds and dates, of which the largest counts. `None` if no value of any line can be read.
pub(super) fn seconds_to_wait<'a>(lines: impl IntoIterator<Item = &'a [u8]>, now: DateTime<Utc>) -> Option<u32> {
    lines.into_iter().filter_map(|line| largest_of_line(&String::from_utf8_lossy(line), now)).max()
}

fn largest_of_line(line: &str, now: DateTime<Utc>) -> Option<u32> {
    let mut largest = None;
    let mut parts = line.split(',').peekable();
    while let Some(part) = parts.next() {
        // Most dates have a comma after the weekday.
        let date = parts.peek().and_then(|next| seconds_until(unquoted(&format!("{part},{next}")), now));
        if date.is_some() {
            parts.next();
        }
        let value = date.or_else(|| seconds(unquoted(part))).or_else(|| seconds_until(unquoted(part), now));
        largest = largest.max(value);
    }
    largest
}

/// The text without double quotes around it, and without blanks.
fn unquoted(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).trim()
}

/// Parses seconds with an optional fraction and an optional `s`; rounded up, at most a day.
fn seconds(text: &str) -> Option<u32> {
    let number = text.strip_suffix('s').map_or(text, str::trim_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    // A number that is too large for the type is more than a day, too.
    let whole: u32 = whole.parse().unwrap_or(Failure::MAX_RETRY_AFTER_S);
    let more = u32::from(fraction.bytes().any(|digit| digit != b'0'));
    Some(whole.saturating_add(more).min(Failure::MAX_RETRY_AFTER_S))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The seconds until a date, at most a day; 0 if it has passed, and `None` if the text is not a date.
fn seconds_until(text: &str, now: DateTime<Utc>) -> Option<u32> {
    let milliseconds = http_date::parse(text, now)?.signed_duration_since(now).num_milliseconds().max(0);
    // Rounded up, so that the site is never called before the date.
    Some(u32::try_from((milliseconds + 999) / 1000).unwrap_or(u32::MAX).min(Failure::MAX_RETRY_AFTER_S))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 06 Nov 1994 08:49:37 GMT
    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(784_111_777, 0).unwrap()
    }

    fn wait(line: &str) -> Option<u32> {
        seconds_to_wait([line.as_bytes()], now())
    }

    #[test]
    fn seconds_may_have_a_fraction_a_unit_and_quotes() {
        for (value, expected) in [
            ("120", 120),
            (" 0 ", 0),
            ("0.0", 0),
            ("007", 7),
            ("120.0", 120),
            ("120.5", 121),
            ("0.25", 1),
            ("0.0000000000000000000000000000000000000001", 1),
            ("120s", 120),
            ("45 s", 45),
            ("1.5s", 2),
            ("\"120\"", 120),
            (" \" 120.5 s \"\t", 121),
            ("86399.5", 86_400),
            ("86401", 86_400),
            ("4294967295.5", 86_400),
            ("9999999999999999999999999999999999999999", 86_400),
            ("0000000000000000000000000000000000000060", 60),
        ] {
            assert_eq!(wait(value), Some(expected), "{value:?}");
        }
    }

    #[test]
    fn what_is_no_number_and_no_date_is_not_there() {
        for value in [
            "", " ", "s", ".", ".5", "5.", "1.2.3", "-30", "+30", "1e3", "NaN", "inf", "0x10", "1_000", "5m", "5 min",
            "2h", "120 sec", "120ss", "120ms", "120S", "12 0", "soon", "\"120", "120\"", "'120'", "60;120", "٣",
        ] {
            assert_eq!(wait(value), None, "{value:?}");
        }
        assert_eq!(seconds_to_wait([&b"\xff"[..], b"1\x002"], now()), None);
        assert_eq!(seconds_to_wait([], now()), None);
    }

    #[test]
    fn the_largest_value_of_all_lines_counts() {
        for (lines, expected) in [
            (&["60, 120"][..], Some(120)),
            (&["120,60"], Some(120)),
            (&["60, soon, , \"90\""], Some(90)),
            (&["20", "240", "30"], Some(240)),
            (&["soon", "7"], Some(7)),
            (&["Sun, 06 Nov 1994 08:50:00 GMT, 10"], Some(23)),
            (&["10, Sun, 06 Nov 1994 08:50:00 GMT, 20"], Some(23)),
            (&["60,\"Sunday, 06-Nov-94 08:50:00 GMT\""], Some(60)),
            (&["Sun Nov  6 08:50:00 1994, 5"], Some(23)),
            (&["Sun, 60"], Some(60)),
            (&["Sun, 31 Feb 1994 08:50:00 GMT, 5"], Some(5)),
        ] {
            assert_eq!(seconds_to_wait(lines.iter().map(|line| line.as_bytes()), now()), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_date_has_one_of_three_forms() {
        for value in [
            "Sun, 06 Nov 1994 08:50:00 GMT",
            "Sun, 06 Nov 1994 08:50:00 UTC",
            "Sun, 06 Nov 1994 08:50:00 +0000",
            "sun, 6 nov 1994 08:50:00 gmt",
            "Mon, 06 Nov 1994 08:50:00 GMT",
            "Sunday, 06-Nov-94 08:50:00 GMT",
            "Sunday, 06-Nov-94 08:50:00 UTC",
            "Sun Nov  6 08:50:00 1994",
            "\"Sun, 06 Nov 1994 08:50:00 GMT\"",
        ] {
            assert_eq!(wait(value), Some(23), "{value:?}");
        }
        for (value, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
            ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
            ("Mon, 07 Nov 1994 08:49:36 GMT", 86_399),
            ("Sat, 06 Nov 2094 08:00:00 GMT", 86_400),
            ("Sun, 06 Nov 1994 08:49:60 GMT", 22),
            ("Sun Nov 27 08:50:00 1994", 86_400),
        ] {
            assert_eq!(wait(value), Some(expected), "{value:?}");
        }
        for value in [
            "Sun, 31 Feb 2094 08:00:00 GMT",
            "Sun, 06 Nov 2094 24:00:00 GMT",
            "Sun, 06 Nov 2094 08:00:61 GMT",
            "Sun, 06 Nov 2094 8:00:00 GMT",
            "Sun, 06 Nov 2094 08:00 GMT",
            "Sun, 06 Nov 2094 08:00:00:00 GMT",
            "Sun, 06 Nov 2094 08:00:00",
            "Sun, 06 Nov 2094 08:00:00 CET",
            "Sun, 06 Nov 2094 08:00:00 +0100",
            "Sun, 06 Nov 94 08:00:00 GMT",
            "Sun, -6 Nov 2094 08:00:00 GMT",
            "Sunday, 06-Nov-2094 08:00:00 GMT",
            "Sunday, 06-Nov-94-1 08:00:00 GMT",
            "Xyz, 06 Nov 2094 08:00:00 GMT",
            "06 Nov 2094 08:00:00 GMT",
            "2094-11-06T08:00:00Z",
            "Sun Nov 6 08:00:00 94",
        ] {
            assert_eq!(wait(value), None, "{value:?}");
        }
    }

    #[test]
    fn a_part_of_a_second_before_a_date_is_a_whole_one() {
        let now = now() + chrono::TimeDelta::milliseconds(1);
        let value = b"Sun, 06 Nov 1994 08:49:39 GMT";
        assert_eq!(seconds_to_wait([&value[..]], now), Some(2));
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_a_panic(lines: Vec<Vec<u8>>, text in "[SunMo ,\":.0-9GMTov-]{0,50}") {
            let lines = lines.iter().map(Vec::as_slice).chain([text.as_bytes()]);
            prop_assert!(seconds_to_wait(lines, now()).is_none_or(|wait| wait <= Failure::MAX_RETRY_AFTER_S));
        }
    }
}

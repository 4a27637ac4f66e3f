//! Times as text, and limits in seconds.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

/// The last second of the year 9999, the latest time that is read or stored.
pub const MAX_UNIX_TIME: i64 = 253_402_300_799;

/// The seconds of an hour.
pub const HOUR_S: i64 = 3600;

/// The seconds of a day.
pub const DAY_S: i64 = 86_400;

/// A time as RFC 3339 in UTC: `2026-01-31T12:00:00Z`.
///
/// `unix_time` counts seconds since 1970. A time that has no calendar date becomes its number.
#[must_use]
pub fn rfc3339(unix_time: i64) -> String {
    DateTime::from_timestamp(unix_time, 0)
        .map_or_else(|| unix_time.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// The real time now, in seconds since 1970.
#[must_use]
pub fn unix_now() -> i64 {
    Utc::now().timestamp()
}

/// A time in UTC as people read it: `2026-01-31 12:00:00Z`.
#[must_use]
pub fn utc(at: i64) -> String {
    rfc3339(at).replace('T', " ")
}

/// A duration in its two largest units: `3 h 20 min`. Negative seconds count as 0.
#[must_use]
pub fn duration(seconds: i64) -> String {
    let units = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
    let mut rest = seconds.max(0);
    let mut parts = Vec::new();
    for (name, size) in units {
        if rest >= size && parts.len() < 2 {
            parts.push(format!("{} {name}", rest / size));
            rest %= size;
        } else if !parts.is_empty() {
            break;
        }
    }
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

/// A number of seconds as a duration: from 0 to below 2³², so that adding it to a time cannot overflow.
///
/// `None` for any other number.
#[must_use]
pub fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok().filter(|duration| duration.as_secs() < 1 << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_below_2_to_the_32() {
        assert_eq!(seconds(0.5), Some(Duration::from_millis(500)));
        assert_eq!(seconds(4_294_967_295.0), Some(Duration::from_secs(u32::MAX.into())));
        for bad in [-1.0, 4_294_967_296.0, 1e19, f64::INFINITY, f64::NAN] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_time_has_a_blank_in_place_of_a_letter() {
        assert_eq!(utc(1_769_860_800), "2026-01-31 12:00:00Z");
    }

    #[test]
    fn a_duration_has_at_most_two_units() {
        assert_eq!(duration(0), "0 s");
        assert_eq!(duration(1200), "20 min");
        assert_eq!(duration(3 * 86_400 + 59), "3 d");
        assert_eq!(duration(86_400 + 3600 * 2 + 5), "1 d 2 h");
    }

    #[test]
    fn times_without_a_date_stay_numbers() {
        assert_eq!(rfc3339(1_769_860_800), "2026-01-31T12:00:00Z");
        assert_eq!(rfc3339(MAX_UNIX_TIME), "9999-12-31T23:59:59Z");
        assert_eq!(rfc3339(i64::MAX), i64::MAX.to_string());
    }
}

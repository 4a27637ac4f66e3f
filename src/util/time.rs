//! Times as text.

use chrono::{DateTime, SecondsFormat, Utc};

/// The last second of the year 9999, the latest time that is read or stored.
pub const MAX_UNIX_TIME: i64 = 253_402_300_799;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_without_a_date_stay_numbers() {
        assert_eq!(rfc3339(1_769_860_800), "2026-01-31T12:00:00Z");
        assert_eq!(rfc3339(MAX_UNIX_TIME), "9999-12-31T23:59:59Z");
        assert_eq!(rfc3339(i64::MAX), i64::MAX.to_string());
    }
}

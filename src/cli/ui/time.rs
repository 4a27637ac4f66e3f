//! Times and durations as text.

use crate::model::UnixTime;
pub(in crate::cli) use crate::util::time::duration;
use crate::util::time::rfc3339;

/// A time in UTC: `2026-01-31 12:00:00Z`.
pub(in crate::cli) fn utc(at: UnixTime) -> String {
    rfc3339(at).replace('T', " ")
}

/// A time relative to `now`: `in 20 min`, `3 h ago`, `now`.
pub(in crate::cli) fn relative(at: UnixTime, now: UnixTime) -> String {
    match at.saturating_sub(now) {
        0 => "now".to_owned(),
        ahead if ahead > 0 => format!("in {}", duration(ahead)),
        ago => format!("{} ago", duration(ago.saturating_neg())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc() {
        assert_eq!(utc(1_769_860_800), "2026-01-31 12:00:00Z");
    }

    #[test]
    fn a_relative_time_names_its_direction() {
        assert_eq!(relative(100, 160), "1 min ago");
        assert_eq!(relative(160, 100), "in 1 min");
        assert_eq!(relative(100, 100), "now");
    }
}

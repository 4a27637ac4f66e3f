//! Times and durations as text.

use crate::model::UnixTime;
use crate::util::time::rfc3339;

/// A time in UTC: `2026-01-31 12:00:00Z`.
pub(in crate::cli) fn utc(at: UnixTime) -> String {
    rfc3339(at).replace('T', " ")
}

/// A duration in its two largest units: `3 h 20 min`. Negative seconds count as 0.
pub(in crate::cli) fn duration(seconds: i64) -> String {
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
    fn a_duration_has_at_most_two_units() {
        assert_eq!(duration(0), "0 s");
        assert_eq!(duration(1200), "20 min");
        assert_eq!(duration(3 * 86_400 + 59), "3 d");
        assert_eq!(duration(86_400 + 3600 * 2 + 5), "1 d 2 h");
    }

    #[test]
    fn a_relative_time_names_its_direction() {
        assert_eq!(relative(100, 160), "1 min ago");
        assert_eq!(relative(160, 100), "in 1 min");
        assert_eq!(relative(100, 100), "now");
    }
}

//! Times and durations as text.

use crate::model::UnixTime;
pub(in crate::cli) use crate::util::time::{duration, utc};

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
    fn a_relative_time_names_its_direction() {
        assert_eq!(relative(100, 160), "1 min ago");
        assert_eq!(relative(160, 100), "in 1 min");
        assert_eq!(relative(100, 100), "now");
    }
}

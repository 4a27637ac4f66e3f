//! The names of the files of history.

use std::path::Path;

use chrono::{DateTime, Datelike, Months, NaiveDate};

use crate::model::UnixTime;

pub(super) const SUFFIX: &str = ".log";

/// The name of a file of history.
pub(super) fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Whether history has files of this name.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    month_of(name).is_some() || is_runs_file(name)
}

/// Whether a file of this name has the runs of a job.
fn is_runs_file(name: &str) -> bool {
    let hash = name.strip_prefix("runs-").and_then(|name| name.strip_suffix(SUFFIX));
    hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The month of the file of this name; `None` if it has another name.
pub(super) fn month_of(name: &str) -> Option<&str> {
    let is_digit = |(at, byte): (usize, u8)| if at == 4 { byte == b'-' } else { byte.is_ascii_digit() };
    name.strip_suffix(SUFFIX).filter(|month| month.len() == 7 && month.bytes().enumerate().all(is_digit))
}

/// The month of a time: `2026-11`. Months outside of the years 0 to 9999 count as the nearest within.
pub(super) fn segment_of(at: UnixTime) -> String {
    match DateTime::from_timestamp(at, 0) {
        Some(time) if (0..=9999).contains(&time.year()) => time.format("%Y-%m").to_string(),
        _ if at < 0 => "0000-01".to_owned(),
        _ => "9999-12".to_owned(),
    }
}

/// The month before another; `None` if there is none from the year 0 on.
pub(super) fn segment_before(segment: &str) -> Option<String> {
    let month = format!("{segment}-01").parse::<NaiveDate>().ok()?.checked_sub_months(Months::new(1))?;
    Some(month).filter(|month| month.year() >= 0).map(|month| month.format("%Y-%m").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_month_before_the_first_one_is_none() {
        for (segment, before) in
            [("2026-11", Some("2026-10")), ("2026-01", Some("2025-12")), ("0000-01", None), ("x", None)]
        {
            assert_eq!(segment_before(segment).as_deref(), before);
        }
    }
}

//! Parsers of argument values that several commands share.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PathBufValueParser, TypedValueParser};
use ipnet::IpNet;

use crate::model::{AppId, JobName, MAX_WORKERS, Threads, UnixTime};
use crate::retry::Period;
use crate::retry::duration::{self, EXPECTED_DURATION};
use crate::util::home;
use crate::util::time::MAX_UNIX_TIME;

/// Names at least this similar are suggested, from 0 (nothing in common) to 1 (equal).
const MIN_SIMILARITY: f64 = 0.85;

/// The name that is most similar to `text`; `None` if none is similar enough.
pub(super) fn closest<'a>(text: &str, names: &'a [String]) -> Option<&'a String> {
    let similarity = |name: &String| strsim::jaro_winkler(text, name);
    names.iter().filter(|name| similarity(name) > MIN_SIMILARITY).max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
}

/// A path, in which `~` at the beginning is the home directory: a shell leaves it in `--store=~/store`.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| home::expand(&path))
}

/// The number of workers of a run, or `auto`.
pub(super) fn threads(text: &str) -> Result<Threads, String> {
    match text.parse() {
        _ if text == "auto" => Ok(Threads::Auto),
        Ok(workers @ 1..=MAX_WORKERS) => Ok(Threads::Fixed(workers)),
        Ok(workers) => Err(format!("{workers} is not in 1..={MAX_WORKERS}")),
        Err(_) => Err(format!("expected auto, or a number from 1 to {MAX_WORKERS}")),
    }
}

/// A duration, such as `30s`, or a number of seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    duration::duration(text).ok_or_else(|| EXPECTED_DURATION.to_owned())
}

/// A duration that is not 0.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|duration| {
        if duration.is_zero() { Err("expected more than 0 seconds".to_owned()) } else { Ok(duration) }
    })
}

/// A number that is not 0.
pub(super) fn positive(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected a number from 1".to_owned())
}

/// A period, which may be of calendar months.
pub(super) fn age(text: &str) -> Result<Period, String> {
    duration::period(text).ok_or_else(|| "expected a time such as '90 day', 90d, 36h or '6 month'".to_owned())
}

/// One occurrence of `--verbose`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verbosity {
    /// `-v`, or `--verbose` without a value.
    More,
    /// `--verbose=2`.
    Level(u8),
}

/// The value of `--verbose`, which may be empty.
pub(super) fn verbosity(text: &str) -> Result<Verbosity, String> {
    match text {
        "" => Ok(Verbosity::More),
        _ => text.parse().map(Verbosity::Level).map_err(|_| "expected a number, such as 2".to_owned()),
    }
}

/// A network; an address is the network of only that address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| "expected a network, such as 10.0.0.0/8 or fd00::/8".to_owned())
}

/// A time: RFC 3339, or seconds since 1970 in UTC.
pub(super) fn time(text: &str) -> Result<UnixTime, String> {
    text.parse()
        .ok()
        .or_else(|| chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp()))
        .filter(|time| (0..=MAX_UNIX_TIME).contains(time))
        .ok_or_else(|| "expected a time such as 2026-01-31T12:00:00Z, or seconds since 1970".to_owned())
}

/// The start of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// So long before its end.
    Before(Duration),
    At(UnixTime),
}

impl Since {
    /// The time, for a report that ends at `end`.
    pub(super) fn before(self, end: UnixTime) -> UnixTime {
        match self {
            Self::Before(duration) => end.saturating_sub_unsigned(duration.as_secs()),
            Self::At(at) => at,
        }
    }
}

/// A duration that is not 0, or a time in RFC 3339.
pub(super) fn since(text: &str) -> Result<Since, String> {
    // A number is one of seconds.
    if text.contains('T') { time(text).map(Since::At) } else { positive_duration(text).map(Since::Before) }
}

/// An app, with or without `app:`.
pub(super) fn app(text: &str) -> Result<AppId, String> {
    AppId::from_argument(text).map_err(|error| error.to_string())
}

/// A job name.
pub(super) fn job(text: &str) -> Result<JobName, String> {
    text.parse().map_err(|error: crate::model::InvalidId| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_starts_at_a_time_or_a_duration_before() {
        assert_eq!(since("2026-01-31T12:00:00Z"), Ok(Since::At(1_769_860_800)));
        assert_eq!(since("24h").map(|since| since.before(100_000)), Ok(13_600));
        assert!(since("2026-13-01T12:00:00Z").is_err_and(|error| error.starts_with("expected a time such as")));
        assert!(since("0s").is_err() && since("soon").is_err());
    }

    #[test]
    fn only_a_similar_name_is_suggested() {
        let names = ["org.example.myapp", "org.civicrm.profile"].map(str::to_owned);
        assert_eq!(closest("org.example.myap", &names), Some(&names[0]));
        assert_eq!(closest("com.acme", &names), None);
    }

    #[test]
    fn a_duration_is_above_zero_where_it_must_be() {
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(positive_duration("0m").is_err());
        assert_eq!(positive_duration("2m"), Ok(Duration::from_secs(120)));
    }

    #[test]
    fn what_is_no_positive_number_is_refused_without_the_largest_one() {
        assert_eq!(positive("18446744073709551615"), Ok(u64::MAX));
        for bad in ["0", "-1", "", "x", "1.5", "18446744073709551616"] {
            assert_eq!(positive(bad), Err("expected a number from 1".to_owned()), "{bad}");
        }
    }

    #[test]
    fn a_time_is_rfc_3339_or_seconds_since_1970() {
        assert_eq!(time("2026-01-31T12:00:00Z"), Ok(1_769_860_800));
        assert_eq!(time("1769860800"), Ok(1_769_860_800));
        for bad in ["", "-1", "tomorrow", "2026-01-31", "253402300800"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_is_a_network_of_one_address() {
        assert_eq!(network("10.0.0.1").map(|net| net.to_string()), Ok("10.0.0.1/32".to_owned()));
        assert_eq!(network("fd00::/8").map(|net| net.to_string()), Ok("fd00::/8".to_owned()));
        assert!(network("example.org").is_err());
    }
}

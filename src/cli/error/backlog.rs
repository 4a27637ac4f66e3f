//! The lines about runs that cannot keep up, and about a time without runs.

use std::time::Duration;

use crate::model::UnixTime;
use crate::run::{Backlog, Lack};
use crate::util::text::count;
use crate::util::time::{duration, utc};

/// The line about a run that could not poll all sites in time, with what would be needed for that.
pub(in crate::cli) fn backlog_text(backlog: &Backlog) -> String {
    let Backlog { due, left, elapsed, lateness_s, lacks, runtime } = backlog;
    let elapsed = duration(seconds(*elapsed));
    let what = match lateness_s {
        Some(lateness) if *left == 0 => {
            let late = duration(lateness.p95.into());
            format!("the run took {elapsed}, and polled 1 in 20 of its {due} sites more than {late} late")
        }
        _ => format!("{left} of {due} due sites were left after {elapsed}"),
    };
    let mut needs = match lacks {
        Some(Lack::Workers(workers)) => vec![format!("about {workers} workers (--threads)")],
        Some(Lack::Machine) => vec!["more processors".to_owned(), "fewer sites".to_owned()],
        Some(Lack::PollsPerHost) => vec!["more polls on one host (--per-host)".to_owned()],
        None => return format!("cannot keep up: {what}, and no poll had ended"),
    };
    // Whole minutes, or seconds where that is less than one.
    let whole = |seconds: i64| if seconds < 60 { seconds } else { (seconds + 59) / 60 * 60 };
    needs.extend(runtime.map(|runtime| format!("about {} (--max-runtime)", duration(whole(seconds(runtime))))));
    let last = needs.pop().unwrap_or_default();
    let needs = if needs.is_empty() { last } else { format!("{} or {last}", needs.join(", ")) };
    format!("cannot keep up: {what}; {needs} would be needed")
}

/// The line about a time in which no run began. `spread` is the period over which the next polls are spread.
pub(in crate::cli) fn stop_text(from: UnixTime, to: UnixTime, due: u64, spread: Option<Duration>) -> String {
    let (length, verb) = (duration(to.saturating_sub(from)), if due == 1 { "is" } else { "are" });
    let spread = spread.map(|period| format!("; their next polls are spread over {}", duration(seconds(period))));
    let (sites, spread) = (count(due, "site"), spread.unwrap_or_default());
    format!("no run began between {} and {} ({length}): {sites} {verb} due{spread}", utc(from), utc(to))
}

/// A duration in whole seconds, rounded up.
fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Lateness;

    #[test]
    fn a_backlog_has_what_would_be_needed() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let cut = Backlog {
            due: 5000,
            left: 1200,
            elapsed: minutes(20),
            lateness_s: None,
            lacks: Some(Lack::Workers(96)),
            runtime: Some(Duration::from_secs(31 * 60 - 20)),
        };
        let left = "cannot keep up: 1200 of 5000 due sites were left after 20 min";
        for (lacks, runtime, needed) in [
            (cut.lacks, cut.runtime, "about 96 workers (--threads) or about 31 min (--max-runtime)"),
            (cut.lacks, None, "about 96 workers (--threads)"),
            (Some(Lack::Machine), None, "more processors or fewer sites"),
            (Some(Lack::Machine), cut.runtime, "more processors, fewer sites or about 31 min (--max-runtime)"),
            (Some(Lack::PollsPerHost), None, "more polls on one host (--per-host)"),
        ] {
            let text = backlog_text(&Backlog { lacks, runtime, ..cut.clone() });
            assert_eq!(text, format!("{left}; {needed} would be needed"));
        }
        assert_eq!(backlog_text(&Backlog { lacks: None, ..cut.clone() }), format!("{left}, and no poll had ended"));
        let lateness_s = Some(Lateness { p50: 60, p95: 1260, max: 9999 });
        assert_eq!(
            backlog_text(&Backlog { left: 0, lateness_s, runtime: None, ..cut }),
            "cannot keep up: the run took 20 min, and polled 1 in 20 of its 5000 sites more than 21 min late; about 96 \
             workers (--threads) would be needed"
        );
    }

    #[test]
    fn a_stop_has_its_times_and_what_is_due() {
        let (from, to) = (1_767_261_600, 1_767_261_600 + 2 * 86_400 + 300);
        let text = stop_text(from, to, 1000, Some(Duration::from_secs(1200)));
        let times = "no run began between 2026-01-01 10:00:00Z and 2026-01-03 10:05:00Z (2 d): ";
        let end = "1000 sites are due; their next polls are spread over 20 min";
        assert_eq!(text.strip_prefix(times), Some(end), "{text}");
        assert!(stop_text(from, to, 1, None).ends_with(": 1 site is due"));
    }
}

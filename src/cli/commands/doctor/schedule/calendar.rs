//! The times at which a crontab line or a timer starts, and how far apart they are.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::util::time::DAY_S;
use chrono::{Datelike, NaiveDate};

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// The words of systemd for usual calendar expressions.
const NICKNAMES: [(&str, &str); 10] = [
    ("minutely", "*:*"),
    ("hourly", "*:00"),
    ("daily", "00:00"),
    ("midnight", "00:00"),
    ("weekly", "mon 00:00"),
    ("monthly", "*-01 00:00"),
    ("quarterly", "01,04,07,10-01 00:00"),
    ("semiannually", "01,07-01 00:00"),
    ("yearly", "01-01 00:00"),
    ("annually", "01-01 00:00"),
];

/// The times between starts, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Gaps {
    pub(in super::super) shortest_s: i64,
    pub(in super::super) longest_s: i64,
}

impl Gaps {
    /// Starts that are always as far apart.
    pub(super) fn always(gap_s: i64) -> Self {
        Self { shortest_s: gap_s, longest_s: gap_s }
    }

    /// The gaps of a timer that has both.
    pub(super) fn both(self, other: Self) -> Self {
        Self { longest_s: self.longest_s.min(other.longest_s), ..self.either(other) }
    }

    /// The gaps of entries that poll different batches.
    pub(super) fn either(self, other: Self) -> Self {
        let (shortest_s, longest_s) = (self.shortest_s.min(other.shortest_s), self.longest_s.max(other.longest_s));
        Self { shortest_s, longest_s }
    }

    /// The gaps of the five fields of a crontab line.
    ///
    /// `None` if they are not valid, or no day has such a date.
    pub(super) fn of_cron([minute, hour, day, month, week_day]: [&str; 5]) -> Option<Self> {
        // Of two restrictions of the day, either is enough.
        let is_either = ![day, week_day].iter().any(|field| field.starts_with('*'));
        Self::of_fields([minute, hour, day, month, week_day], is_either)
    }

    /// The gaps of a calendar expression of systemd.
    ///
    /// `None` if it is not valid, or not one that this can read.
    pub(super) fn of_calendar(text: &str) -> Option<Self> {
        let text = NICKNAMES.iter().find(|(name, _)| *name == text).map_or(text, |(_, meaning)| meaning);
        let text = text.replace("..", "~");
        let (mut minute, mut hour, mut day, mut month, mut week_day) = ("0", "0", "*", "*", "*".to_owned());
        for word in text.split_whitespace() {
            if word.starts_with(|c: char| c.is_ascii_alphabetic()) {
                // Days may be written out. Other words are time zones.
                let short = |name: &str| name.get(..3).unwrap_or(name).to_ascii_lowercase();
                if DAYS.contains(&short(word).as_str()) {
                    let days = |list: &str| list.split('~').map(short).collect::<Vec<_>>().join("-");
                    week_day = word.split(',').map(days).collect::<Vec<_>>().join(",");
                } else if !word.contains('/') && word != "UTC" {
                    return None;
                }
            } else if word.contains(':') {
                let mut parts = word.split(':');
                (hour, minute) = (parts.next()?, parts.next()?);
            } else {
                let mut parts = word.rsplit('-');
                (day, month) = (parts.next()?, parts.next()?);
            }
        }
        let fields = [minute, hour, day, month, &week_day].map(|field| field.replace('~', "-"));
        Self::of_fields(fields.each_ref().map(String::as_str), false)
    }

    fn of_fields([minute, hour, day, month, week_day]: [&str; 5], is_either: bool) -> Option<Self> {
        let minutes = field(minute, 0..=59, &[])?;
        let hours = field(hour, 0..=23, &[])?;
        let days = field(day, 1..=31, &[])?;
        let months = field(month, 1..=12, &MONTHS)?;
        let week_days: BTreeSet<_> = field(week_day, 0..=7, &DAYS)?.into_iter().map(|day| day % 7).collect();
        let is_start = |date: &NaiveDate| {
            let (in_days, in_week) =
                (days.contains(&date.day()), week_days.contains(&date.weekday().num_days_from_sunday()));
            months.contains(&date.month()) && if is_either { in_days || in_week } else { in_days && in_week }
        };
        let times: Vec<_> = hours
            .iter()
            .flat_map(|hour| minutes.iter().map(move |minute| i64::from(hour * 60 + minute) * 60))
            .collect();
        let overnight_s = DAY_S + times.first()? - times.last()?;
        // Nine years have two leap days.
        let dates = NaiveDate::from_ymd_opt(2024, 1, 1)?.iter_days().take(9 * 366);
        let starts: Vec<_> = (0..).zip(dates).filter(|(_, date)| is_start(date)).map(|(number, _)| number).collect();
        let between = starts.windows(2).map(|pair: &[i64]| (pair[1] - pair[0] - 1) * DAY_S + overnight_s);
        let within = times.windows(2).map(|pair| pair[1] - pair[0]);
        let (shortest_s, longest_s) =
            between.chain(within).fold((i64::MAX, 0), |(shortest, longest), gap| (shortest.min(gap), longest.max(gap)));
        (starts.len() > 1).then_some(Self { shortest_s, longest_s })
    }
}

/// The numbers of a field; `None` if it is not valid.
///
/// A random number of a range, `0~29`, stands for one start in each round: the first number is taken.
fn field(text: &str, range: RangeInclusive<u32>, names: &[&str]) -> Option<BTreeSet<u32>> {
    let number = |text: &str| {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = named.and_then(|at| u32::try_from(at).ok()).map(|at| at + range.start());
        named.or_else(|| text.parse().ok()).filter(|number| range.contains(number))
    };
    let mut numbers = BTreeSet::new();
    for part in text.split(',') {
        let (span, step) = part.split_once('/').map_or((part, None), |(span, step)| (span, Some(step)));
        let step: usize = step.map_or(Some(1), |step| step.parse().ok().filter(|step| *step > 0))?;
        let random = span.split_once('~');
        let span = match random.or_else(|| span.split_once('-')) {
            _ if span == "*" => range.clone(),
            Some((from, to)) if random.is_some() => {
                let or = |text: &str, default| if text.is_empty() { Some(default) } else { number(text) };
                let (from, _) = (or(from, *range.start())?, or(to, *range.end())?);
                from..=from
            }
            Some((from, to)) => number(from)?..=number(to)?,
            None if step > 1 => number(span)?..=*range.end(),
            None => number(span)?..=number(span)?,
        };
        numbers.extend(span.step_by(step));
    }
    (!numbers.is_empty()).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_and_the_longest_time_between_starts_of_cron() {
        for (line, shortest_s, longest_s) in [
            ("*/5 * * * *", 300, 300),
            ("* * * * *", 60, 60),
            ("0 * * * *", 3600, 3600),
            ("0,20 * * * *", 1200, 2400),
            ("0~29 * * * *", 3600, 3600),
            ("~ * * * *", 3600, 3600),
            ("30 2 * * *", DAY_S, DAY_S),
            ("0 8-17/3 * * mon-fri", 3 * 3600, (DAY_S * 3) - 9 * 3600),
            ("0 0 * * 7", 7 * DAY_S, 7 * DAY_S),
            ("0 3 1 * *", 28 * DAY_S, 31 * DAY_S),
            ("0 0 1,15 * *", 14 * DAY_S, 17 * DAY_S),
            ("0 0 1 */3 *", 90 * DAY_S, 92 * DAY_S),
            ("0 0 1 * mon", DAY_S, 7 * DAY_S),
            ("0 0 1 JAN *", 365 * DAY_S, 366 * DAY_S),
            ("*/5 * 1 * *", 300, 30 * DAY_S + 300),
        ] {
            let fields: Vec<_> = line.split(' ').collect();
            let gaps = Gaps::of_cron(fields.try_into().unwrap());
            assert_eq!(gaps, Some(Gaps { shortest_s, longest_s }), "{line}");
        }
        assert_eq!(Gaps::of_cron(["0", "0", "30", "2", "*"]), None, "no February has 30 days");
    }

    #[test]
    fn the_shortest_and_the_longest_time_between_starts_of_systemd() {
        for (text, shortest_s, longest_s) in [
            ("*:0/5", 300, 300),
            ("*-*-* *:0/10:00", 600, 600),
            ("hourly", 3600, 3600),
            ("02:30", DAY_S, DAY_S),
            ("Mon *-*-* 00:00:00 Europe/Berlin", 7 * DAY_S, 7 * DAY_S),
            ("Monday..Friday *:00", 3600, 2 * DAY_S + 3600),
            ("*-*-01 03:00:00 UTC", 28 * DAY_S, 31 * DAY_S),
            ("Sat,Sun 00/6:00", 6 * 3600, 5 * DAY_S + 6 * 3600),
            ("quarterly", 90 * DAY_S, 92 * DAY_S),
        ] {
            assert_eq!(Gaps::of_calendar(text), Some(Gaps { shortest_s, longest_s }), "{text}");
        }
        for text in ["x:y", "2026-*", "*-*~03 00:00", "Sat..Mon"] {
            assert_eq!(Gaps::of_calendar(text), None, "{text}");
        }
    }
}

//! The lines of a crontab, as far as they are needed to find runs and how often they start.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// A line that starts a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: usize,
    /// The longest time between two starts, in seconds; `None` for a line that does not repeat.
    pub(super) gap_s: Option<i64>,
    /// The user, in a crontab of the system.
    pub(super) user: Option<String>,
    /// The command for the shell.
    pub(super) command: String,
    /// Whether the command ends at a `%`, which cron takes for the end of a line.
    pub(super) is_cut: bool,
    /// The variables that are set above it.
    pub(super) variables: BTreeMap<String, String>,
}

const DAY_S: i64 = 86_400;
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Reads the lines of a crontab: commands, or the number of a line that cron refuses.
pub(super) fn parse(text: &str, has_user: bool) -> Vec<Result<Line, usize>> {
    let mut variables = BTreeMap::new();
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some((name, value)) = assignment(line) {
            variables.insert(name, value);
            continue;
        }
        lines.push(command(line, has_user).map_or(Err(number), |(gap_s, user, command)| {
            let (command, is_cut) = unescape(command);
            Ok(Line { number, gap_s, user, command, is_cut, variables: variables.clone() })
        }));
    }
    lines
}

/// The name and value of a line such as `PATH = "/bin"`; `None` for any other line.
fn assignment(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim().trim_matches(['"', '\'']), value.trim());
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let unquoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    is_name.then(|| (name.to_owned(), unquoted.unwrap_or(value).to_owned()))
}

/// Splits the first word off a line.
fn word(line: &str) -> Option<(&str, &str)> {
    line.trim_start().split_once([' ', '\t'])
}

fn command(line: &str, has_user: bool) -> Option<(Option<i64>, Option<String>, &str)> {
    // Some versions of cron have a sign for lines that are not logged.
    let line = line.strip_prefix('-').unwrap_or(line);
    let (gap_s, mut rest) = if line.starts_with('@') {
        let (name, rest) = word(line)?;
        // A line that does not repeat.
        let gap_s = if name.eq_ignore_ascii_case("@reboot") { None } else { Some(nickname(name)?) };
        (gap_s, rest)
    } else {
        let (mut rest, mut fields) = (line, [""; 5]);
        for field in &mut fields {
            (*field, rest) = word(rest)?;
        }
        (Some(gap(fields)?), rest)
    };
    let mut user = None;
    if has_user {
        let (name, after) = word(rest)?;
        // FreeBSD has a login class after the user.
        user = Some(name.split(['/', ':']).next().unwrap_or(name).to_owned());
        rest = after;
    }
    Some((gap_s, user, rest.trim()))
}

/// The command before the first `%`, after which is its standard input, and whether there is one.
fn unescape(command: &str) -> (String, bool) {
    let (mut text, mut chars) = (String::new(), command.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '%' => return (text, true),
            '\\' if chars.next_if_eq(&'%').is_some() => text.push('%'),
            c => text.push(c),
        }
    }
    (text, false)
}

/// The time between starts of a line such as `@hourly`, in seconds; `None` for an unknown word.
fn nickname(name: &str) -> Option<i64> {
    Some(match name.to_ascii_lowercase().as_str() {
        "@every_minute" => 60,
        "@hourly" => 3600,
        "@daily" | "@midnight" => DAY_S,
        "@weekly" => 7 * DAY_S,
        "@monthly" => 31 * DAY_S,
        "@yearly" | "@annually" => 366 * DAY_S,
        _ => return None,
    })
}

/// The longest time between two starts, in seconds; `None` if the fields are not valid.
fn gap([minute, hour, day, month, week_day]: [&str; 5]) -> Option<i64> {
    let minutes = field(minute, 0..=59, &[])?;
    let hours = field(hour, 0..=23, &[])?;
    let days = field(day, 1..=31, &[])?;
    let months = field(month, 1..=12, &MONTHS)?;
    let week_days: BTreeSet<_> = field(week_day, 0..=7, &DAYS)?.into_iter().map(|day| day % 7).collect();
    if months.len() < 12 {
        return Some(366 * DAY_S);
    }
    if days.len() < 31 {
        return Some(31 * DAY_S);
    }
    let mut starts = Vec::new();
    for day in 0..14 {
        if week_days.contains(&(day % 7)) {
            starts.extend(hours.iter().flat_map(|hour| {
                minutes.iter().map(move |minute| i64::from(day) * DAY_S + i64::from(hour * 60 + minute) * 60)
            }));
        }
    }
    starts.windows(2).map(|pair| pair[1] - pair[0]).max()
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
    fn the_longest_time_between_starts() {
        for (line, expected) in [
            ("*/5 * * * *", 300),
            ("* * * * *", 60),
            ("0 * * * *", 3600),
            ("0,20 * * * *", 2400),
            ("0~29 * * * *", 3600),
            ("~ * * * *", 3600),
            ("30 2 * * *", DAY_S),
            ("0 8-17/3 * * mon-fri", (DAY_S * 3) - 9 * 3600),
            ("0 0 * * 7", 7 * DAY_S),
            ("0 0 1 * *", 31 * DAY_S),
            ("0 0 1 JAN *", 366 * DAY_S),
            ("@hourly", 3600),
        ] {
            let lines = parse(&format!("{line} x"), false);
            assert_eq!(lines[0].as_ref().unwrap().gap_s, Some(expected), "{line}");
        }
        assert_eq!(parse("@reboot x", false)[0].as_ref().unwrap().gap_s, None);
        for bad in [
            "61 * * * * x",
            "* * * * x",
            "*/0 * * * * x",
            "@often x",
            "* * 0 * * x",
            "* * * * * root",
            "~99 * * * * x x",
        ] {
            assert!(parse(bad, true)[0].is_err(), "{bad}");
        }
    }

    #[test]
    fn variables_users_and_percent_signs() {
        let text = "# comment\nMAILTO=\"\"\n PATH = '/opt/bin:/bin'\n\n*/5 * * * *\tcxnpoll  date +\\%F a%stdin\nA=1\n";
        let lines = parse(text, true);
        let line = lines[0].as_ref().unwrap();
        assert_eq!((line.number, line.user.as_deref()), (5, Some("cxnpoll")));
        assert_eq!((line.command.as_str(), line.variables["PATH"].as_str()), ("date +%F a", "/opt/bin:/bin"));
        assert_eq!((lines.len(), line.variables.len()), (1, 2));
    }
}

//! The lines of a crontab, as far as they are needed to find runs and how often they start.

use std::collections::BTreeMap;

use super::calendar::Gaps;

/// A line that starts a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: usize,
    /// The times between starts; `None` for a line that does not repeat.
    pub(super) gaps: Option<Gaps>,
    /// The user, in a crontab of the system.
    pub(super) user: Option<String>,
    /// The command for the shell.
    pub(super) command: String,
    /// Whether the command ends at a `%`, which cron takes for the end of a line.
    pub(super) is_cut: bool,
    /// The variables that are set above it.
    pub(super) variables: BTreeMap<String, String>,
}

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
        lines.push(command(line, has_user).map_or(Err(number), |(gaps, user, command)| {
            let (command, is_cut) = unescape(command);
            Ok(Line { number, gaps, user, command, is_cut, variables: variables.clone() })
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

fn command(line: &str, has_user: bool) -> Option<(Option<Gaps>, Option<String>, &str)> {
    // Some versions of cron have a sign for lines that are not logged.
    let line = line.strip_prefix('-').unwrap_or(line);
    let (gaps, mut rest) = if line.starts_with('@') {
        let (name, rest) = word(line)?;
        // A line that does not repeat.
        let is_repeated = !name.eq_ignore_ascii_case("@reboot");
        (if is_repeated { Some(Gaps::of_cron(nickname(name)?)?) } else { None }, rest)
    } else {
        let (mut rest, mut fields) = (line, [""; 5]);
        for field in &mut fields {
            (*field, rest) = word(rest)?;
        }
        (Some(Gaps::of_cron(fields)?), rest)
    };
    let mut user = None;
    if has_user {
        let (name, after) = word(rest)?;
        // The column is missing where this program and its command are in its place.
        let is_command = ["poll", "cxn:poll", "-"].iter().any(|start| after.trim_start().starts_with(start));
        if is_command && name.ends_with("cxnpoll") {
            return None;
        }
        // FreeBSD has a login class after the user.
        user = Some(name.split(['/', ':']).next().unwrap_or(name).to_owned());
        rest = after;
    }
    Some((gaps, user, rest.trim()))
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

/// The fields that a word such as `@hourly` stands for; `None` for an unknown word.
fn nickname(name: &str) -> Option<[&'static str; 5]> {
    Some(match name.to_ascii_lowercase().as_str() {
        "@every_minute" => ["*"; 5],
        "@hourly" => ["0", "*", "*", "*", "*"],
        "@daily" | "@midnight" => ["0", "0", "*", "*", "*"],
        "@weekly" => ["0", "0", "*", "*", "0"],
        "@monthly" => ["0", "0", "1", "*", "*"],
        "@yearly" | "@annually" => ["0", "0", "1", "1", "*"],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_times_or_is_refused() {
        let gaps = |line: &str| parse(&format!("{line} x"), false).remove(0).unwrap().gaps;
        assert_eq!(gaps("@hourly"), Some(Gaps::always(3600)));
        assert_eq!(gaps("*/5 * * * *"), Some(Gaps::always(300)));
        assert_eq!(gaps("@reboot"), None);
        for bad in [
            "61 * * * * x",
            "* * * * x",
            "*/0 * * * * x",
            "@often x",
            "* * 0 * * x",
            "* * * * * root",
            "~99 * * * * x x",
            "* * * * * /usr/bin/cxnpoll poll x",
            "* * * * * cxnpoll --store /x poll x",
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

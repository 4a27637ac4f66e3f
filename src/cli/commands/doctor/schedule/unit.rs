//! Unit files of systemd: their keys, the specifiers in values, and how often a timer starts.

use std::collections::BTreeMap;

use super::calendar::Gaps;
use crate::retry::duration;

/// The keys that set the times of a timer; the first of them repeat.
const TRIGGERS: [&str; 8] = [
    "OnCalendar",
    "OnUnitActiveSec",
    "OnUnitInactiveSec",
    "OnActiveSec",
    "OnBootSec",
    "OnStartupSec",
    "OnClockChange",
    "OnTimezoneChange",
];
/// How many of these repeat.
const REPEATING: usize = 3;

/// The keys of a unit with its drop-ins, in the order in which they are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unit(Vec<(String, String)>);

impl Unit {
    /// Reads the keys of a file. An empty value removes those before it, and one of a time removes all times.
    pub(super) fn add(&mut self, text: &str) {
        for line in text.replace("\\\n", " ").lines().map(str::trim) {
            if line.starts_with(['#', ';', '[']) {
                continue;
            }
            match line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
                Some((key, "")) if TRIGGERS.contains(&key) => {
                    self.0.retain(|(other, _)| !TRIGGERS.contains(&other.as_str()));
                }
                Some((key, "")) => self.0.retain(|(other, _)| other != key),
                Some((key, value)) => self.0.push((key.to_owned(), value.to_owned())),
                None => {}
            }
        }
    }

    /// The values of a key.
    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The last value of a key.
    pub(super) fn last<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        self.all(key).last()
    }

    /// Whether the last value of a key is one of these.
    pub(super) fn has(&self, key: &str, values: &[&str]) -> bool {
        self.last(key).is_some_and(|value| values.contains(&value))
    }

    /// Whether a timer has a time at which it starts, and whether it starts again and again.
    pub(super) fn triggers(&self) -> (bool, bool) {
        (self.any(&TRIGGERS), self.any(&TRIGGERS[..REPEATING]))
    }

    fn any(&self, keys: &[&str]) -> bool {
        self.0.iter().any(|(key, _)| keys.contains(&key.as_str()))
    }

    /// The times between two starts of a timer; `None` if they are not known.
    pub(super) fn gaps(&self) -> Option<Gaps> {
        let calendar = self.all("OnCalendar").map(Gaps::of_calendar);
        let repeat = ["OnUnitActiveSec", "OnUnitInactiveSec"].into_iter().flat_map(|key| self.all(key)).map(span);
        calendar.chain(repeat).collect::<Option<Vec<_>>>()?.into_iter().reduce(Gaps::both)
    }
}

/// A time span such as `5min`.
fn span(text: &str) -> Option<Gaps> {
    duration::duration(text).and_then(|span| i64::try_from(span.as_secs()).ok()).map(Gaps::always)
}

/// Replaces the specifiers of a unit in a value.
pub(super) fn with_specifiers(value: &str, unit: &str) -> String {
    let (stem, _) = unit.rsplit_once('.').unwrap_or((unit, ""));
    let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
    let (mut text, mut chars) = (String::new(), value.chars());
    while let Some(c) = chars.next() {
        match (c, (c == '%').then(|| chars.next()).flatten()) {
            ('%', Some('%')) => text.push('%'),
            ('%', Some('i')) => text.push_str(instance),
            ('%', Some('I')) => text.push_str(&unescape(instance)),
            ('%', Some('p')) => text.push_str(prefix),
            ('%', Some('n')) => text.push_str(unit),
            ('%', Some('N')) => text.push_str(stem),
            ('%', Some('S')) => text.push_str("/var/lib"),
            ('%', Some('L')) => text.push_str("/var/log"),
            ('%', Some('C')) => text.push_str("/var/cache"),
            ('%', Some('E')) => text.push_str("/etc"),
            ('%', Some('t')) => text.push_str("/run"),
            ('%', Some(other)) => text.extend(['%', other]),
            (c, _) => text.push(c),
        }
    }
    text
}

/// The text of an instance name: `-` is `/`, and `\x2d` is `-`.
fn unescape(instance: &str) -> String {
    let mut parts = instance.split("\\x");
    let first = parts.next().unwrap_or_default().replace('-', "/");
    parts.fold(first, |text, part| match part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
        Some(byte) => text + &char::from(byte).to_string() + &part[2..].replace('-', "/"),
        None => text + part,
    })
}

/// The variables of an `Environment=`, which may have several.
pub(super) fn variables(text: &str) -> BTreeMap<String, String> {
    let words = shlex::split(text).unwrap_or_default();
    words.iter().filter_map(|word| word.split_once('=')).map(owned).collect()
}

/// The variables of a file that `EnvironmentFile=` names, one per line.
pub(super) fn variables_of_file(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let unquoted = |value: &str| {
        let value = value.trim();
        let inner = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        inner.unwrap_or(value).to_owned()
    };
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), unquoted(value)))
        .collect()
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_starts_so_often() {
        for (text, expected, triggers) in [
            ("[Timer]\nOnCalendar=*:0/5\n", Some(300), (true, true)),
            ("OnCalendar=hourly\nOnCalendar=\nOnCalendar=*:*", Some(60), (true, true)),
            ("OnBootSec=1min\nOnUnitActiveSec=15min", Some(900), (true, true)),
            ("OnCalendar=at noon:x", None, (true, true)),
            ("OnBootSec=1min", None, (true, false)),
            ("OnCalendar=hourly\nOnBootSec=1min\nOnCalendar=", None, (false, false)),
            ("# nothing", None, (false, false)),
        ] {
            let mut unit = Unit::default();
            unit.add(text);
            assert_eq!((unit.gaps(), unit.triggers()), (expected.map(Gaps::always), triggers), "{text}");
        }
    }

    #[test]
    fn specifiers_and_variables_are_replaced() {
        let unit = "cxnpoll@org.example.a\\x2db.service";
        let text = with_specifiers("%p poll %I 100%% --store %S/x --log-file %L/%i.log", unit);
        assert_eq!(
            text,
            "cxnpoll poll org.example.a-b 100% --store /var/lib/x --log-file /var/log/org.example.a\\x2db.log"
        );
        let texts =
            |variables: BTreeMap<String, String>| variables.into_iter().map(|(a, b)| a + &b).collect::<Vec<_>>();
        assert_eq!(texts(variables("A=1 B='2 3' \"C=x y\"")), ["A1", "B2 3", "Cx y"]);
        assert_eq!(texts(variables_of_file("# no\nA=1 2\nB='2 3'\n\nC = \"x\"\n")), ["A1 2", "B2 3", "Cx"]);
    }

    #[test]
    fn a_drop_in_replaces_what_it_empties() {
        let mut unit = Unit::default();
        unit.add("[Service]\nUser=a\nExecStart=one \\\n  two\n");
        unit.add("ExecStart=\nExecStart=three\nUser=b\n");
        assert_eq!((unit.all("ExecStart").collect::<Vec<_>>(), unit.last("User")), (vec!["three"], Some("b")));
    }
}

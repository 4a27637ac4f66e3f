//! The text of a progress bar: what fits into the width of a terminal, the most important first.

use std::fmt::Write;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Style};
use indicatif::{HumanCount, HumanDuration};
use unicode_width::UnicodeWidthStr;

/// What a bar shows.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    /// How many things are done.
    pub(super) done: u64,
    /// How many there are; `None` if that is not known.
    pub(super) total: Option<u64>,
    /// What is done to them: `polled`.
    pub(super) verb: &'static str,
    /// How many are done per second.
    pub(super) per_second: u64,
    /// How long the rest takes; `None` if there is no estimate.
    pub(super) left: Option<Duration>,
    /// The figures of a run; `None` for other commands.
    pub(super) run: Option<RunFigures>,
}

/// What a bar shows of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct RunFigures {
    pub(super) ok: u64,
    /// Failures by the name of their class, the most frequent first.
    pub(super) failed: Vec<(&'static str, u64)>,
    pub(super) skipped: u64,
    pub(super) polls_at_a_time: usize,
    /// The hosts of the slowest polls, and for how many seconds these are in flight.
    pub(super) slow: Vec<(String, u64)>,
}

/// How much of the figures a line shows.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each part is shown or not")]
struct Detail {
    verb: bool,
    outcomes: bool,
    skipped: bool,
    /// 0 is no bar.
    bar_width: usize,
    classes: bool,
    left: bool,
    rate: bool,
    polls_at_a_time: bool,
}

/// The details, the most important first.
const DETAILS: [fn(&mut Detail); 9] = [
    |detail| detail.verb = true,
    |detail| detail.outcomes = true,
    |detail| detail.skipped = true,
    |detail| detail.bar_width = 10,
    |detail| detail.classes = true,
    |detail| detail.left = true,
    |detail| detail.bar_width = 20,
    |detail| detail.rate = true,
    |detail| detail.polls_at_a_time = true,
];

/// A line, with the styles of its parts.
#[derive(Debug, Default)]
struct Line {
    text: String,
    width: usize,
    is_colored: bool,
}

impl Line {
    fn push(&mut self, style: Style, text: &str) {
        self.width += text.width();
        let style = if self.is_colored { style } else { Style::new() };
        // A String takes everything.
        let _ = write!(self.text, "{style}{text}{style:#}");
    }

    /// Adds a part after a comma.
    fn add(&mut self, style: Style, text: &str) {
        self.push(Style::new(), ", ");
        self.push(style, text);
    }
}

/// Lays the figures out in one line, or two if polls are slow, of at most `width` characters.
///
/// The text is empty if not even the numbers fit.
pub(super) fn text(width: usize, figures: &Figures, is_colored: bool) -> String {
    let mut shown = Detail::default();
    let mut best = line(figures, shown, is_colored);
    if best.width > width {
        return String::new();
    }
    for add in DETAILS {
        let mut more = shown;
        add(&mut more);
        let longer = line(figures, more, is_colored);
        if longer.width <= width {
            (shown, best) = (more, longer);
        }
    }
    let mut text = best.text;
    if let Some(slow) = figures.run.as_ref().and_then(|run| slow_line(width, &run.slow, is_colored)) {
        text.push('\n');
        text.push_str(&slow.text);
    }
    text
}

fn line(figures: &Figures, detail: Detail, is_colored: bool) -> Line {
    let mut line = Line { is_colored, ..Line::default() };
    if let Some(total) = figures.total.filter(|_| detail.bar_width > 0) {
        let done = u128::from(figures.done.min(total)) * detail.bar_width as u128 / u128::from(total.max(1));
        let done = usize::try_from(done).unwrap_or(0);
        line.push(AnsiColor::Cyan.on_default(), &"█".repeat(done));
        line.push(Style::new().dimmed(), &"░".repeat(detail.bar_width - done));
        line.push(Style::new(), " ");
    }
    let total = figures.total.map_or_else(String::new, |total| format!("/{}", HumanCount(total)));
    let verb = if detail.verb { format!(" {}", figures.verb) } else { String::new() };
    line.push(Style::new().bold(), &format!("{}{total}{verb}", HumanCount(figures.done)));
    if detail.rate {
        line.add(Style::new(), &format!("{}/s", HumanCount(figures.per_second)));
    }
    if let Some(run) = figures.run.as_ref().filter(|_| detail.outcomes) {
        add_outcomes(&mut line, run, detail);
        if detail.polls_at_a_time {
            line.add(Style::new(), &format!("{} at a time", run.polls_at_a_time));
        }
    }
    if let Some(left) = figures.left.filter(|_| detail.left) {
        line.add(Style::new(), &format!("{:#} left", HumanDuration(left)));
    }
    line
}

/// Adds the counts of a run: `280 ok, 3 timeout, 96 skipped`.
fn add_outcomes(line: &mut Line, run: &RunFigures, detail: Detail) {
    let red = AnsiColor::Red.on_default();
    line.add(AnsiColor::Green.on_default(), &format!("{} ok", run.ok));
    if detail.classes {
        for (class, count) in &run.failed {
            line.add(red, &format!("{count} {class}"));
        }
    } else if !run.failed.is_empty() {
        line.add(red, &format!("{} failed", run.failed.iter().map(|(_, count)| count).sum::<u64>()));
    }
    if run.skipped > 0 && detail.skipped {
        line.add(AnsiColor::Yellow.on_default(), &format!("{} skipped", run.skipped));
    }
}

/// Lays out the slowest polls that fit into one line; `None` if there are none.
fn slow_line(width: usize, slow: &[(String, u64)], is_colored: bool) -> Option<Line> {
    let texts: Vec<String> = slow.iter().map(|(host, seconds)| format!("{seconds} s for {host}")).collect();
    let lines = (1..=texts.len()).rev().map(|shown| {
        let mut line = Line { is_colored, ..Line::default() };
        line.push(Style::new().dimmed(), &format!("waiting {}", texts[..shown].join(", ")));
        line
    });
    lines.into_iter().find(|line| line.width <= width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polling() -> Figures {
        let slow = [("slow.example.org", 12), ("почта.example.org", 7), ("寺.example.org", 3)];
        Figures {
            done: 1234,
            total: Some(5000),
            verb: "polled",
            per_second: 480,
            left: Some(Duration::from_secs(83)),
            run: Some(RunFigures {
                ok: 1180,
                failed: vec![("timeout", 40), ("http", 10), ("name-resolution", 4)],
                skipped: 20,
                polls_at_a_time: 256,
                slow: slow.map(|(host, seconds)| (host.to_owned(), seconds)).to_vec(),
            }),
        }
    }

    fn importing() -> Figures {
        Figures { run: None, verb: "imported", ..polling() }
    }

    #[test]
    fn every_line_fits_and_no_word_is_cut() {
        let unknown = Figures { total: None, left: None, ..importing() };
        let huge = Figures { done: u64::MAX, total: Some(u64::MAX), ..polling() };
        for figures in [polling(), importing(), unknown, Figures::default(), huge] {
            let all = text(usize::MAX, &figures, false);
            let words: Vec<&str> = all.split([' ', '\n']).collect();
            for width in 0..=300 {
                let text = text(width, &figures, false);
                for line in text.lines() {
                    assert!(line.width() <= width, "{width}: {line}");
                }
                // A bar may be shorter, and classes are counted together.
                let is_new = |word: &str| word.contains(['█', '░']) || ["54", "failed,", "failed"].contains(&word);
                for word in text.split([' ', '\n']).filter(|word| !word.is_empty() && !is_new(word)) {
                    let is_whole = |known: &&str| known.trim_end_matches(',') == word.trim_end_matches(',');
                    assert!(words.iter().any(is_whole), "{width}: {word} in {text}");
                }
                assert!(
                    width < 20 || figures.done == u64::MAX || text.starts_with(|c: char| "█░1,0".contains(c)),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn less_important_parts_are_left_out_first() {
        let first = |width| text(width, &polling(), false).lines().next().unwrap_or_default().to_owned();
        for expected in [
            "████░░░░░░░░░░░░░░░░ 1,234/5,000 polled, 480/s, 1180 ok, 40 timeout, 10 http, 4 name-resolution, 20 skipped, \
             256 at a time, 83s left",
            "████░░░░░░░░░░░░░░░░ 1,234/5,000 polled, 480/s, 1180 ok, 40 timeout, 10 http, 4 name-resolution, 20 skipped, \
             83s left",
            "████░░░░░░░░░░░░░░░░ 1,234/5,000 polled, 1180 ok, 40 timeout, 10 http, 4 name-resolution, 20 skipped, 83s left",
            "██░░░░░░░░ 1,234/5,000 polled, 1180 ok, 40 timeout, 10 http, 4 name-resolution, 20 skipped, 83s left",
            "██░░░░░░░░ 1,234/5,000 polled, 1180 ok, 40 timeout, 10 http, 4 name-resolution, 20 skipped",
            "████░░░░░░░░░░░░░░░░ 1,234/5,000 polled, 1180 ok, 54 failed, 20 skipped, 83s left",
            "██░░░░░░░░ 1,234/5,000 polled, 1180 ok, 54 failed, 20 skipped",
            "1,234/5,000 polled, 1180 ok, 54 failed, 20 skipped",
            "1,234/5,000 polled, 1180 ok, 54 failed",
            "1,234/5,000 polled",
            "1,234/5,000",
        ] {
            let width = expected.width();
            assert_eq!(first(width), expected);
            assert_ne!(first(width - 1), expected);
        }
        assert_eq!(first("1,234/5,000".len() - 1), "");
    }

    #[test]
    fn as_many_slow_hosts_are_shown_as_fit() {
        let second = |width| text(width, &polling(), false).lines().nth(1).map(str::to_owned);
        let all = "waiting 12 s for slow.example.org, 7 s for почта.example.org, 3 s for 寺.example.org";
        assert_eq!(second(all.chars().count() + 1).as_deref(), Some(all), "one character takes two cells");
        assert_eq!(
            second(all.chars().count()).as_deref(),
            Some("waiting 12 s for slow.example.org, 7 s for почта.example.org")
        );
        assert_eq!(second(32), None);
    }

    #[test]
    fn colors_change_no_text() {
        let colored = text(100, &polling(), true);
        let mut plain = String::new();
        let mut parts = colored.split('\u{1b}');
        plain.push_str(parts.next().unwrap());
        parts.for_each(|part| plain.push_str(part.split_once('m').unwrap().1));
        assert_eq!(plain, text(100, &polling(), false));
        assert!(colored.contains("\u{1b}[32m1180 ok\u{1b}[0m"), "{colored:?}");
    }
}

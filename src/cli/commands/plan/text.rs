//! The text of `plan`: a block of lines and a chart for each job.

use clap::builder::styling::Style;

use super::chart;
use super::row::{Row, mean_text};
use crate::batch::Batch;
use crate::cli::ui::wrap::{self, words};
use crate::cli::ui::{output, terminal, time};
use crate::model::{AppId, UnixTime};
use crate::util::text::{count, sanitize};

/// The width of the column of labels.
const LABEL: usize = 12;
/// In a narrower terminal, lines that go on are less indented.
const NARROW: usize = 50;
/// How many of the sites that will be given up are shown.
const MAX_SHOWN: usize = 5;

/// How the text is printed.
pub(super) struct Text {
    width: usize,
}

impl Text {
    pub(super) fn new() -> Self {
        Self { width: terminal::width().unwrap_or(terminal::DEFAULT_WIDTH) }
    }

    /// Prints the jobs, then the apps that are disabled.
    pub(super) fn print(&self, rows: &[Row], disabled_apps: &[AppId]) {
        let mut blocks: Vec<_> = rows.iter().map(|row| self.block(row)).collect();
        blocks.extend(disabled_apps.iter().map(|app_id| self.sentence(&format!("{} is disabled.", app_id.short()))));
        if blocks.is_empty() {
            blocks.push(self.sentence("There are no connections yet. Import some: cxnpoll import FILE"));
        }
        blocks.join(&String::new()).iter().for_each(|line| output::line(line));
    }

    fn sentence(&self, text: &str) -> Vec<String> {
        wrap::lines(words(text), self.width, 2)
    }

    fn block(&self, row: &Row) -> Vec<String> {
        let mut lines = self.sentence(&format!("{} {}", row.question.app_id.short(), row.question.job));
        let hint = if row.question.has_run { "" } else { " (no run yet)" };
        lines.extend(self.line("Schedule", &format!("{}{hint}", row.question.policy)));
        if let Some(batch) = batch(row) {
            lines.extend(self.line("Batch", &batch));
        }
        let hint = if row.question.has_ticks { "" } else { " (assumed)" };
        let (runs, tick) = (row.forecast.runs.len(), time::duration(row.question.timetable.tick_s));
        lines.extend(self.line("Runs", &format!("{runs} in {} h, every {tick}{hint}", row.question.hours)));
        lines.extend(self.line("Sites", &sites(row)));
        let Some(peak) = row.peak() else {
            lines.extend(self.line("Polls", "none"));
            return lines;
        };
        let each = mean_text(row.polls(), row.forecast.runs.len() as u64);
        let at = format!("at most {} at {}", peak.polls, when(peak.at, row.question.now));
        lines.extend(self.line("Polls", &format!("{}, about {each} per run, {at}", row.polls())));
        lines.extend(self.line("Duration", &duration(row)));
        if let Some(first) = row.late().next() {
            let late = format!("{} would not end before the next one begins", count(row.late().count() as u64, "run"));
            lines.extend(self.line("Too long", &format!("{late}, first at {}", when(first.at, row.question.now))));
        }
        let retries = retries(row);
        if !retries.is_empty() {
            lines.extend(self.line("Retries", &retries));
        }
        lines.extend(self.given_up(row));
        lines.push(String::new());
        lines.extend(chart::lines(&row.forecast.runs, row.question.timetable.tick_s, self.width));
        lines
    }

    /// The sites that will be given up; nothing if there are none.
    fn given_up(&self, row: &Row) -> Vec<String> {
        if row.forecast.given_up == 0 {
            return Vec::new();
        }
        let mut lines =
            self.line("Given up", &format!("{}, without a success until then", count(row.forecast.given_up, "site")));
        for site in row.given_up.iter().take(MAX_SHOWN) {
            let (at, site_url) = (time::utc(site.at), sanitize(&site.site_url));
            lines.extend(self.line("", &format!("{at}  {}  {site_url}", site.cxn_id)));
        }
        let more = row.forecast.given_up.saturating_sub(MAX_SHOWN as u64);
        if more > 0 {
            lines.extend(self.line("", &format!("and {more} more")));
        }
        lines
    }

    /// A line with a label, with as many more as its text needs. Without a label, all are indented alike.
    fn line(&self, label: &str, text: &str) -> Vec<String> {
        let indent = if self.width < NARROW { 4 } else { LABEL };
        // The blank after the label is the one between words.
        let label =
            if label.is_empty() { " ".repeat(indent - 1) } else { format!("  {label:<width$}", width = LABEL - 3) };
        wrap::lines([(Style::new(), label)].into_iter().chain(words(text)), self.width, indent)
    }
}

/// `2026-01-31 12:00:00Z (in 20 min)`
fn when(at: UnixTime, now: UnixTime) -> String {
    format!("{} ({})", time::utc(at), time::relative(at, now))
}

/// The batch, and that of the last run if it was another; `None` if both are all sites.
fn batch(row: &Row) -> Option<String> {
    let batch = row.question.batch.to_string();
    match &row.question.last_run {
        Some(run) if run.batch != batch => {
            Some(format!("{batch}; the last run was of batch {} (--batch {})", run.batch, run.batch))
        }
        _ => (row.question.batch != Batch::default()).then_some(batch),
    }
}

/// `960 scheduled, of which 12 new, 34 failing; left out: 3 disabled, 5 given up`
fn sites(row: &Row) -> String {
    let counts = &row.counts;
    let list = |before: &str, parts: &[(u64, &str)]| {
        let parts = parts.iter().filter(|(count, _)| *count > 0).map(|(count, state)| format!("{count} {state}"));
        let text = parts.collect::<Vec<_>>().join(", ");
        if text.is_empty() { text } else { format!("{before}{text}") }
    };
    let of_which = list(", of which ", &[(counts.new, "new"), (counts.failing, "failing")]);
    let left_out = list("; left out: ", &[(counts.disabled, "disabled"), (counts.given_up, "given up")]);
    format!("{} scheduled{of_which}{left_out}", counts.scheduled)
}

/// How long the longest run takes.
fn duration(row: &Row) -> String {
    let Some(longest_ms) = row.forecast.runs.iter().filter_map(|run| run.duration_ms).max() else {
        return "not known, as no poll was timed yet".to_owned();
    };
    let seconds = i64::try_from(longest_ms / 1000).unwrap_or(i64::MAX);
    let longest = match seconds {
        0..10 => format!("{}.{} s", longest_ms / 1000, longest_ms % 1000 / 100),
        _ => time::duration(seconds),
    };
    format!("at most {longest} of a run, with {}", count(row.workers, "worker"))
}

/// The polls at slower levels: `12 polls at level 1 (every 1 hour), 3 at level 2 (every 1 day)`
fn retries(row: &Row) -> String {
    let levels =
        (0..).zip(row.question.policy.levels()).zip(&row.forecast.by_level).skip(1).filter(|(_, polls)| **polls > 0);
    let texts = levels.map(|((number, level), polls)| {
        format!("{} at level {number} (every {})", count(*polls, "poll"), level.period)
    });
    texts.collect::<Vec<String>>().join(", ")
}

//! The text of `status`: a block of lines for each job.

use std::cmp::Reverse;

use clap::ColorChoice;
use clap::builder::styling::{AnsiColor, Style};

use super::row::{CHANGES_S, Row};
use crate::cli::ui::wrap::{self, Piece, words};
use crate::cli::ui::{days, outage, output, skipped_hosts, terminal, time};
use crate::model::{AppId, JobName, UnixTime};
use crate::run::{ActiveRun, run_text};
use crate::util::text::count;

/// The length of the bar of levels, in cells.
const BAR: u64 = 12;
/// The width of the column of labels.
const LABEL: usize = 12;
/// In a narrower terminal, lines that go on are less indented.
const NARROW: usize = 50;

/// How the text is printed.
pub(super) struct Text {
    now: UnixTime,
    width: usize,
    has_colors: bool,
}

impl Text {
    pub(super) fn new(now: UnixTime, color: ColorChoice) -> Self {
        let width = terminal::width().unwrap_or(terminal::DEFAULT_WIDTH);
        Self { now, width, has_colors: terminal::is_colored(color, terminal::has_stdout()) }
    }

    /// Prints the jobs, then the apps that ran none with the number of their connections.
    ///
    /// `job` is the one that was asked for.
    pub(super) fn print(&self, rows: &[Row], without_job: &[(u64, AppId)], job: Option<&JobName>) {
        let blocks = rows.iter().map(|row| self.block(row));
        let blocks: Vec<_> = blocks.chain(without_job.iter().map(|(cxns, app_id)| self.idle(*cxns, app_id))).collect();
        let text = if blocks.is_empty() { self.nothing(job) } else { blocks.join(&String::new()) };
        for line in text {
            output::line(&line);
        }
    }

    /// What to do if there is nothing to show.
    fn nothing(&self, job: Option<&JobName>) -> Vec<String> {
        let text = match job {
            Some(job) => format!("No job {job} has run yet."),
            None => "There are no connections yet. Import some: cxnpoll import FILE".to_owned(),
        };
        wrap::lines(words(&text), self.width, 2)
    }

    /// The block of an app that has run no job.
    fn idle(&self, cxns: u64, app_id: &AppId) -> Vec<String> {
        let app = app_id.short();
        let (number, next) = match cxns {
            0 => ("no connections".to_owned(), "cxnpoll import FILE".to_owned()),
            _ => (count(cxns, "connection"), format!("cxnpoll poll {app}")),
        };
        let mut lines = wrap::lines([self.styled(Style::new().bold(), app)], self.width, 2);
        lines.extend(self.line("Sites", words(&format!("{number}, and no job has run"))));
        lines.extend(self.line("Next", words(&next)));
        lines
    }

    fn block(&self, row: &Row) -> Vec<String> {
        let (counts, now) = (&row.counts, self.now);
        let bold = Style::new().bold();
        let (job, bar) = (format!(" {}", row.job.name), format!(" {}", bar(row)));
        let title = [self.styled(bold, row.app_id.short()), self.styled(bold, &job), self.styled(Style::new(), &bar)];
        let mut lines = wrap::lines(title, self.width, 2);
        lines.extend(self.line("Sites", self.states(row)));
        lines.extend(self.failures(row));
        lines.extend(self.changes(row));
        lines.extend(self.recent(row));
        let next = counts.next_due.map(|due| format!("the next {}", time::relative(due, now)));
        let due = match (counts.due_now, next) {
            (0, None) => "never".to_owned(),
            (0, Some(next)) => format!("none now, {next}"),
            (due, None) => format!("{due} now"),
            (due, Some(next)) => format!("{due} now, {next}"),
        };
        lines.extend(self.line("Due", words(&due)));
        if let Some(run) = &row.job.last_run {
            let (at, batch) = (time::relative(run.now, now), &run.batch);
            lines.extend(self.line("Last run", words(&format!("{at}, batch {batch}: {}", run_text(run)))));
            for line in skipped_hosts::lines(run) {
                lines.extend(self.line("", words(&line)));
            }
            if let Some(outage) = outage::of_run(run) {
                let fault = format!("It met {outage}. Failures that this caused were not counted.");
                lines.extend(self.line("", [self.styled(AnsiColor::Yellow.on_default(), &fault)]));
                // A run that polled nothing does not end the outage, and met none.
                if let Some(since) = row.job.outage_since.filter(|since| *since < run.now) {
                    lines.extend(self.line("", words(&format!("So did all runs since {}.", self.when(since)))));
                }
            }
        }
        if let Some(since) = row.job.last_run.as_ref().and_then(|run| run.behind_since) {
            let text = format!("since {}: runs cannot poll all due sites in time", self.when(since));
            lines.extend(self.line("Behind", [self.styled(AnsiColor::Red.on_default().bold(), &text)]));
        }
        if let Some(since) = row.no_run_since(now) {
            let pause = time::duration(now.saturating_sub(since));
            let text = format!("no run for {pause}, although sites are due: is cron or the timer active?");
            lines.extend(self.line("Overdue", [self.styled(AnsiColor::Red.on_default().bold(), &text)]));
        }
        for run in &row.running {
            lines.extend(self.line("Running", [self.styled(AnsiColor::Cyan.on_default(), &self.active(run))]));
        }
        lines
    }

    /// `1 new, 2 healthy, 0/1 failing, 1 given up`
    fn states(&self, row: &Row) -> Vec<Piece> {
        let counts = &row.counts;
        let [green, yellow, red] = [AnsiColor::Green, AnsiColor::Yellow, AnsiColor::Red].map(AnsiColor::on_default);
        let levels = row.levels();
        let by_level: Vec<_> = levels.iter().map(ToString::to_string).collect();
        let failing = if levels.iter().any(|count| *count > 0) { yellow } else { Style::new() };
        let mut parts = vec![
            (Style::new(), format!("{} new", counts.new)),
            (if counts.healthy > 0 { green } else { Style::new() }, format!("{} healthy", counts.healthy)),
            (failing, format!("{} failing", by_level.join("/"))),
        ];
        let rare = [
            (Style::new(), counts.deferred, "deferred"),
            (Style::new(), counts.disabled, "disabled"),
            (red, counts.given_up, "given up"),
        ];
        let rare = rare.into_iter().filter(|(_, count, _)| *count > 0);
        parts.extend(rare.map(|(style, count, state)| (style, format!("{count} {state}"))));
        self.list(&parts)
    }

    /// The failures by class, the most frequent first; nothing if there are none.
    fn failures(&self, row: &Row) -> Vec<String> {
        let counts = &row.counts;
        let mut classes: Vec<_> = counts.failures.iter().collect();
        classes.sort_by_key(|(class, count)| (Reverse(**count), **class));
        let mut parts: Vec<_> =
            classes.iter().map(|(class, count)| (Style::new(), format!("{count} {class}"))).collect();
        let known: u64 = counts.failures.values().sum();
        let unknown = (counts.levels.iter().sum::<u64>() + counts.given_up).saturating_sub(known);
        if unknown > 0 {
            parts.push((Style::new(), format!("{unknown} without a known class")));
        }
        if parts.is_empty() { Vec::new() } else { self.line("Failures", self.list(&parts)) }
    }

    /// What changed lately; nothing if nothing did.
    fn changes(&self, row: &Row) -> Vec<String> {
        let Some((since, changes)) = row.changes else { return Vec::new() };
        let parts = [
            (changes.failing, "began to fail"),
            (changes.given_up, "given up"),
            (changes.recovered, "recovered"),
            (changes.failed_meanwhile, "failed for a time"),
        ];
        let parts: Vec<_> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        if parts.is_empty() {
            return Vec::new();
        }
        let since = match self.now.saturating_sub(since) {
            CHANGES_S => "since yesterday".to_owned(),
            seconds => format!("in the last {}", time::duration(seconds)),
        };
        self.line("Changed", words(&format!("{since}: {}", parts.join(", "))))
    }

    /// The availability of the last 30 days, if that was asked for.
    fn recent(&self, row: &Row) -> Vec<String> {
        let Some(recent) = &row.recent else { return Vec::new() };
        let Some(percent) = recent.times.percent() else {
            return self.line("Up", words("nothing is known of the last 30 days"));
        };
        let incidents = count(recent.incidents, "incident");
        let mut lines =
            self.line("Up", words(&format!("{percent} of the known time of the last 30 days, with {incidents}")));
        lines.extend(self.line("", [self.styled(Style::new(), &days::bar(&recent.slices))]));
        lines
    }

    fn active(&self, run: &ActiveRun) -> String {
        let Some(since) = run.since else { return "a run is active".to_owned() };
        let what = run.batch.as_ref().map_or_else(|| "a poll by hand".to_owned(), |batch| format!("batch {batch}"));
        let pid = run.pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
        let due = run.due.map_or_else(String::new, |due| format!(", {due} due at its start"));
        format!("since {}, {what}{pid}{due}", self.when(since))
    }

    /// `2026-01-31 12:00:00Z (20 min ago)`
    fn when(&self, at: UnixTime) -> String {
        format!("{} ({})", time::utc(at), time::relative(at, self.now))
    }

    /// A line with a label, with as many more as its text needs.
    fn line(&self, label: &str, text: impl IntoIterator<Item = Piece>) -> Vec<String> {
        // The blank after the label is the one between pieces.
        let label = (Style::new(), format!("  {label:<width$}", width = LABEL - 3));
        wrap::lines([label].into_iter().chain(text), self.width, if self.width < NARROW { 4 } else { LABEL })
    }

    /// Pieces with commas between them.
    fn list(&self, parts: &[Piece]) -> Vec<Piece> {
        let last = parts.len().saturating_sub(1);
        let with_comma = |(number, (style, text)): (usize, &Piece)| {
            self.styled(*style, &format!("{text}{}", if number < last { "," } else { "" }))
        };
        parts.iter().enumerate().map(with_comma).collect()
    }

    fn styled(&self, style: Style, text: &str) -> Piece {
        (if self.has_colors { style } else { Style::new() }, text.to_owned())
    }
}

/// Draws the shares of the states.
///
/// New is `○`, healthy `█`, failing by level `▓▒░`, deferred `~`, disabled `-`, given up `×`. Every state that occurs has at
/// least one cell.
fn bar(row: &Row) -> String {
    let counts = &row.counts;
    let levels = row.levels();
    let shades = ['▓', '▒', '░'].into_iter().chain(std::iter::repeat('░'));
    let mut parts = vec![('○', counts.new), ('█', counts.healthy)];
    parts.extend(shades.zip(levels));
    parts.extend([('~', counts.deferred), ('-', counts.disabled), ('×', counts.given_up)]);
    parts.retain(|(_, count)| *count > 0);
    let total: u64 = parts.iter().map(|(_, count)| count).sum();
    let mut cells: Vec<u64> = parts.iter().map(|(_, count)| (count * BAR / total.max(1)).max(1)).collect();
    // The largest part makes up for rounding.
    let sum: u64 = cells.iter().sum();
    if let Some(largest) = cells.iter_mut().max() {
        *largest = (*largest + BAR).saturating_sub(sum).max(1);
    }
    parts.iter().zip(cells).flat_map(|((c, _), cells)| (0..cells).map(|_| *c)).collect()
}

//! The chart of `plan`: a row for each hour, or as long as fits.

use super::row::mean_text;
use crate::cli::ui::time;
use crate::run::forecast::ForecastRun;
use crate::util::time::DAY_S;

/// The most rows, without the one that the first time may begin within.
const MAX_ROWS: i64 = 31;
/// The lengths of a row, in seconds.
const STEPS: [i64; 11] = [60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, DAY_S];
/// The longest and the shortest bar, in cells. In less room there is none.
const MAX_CELLS: usize = 100;
const MIN_CELLS: usize = 8;

/// Draws runs that begin every `tick_s` seconds.
///
/// Each line has the start of its time in UTC, a bar, and the mean and the largest number of polls of its runs.
pub(super) fn lines(runs: &[ForecastRun], tick_s: i64, width: usize) -> Vec<String> {
    let span_s = tick_s.saturating_mul(i64::try_from(runs.len()).unwrap_or(i64::MAX));
    let fits = |step: &i64| *step >= tick_s && span_s / step <= MAX_ROWS;
    let step = STEPS.into_iter().find(fits).unwrap_or(tick_s.max(DAY_S));
    let rows = runs.chunk_by(|a, b| a.at.div_euclid(step) == b.at.div_euclid(step));
    let rows: Vec<_> = rows.map(|runs| Row::new(runs, step)).collect();
    let [mean_width, peak_width] =
        [rows.iter().map(|row| row.mean_text().len()).max(), rows.iter().map(|row| row.peak.to_string().len()).max()]
            .map(|width| width.unwrap_or(0).max(4));
    let label_width = rows.first().map_or(0, |row| row.label.len());
    let used = 2 + label_width + 2 + 2 + mean_width + 2 + peak_width;
    // One more cell is for the mark of the peak.
    let cells = width.saturating_sub(used + 1).min(MAX_CELLS);
    let cells = if cells < MIN_CELLS { 0 } else { cells };
    let largest = rows.iter().map(|row| row.peak).max().unwrap_or(0);
    let line = |label: &str, bar: &str, mean: &str, peak: &str| {
        format!(
            "  {label:label_width$}  {bar:bar_width$}  {mean:>mean_width$}  {peak:>peak_width$}",
            bar_width = cells + 1
        )
    };
    let drawn =
        rows.iter().map(|row| line(&row.label, &row.bar(cells, largest), &row.mean_text(), &row.peak.to_string()));
    [line("UTC", "", "MEAN", "PEAK")].into_iter().chain(drawn).collect()
}

/// The runs of one line.
struct Row {
    label: String,
    polls: u64,
    runs: u64,
    peak: u64,
}

impl Row {
    fn new(runs: &[ForecastRun], step: i64) -> Self {
        let start = runs.first().map_or(0, |run| run.at.div_euclid(step).saturating_mul(step));
        let from_month = time::utc(start).split_off(5);
        let length = if step % DAY_S == 0 { "01-31".len() } else { "01-31 12:00".len() };
        Self {
            label: from_month.chars().take(length).collect(),
            polls: runs.iter().map(|run| run.polls).sum(),
            runs: runs.len() as u64,
            peak: runs.iter().map(|run| run.polls).max().unwrap_or(0),
        }
    }

    fn mean_text(&self) -> String {
        mean_text(self.polls, self.runs)
    }

    /// A bar as long as the mean, and a mark at the peak, where `cells` stand for `largest` polls.
    fn bar(&self, cells: usize, largest: u64) -> String {
        const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
        if cells == 0 || self.peak == 0 {
            return String::new();
        }
        // No product is near the limit: a mean is no larger than the largest number.
        let eighths = |polls: u64, by: u64| usize::try_from((polls * cells as u64 * 8).div_ceil(by)).unwrap_or(0);
        let mean = eighths(self.polls, self.runs * largest);
        let bar = "█".repeat(mean / 8) + EIGHTHS[mean % 8];
        let peak = eighths(self.peak, largest).div_ceil(8);
        format!("{bar:peak$}│")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_767_225_600;

    fn runs(polls: impl IntoIterator<Item = u64>, tick_s: i64) -> Vec<ForecastRun> {
        let run = |(number, polls)| ForecastRun { at: START + number * tick_s, polls, duration_ms: None };
        (0..).zip(polls).map(run).collect()
    }

    #[test]
    fn a_bar_is_as_long_as_the_mean_with_a_mark_at_the_peak() {
        let bar = |polls: &[u64]| Row::new(&runs(polls.to_vec(), 300), 3600).bar(16, 160);
        assert_eq!(bar(&[80; 12]), "████████│");
        assert_eq!(bar(&[40, 40, 160, 40, 40]), "██████▌         │");
        assert_eq!(bar(&[1; 12]), "▏│", "the least is seen");
        assert_eq!(bar(&[160]), "████████████████│");
        assert_eq!(bar(&[0; 12]), "");
    }

    #[test]
    fn rows_are_hours_or_longer_and_no_wider_than_the_terminal() {
        for (hours, tick_s, rows) in
            [(1, 300, 12), (24, 60, 24), (24, 300, 24), (48, 300, 24), (168, 300, 28), (744, 60, 31), (24, 7200, 12)]
        {
            let count = usize::try_from(hours * 3600 / tick_s).unwrap();
            let runs = runs((0..).map(|run| run % 1000).take(count), tick_s);
            for width in [40, 60, 80, 200] {
                let lines = lines(&runs, tick_s, width);
                assert_eq!(lines.len() - 1, rows, "{hours} h every {tick_s} s");
                assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:#?}");
            }
        }
        assert_eq!(lines(&runs([3, 4], 300), 300, 20)[1], "  01-01 00:00      3.0     3");
    }
}

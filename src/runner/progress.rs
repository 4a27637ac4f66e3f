//! The progress bar, on a terminal.

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::queue::Queue;
use super::summary::{Summary, by_count};
use crate::model::safe_text;

/// All bars of the process: whoever writes to stderr meanwhile does it within [`suspended`]. Off a terminal nothing is
/// ever drawn.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Does something with the bars out of the way.
pub fn suspended<T>(work: impl FnOnce() -> T) -> T {
    BARS.suspend(work)
}

/// How many of the slowest are shown.
const SLOWEST: usize = 3;
/// Who takes longer is slow.
const SLOW: Duration = Duration::from_secs(2);

/// How many a second.
fn rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    // What can't be written is not shown.
    let _ = write!(out, "{:.0}/s", state.per_sec());
}

/// A bar that counts polls.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Begins a bar of `polls`; one that is not `shown` draws nothing.
    pub(crate) fn begin(polls: usize, shown: bool) -> Self {
        if !shown {
            return Self(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()));
        }
        let left = |state: &ProgressState, out: &mut dyn fmt::Write| {
            // Before the first poll is over nobody knows.
            if state.pos() > 0 {
                let _ = write!(out, ", {:#} left", HumanDuration(state.eta()));
            }
        };
        let style = ProgressStyle::with_template("{bar:20} {pos}/{len} polled, {rate}, {msg}{left}{prefix}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("rate", rate)
            .with_key("left", left);
        let bar = BARS.add(ProgressBar::new(polls as u64).with_style(style));
        bar.set_message("0 ok, 0 failed");
        // One ticker draws; the workers never do.
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// Begins a bar that counts `total` things that are `done`, or as many as there are where that is 0.
    pub(crate) fn begin_of(total: usize, done: &'static str, shown: bool) -> Self {
        if !shown {
            return Self(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()));
        }
        let (bar, template) = match total {
            0 => (ProgressBar::new_spinner(), "{spinner} {human_pos} {msg}, {rate}"),
            _ => (ProgressBar::new(total as u64), "{bar:20} {human_pos}/{human_len} {msg}, {rate}, {eta} left"),
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let style = style.with_key("rate", rate);
        let bar = BARS.add(bar.with_style(style));
        bar.set_message(done);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// Moves the bar on.
    pub(crate) fn advance(&self, by: usize) {
        self.0.inc(by as u64);
    }

    /// Shows that the run comes to an end as soon as the polls that are under way are over.
    pub(crate) fn ending(&self, under_way: usize) {
        self.0.println(format!("Ending: {under_way} polls are under way. Once more ends them at once."));
    }

    /// Shows how far a run is.
    pub(crate) fn show(&self, summary: &Summary, queue: &Queue) {
        if self.0.is_hidden() {
            return;
        }
        self.0.set_position(summary.run.polled);
        let failed: Vec<_> = by_count(&summary.run).map(|(class, count)| format!(", {count} {class}")).collect();
        self.0.set_message(format!("{} ok{}", summary.run.ok, failed.concat()));
        let slow = queue.slowest(SLOWEST).into_iter().filter(|(_, taken)| *taken > SLOW);
        let slow: Vec<_> =
            slow.map(|(task, taken)| format!("{} s for {}", taken.as_secs(), safe_text(&task.cxn.host()))).collect();
        let slow = if slow.is_empty() { String::new() } else { format!("\nwaiting {}", slow.join(", ")) };
        self.0.set_prefix(slow);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

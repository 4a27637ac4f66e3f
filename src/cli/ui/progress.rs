//! The progress bar at a terminal.

use std::fmt;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tracing::warn;

use crate::cli::error::{Report, outage_text};
use crate::run::{self, Queue, Summary, Update, Warning, by_count};
use crate::util::text::{count, sanitize};

/// All bars of the process. Without a terminal none is drawn.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Removes the bars from standard error. They are drawn again with their next change.
pub(in crate::cli) fn clear() {
    // `suspend` would panic if the terminal takes nothing.
    let _ = BARS.clear();
}

/// How many of the slowest polls are shown.
const SLOWEST: usize = 3;
/// A poll that takes longer is slow.
const SLOW: Duration = Duration::from_secs(2);

/// Writes the rate per second.
fn rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    // The bar does without what cannot be written.
    let _ = write!(out, "{:.0}/s", state.per_sec());
}

/// Makes a separate thread draw a bar, so that no worker waits for the terminal.
///
/// If the system starts no thread, the bar is drawn when it changes: indicatif would panic.
fn draw_steadily(bar: &ProgressBar) {
    if thread::Builder::new().spawn(|| ()).is_ok() {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
}

/// A bar that counts polls.
pub(in crate::cli) struct Progress(ProgressBar);

impl Progress {
    /// Starts a bar of `polls`; if `shown` is false, it draws nothing.
    pub(in crate::cli) fn begin(polls: usize, shown: bool) -> Self {
        if !shown {
            return Self(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()));
        }
        let left = |state: &ProgressState, out: &mut dyn fmt::Write| {
            // Before the first poll is over there is no estimate.
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
        draw_steadily(&bar);
        Self(bar)
    }

    /// Starts a bar that counts `total` things that are `done`; 0 is an unknown total.
    pub(in crate::cli) fn begin_of(total: usize, done: &'static str, shown: bool) -> Self {
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
        draw_steadily(&bar);
        Self(bar)
    }

    /// Advances the bar.
    pub(in crate::cli) fn advance(&self, by: usize) {
        self.0.inc(by as u64);
    }

    /// Shows the progress of a run.
    fn show(&self, summary: &Summary, queue: &Queue) {
        if self.0.is_hidden() {
            return;
        }
        self.0.set_position(summary.run.polled);
        let failed: Vec<_> = by_count(&summary.run).map(|(class, count)| format!(", {count} {class}")).collect();
        let (ok, failed, threads) = (summary.run.ok, failed.concat(), summary.threads);
        self.0.set_message(format!("{ok} ok{failed}, {threads} at a time"));
        let slow = queue.slowest(SLOWEST).into_iter().filter(|(_, elapsed)| *elapsed > SLOW);
        let slow: Vec<_> =
            slow.map(|(task, elapsed)| format!("{} s for {}", elapsed.as_secs(), sanitize(&task.cxn.host()))).collect();
        let slow = if slow.is_empty() { String::new() } else { format!("\nwaiting {}", slow.join(", ")) };
        self.0.set_prefix(slow);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The progress of a run: a bar while it polls, and warnings.
pub struct RunProgress {
    is_shown: bool,
    bar: Option<Progress>,
}

impl RunProgress {
    /// Starts without a bar; if `is_shown` is false, no bar is ever drawn.
    #[must_use]
    pub fn new(is_shown: bool) -> Self {
        Self { is_shown, bar: None }
    }

    /// Shows an update of the run.
    pub fn update(&mut self, update: Update<'_>) {
        match (update, &self.bar) {
            (Update::Started { due }, _) => self.bar = Some(Progress::begin(due, self.is_shown)),
            (Update::Polling { summary, queue }, Some(bar)) => bar.show(summary, queue),
            (Update::Stopping { in_flight }, Some(bar)) => {
                let polls = count(in_flight as u64, "poll");
                bar.0.println(format!("Stopping: {polls} in flight. Interrupt again to stop at once."));
            }
            (Update::Outage { outage, left }, _) => warn!("{}", outage_text(outage, left)),
            (Update::PollingEnded, _) => self.bar = None,
            (Update::Warning(Warning::StoreBusy { error, outcomes }), _) => {
                let outcomes = count(outcomes as u64, "outcome");
                warn!("{}; {outcomes} not recorded yet", Report::from(error).message);
            }
            (Update::Warning(Warning::ResultsNotStored(error)), _) => {
                warn!("cannot store results: {}", Report::from(error).message);
            }
            (Update::Warning(Warning::NotRecorded { error, outcomes }), _) => {
                warn!("{}", Report::from(run::Error::NotRecorded { error, outcomes }).message);
            }
            (Update::Polling { .. } | Update::Stopping { .. }, None) | (Update::Ended { .. }, _) => {}
        }
    }
}

//! Progress bars at a terminal.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tracing::warn;

use super::bar_terminal::BarTerminal;
use super::progress_line::{self, Figures, RunFigures};
use super::terminal;
use crate::cli::error::{Report, backlog_text, outage_text, stop_text};
use crate::run::{self, Queue, Summary, Update, Warning, by_count};
use crate::util::text::{count, sanitize};

/// How many times a second bars are drawn at most.
const MAX_REFRESH_HZ: u8 = 20;
/// The width of the symbol that turns while the end is not known, and of the blank after it.
const SPINNER_WIDTH: usize = 2;

/// All bars of the process.
static BARS: LazyLock<MultiProgress> = LazyLock::new(|| {
    let target = ProgressDrawTarget::term_like_with_hz(Box::<BarTerminal>::default(), MAX_REFRESH_HZ);
    MultiProgress::with_draw_target(target)
});

/// Runs `write` while no bar is on standard error. Then the bars are drawn again.
pub(in crate::cli) fn without_bars<T>(write: impl FnOnce() -> T) -> T {
    BARS.suspend(write)
}

/// Whether bars are drawn, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Display {
    /// They are not drawn.
    Hidden,
    /// They are drawn without colors.
    Plain,
    /// They are drawn in colors.
    Colored,
}

/// How many of the slowest polls are shown.
const SLOWEST: usize = 3;
/// A poll that takes longer is slow.
const SLOW: Duration = Duration::from_secs(2);

/// Makes a separate thread draw a bar, so that no worker waits for the terminal.
///
/// If the system starts no thread, the bar is drawn when it changes: indicatif would panic.
fn draw_steadily(bar: &ProgressBar) {
    if thread::Builder::new().spawn(|| ()).is_ok() {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
}

/// A bar that counts what is done.
pub(in crate::cli) struct Progress {
    bar: ProgressBar,
    /// The figures of a run; `None` for other commands.
    run: Arc<Mutex<Option<RunFigures>>>,
}

impl Progress {
    /// Starts a bar of the polls of a run.
    fn begin_run(polls: usize, display: Display) -> Self {
        Self::begin(Some(polls as u64), "polled", display, Some(RunFigures::default()))
    }

    /// Starts a bar that counts `total` things to which `verb` is done; 0 is an unknown total.
    pub(in crate::cli) fn begin_of(total: usize, verb: &'static str, display: Display) -> Self {
        Self::begin((total > 0).then_some(total as u64), verb, display, None)
    }

    fn begin(total: Option<u64>, verb: &'static str, display: Display, run: Option<RunFigures>) -> Self {
        let run = Arc::new(Mutex::new(run));
        if display == Display::Hidden {
            return Self { bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()), run };
        }
        let shared = Arc::clone(&run);
        // The width is that of the terminal at the time of each drawing.
        let line = move |state: &ProgressState, out: &mut dyn fmt::Write| {
            let width = terminal::stderr_size().0;
            let width = if total.is_some() { width } else { width.saturating_sub(SPINNER_WIDTH) };
            let is_colored = display == Display::Colored;
            // A bar that cannot be drawn is left out.
            let _ = out.write_str(&progress_line::text(
                width,
                &figures(state, total, verb, lock(&shared).as_ref()),
                is_colored,
            ));
        };
        let (bar, template) = match total {
            None => (ProgressBar::new_spinner(), "{spinner} {line}"),
            Some(total) => (ProgressBar::new(total), "{line}"),
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = BARS.add(bar.with_style(style.with_key("line", line)));
        draw_steadily(&bar);
        Self { bar, run }
    }

    /// Advances the bar.
    pub(in crate::cli) fn advance(&self, by: usize) {
        self.bar.inc(by as u64);
    }

    /// Shows the progress of a run. The sites of hosts that are held now will be skipped.
    fn show(&self, summary: &Summary, queue: &Queue) {
        if self.bar.is_hidden() {
            return;
        }
        let slow = queue.slowest(SLOWEST).into_iter().filter(|(_, elapsed)| *elapsed > SLOW);
        let run = &summary.run;
        *lock(&self.run) = Some(RunFigures {
            ok: run.ok,
            failed: by_count(run).map(|(class, count)| (class.name(), count)).collect(),
            skipped: run.skipped + queue.held() as u64,
            polls_at_a_time: summary.threads,
            slow: slow.map(|(task, elapsed)| (sanitize(&task.cxn.host()), elapsed.as_secs())).collect(),
        });
        self.bar.set_position(run.polled);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn lock(run: &Mutex<Option<RunFigures>>) -> MutexGuard<'_, Option<RunFigures>> {
    run.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate that is shown")]
fn figures(state: &ProgressState, total: Option<u64>, verb: &'static str, run: Option<&RunFigures>) -> Figures {
    Figures {
        done: state.pos(),
        total,
        verb,
        per_second: state.per_sec() as u64,
        // Before the first is done there is no estimate.
        left: total.filter(|_| state.pos() > 0).map(|_| state.eta()),
        run: run.cloned(),
    }
}

/// The progress of a run: a bar while it polls, and warnings.
pub struct RunProgress {
    display: Display,
    bar: Option<Progress>,
}

impl RunProgress {
    /// Starts without a bar.
    #[must_use]
    pub fn new(display: Display) -> Self {
        Self { display, bar: None }
    }

    /// Shows an update of the run.
    pub fn update(&mut self, update: Update<'_>) {
        match (update, &self.bar) {
            (Update::Started { due }, _) => self.bar = Some(Progress::begin_run(due, self.display)),
            (Update::Polling { summary, queue }, Some(bar)) => bar.show(summary, queue),
            (Update::Stopping { in_flight }, Some(bar)) => {
                let polls = count(in_flight as u64, "poll");
                bar.bar.println(format!("Stopping: {polls} in flight.\nInterrupt again to stop at once."));
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
            (Update::Warning(Warning::CannotKeepUp(backlog)), _) => warn!("{}", backlog_text(&backlog)),
            (Update::Warning(Warning::NoRun { from, to, due, spread }), _) => {
                warn!("{}", stop_text(from, to, due, spread));
            }
            (Update::Polling { .. } | Update::Stopping { .. }, None) | (Update::Ended { .. }, _) => {}
        }
    }
}

//! The time in which a run runs, and the pauses in which it does not.
//!
//! A process does not run while it is stopped (SIGSTOP, a frozen container), and while the machine sleeps. Limits of time
//! may pass meanwhile, which is not the fault of a site. Two threads look at the clock every 50 ms, so a much longer interval
//! is a pause. So is one in which the process got no processor time, where limits mean as little.

use std::mem;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A longer interval between two looks at the clock is a pause.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// How often a thread that watches looks at the clock.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// The clock that goes on while the machine sleeps.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SLEEPLESS: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SLEEPLESS: ClockId = ClockId::Monotonic;

/// An interval in which the process did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    /// Its start since the run began, by the clock of polls. That clock may stand still while the machine sleeps.
    pub(super) from: Duration,
    /// Its end, by the same clock.
    pub(super) to: Duration,
    /// How long it lasted.
    pub(super) length: Duration,
}

/// The pauses of a run.
#[derive(Debug, Default)]
pub(super) struct PauseLog(Vec<Pause>);

impl PauseLog {
    pub(super) fn push(&mut self, pause: Pause) {
        self.0.push(pause);
    }

    /// How much of a poll was pause, by the clock of polls; `None` if the poll overlaps no pause.
    pub(super) fn within(&self, began: Duration, ended: Duration) -> Option<Duration> {
        let overlapping = self.0.iter().filter(|pause| began <= pause.to && ended >= pause.from);
        overlapping
            .map(|pause| pause.to.min(ended).saturating_sub(pause.from.max(began)))
            .reduce(|sum, more| sum + more)
    }

    /// How long all of them lasted; `None` if there was none.
    pub(super) fn length(&self) -> Option<Duration> {
        self.0.iter().map(|pause| pause.length).reduce(|sum, more| sum + more)
    }
}

/// The clock of a run.
#[derive(Debug)]
pub(super) struct RunClock {
    started: Instant,
    looks: Mutex<Looks>,
}

/// What the looks at the clock have shown.
#[derive(Debug, Default)]
struct Looks {
    last: Reading,
    /// How much of the clock of polls was pause.
    paused: Duration,
    /// The pauses that were not returned yet.
    pauses: Vec<Pause>,
}

/// A reading of both clocks.
#[derive(Debug, Clone, Copy, Default)]
struct Reading {
    /// The clock of polls, since the run began.
    polls: Duration,
    /// The clock that goes on while the machine sleeps.
    sleepless: Duration,
}

impl RunClock {
    /// Starts the clock.
    pub(super) fn start() -> Self {
        let clock = Self { started: Instant::now(), looks: Mutex::default() };
        clock.resume();
        clock
    }

    /// When the clock was started.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// For how long the run has run, without its pauses.
    pub(super) fn ran(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.looks().paused)
    }

    /// Begins to look for pauses again, after an interval without [`RunClock::observe`].
    pub(super) fn resume(&self) {
        self.looks().last = self.read();
    }

    /// Looks at the clock, and returns the pauses that are new.
    pub(super) fn observe(&self) -> Vec<Pause> {
        mem::take(&mut self.look().pauses)
    }

    /// Looks at the clock until the sender of `end` is dropped.
    ///
    /// So it is no pause if only the thread that observes waits, for example to write to a terminal that is stopped.
    pub(super) fn watch(&self, end: &Receiver<()>) {
        while end.recv_timeout(WATCH_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            drop(self.look());
        }
    }

    fn look(&self) -> MutexGuard<'_, Looks> {
        let mut looks = self.looks();
        let (last, now) = (looks.last, self.read());
        looks.last = now;
        if let Some(pause) = pause_between(last, now) {
            looks.paused += pause.to.saturating_sub(pause.from);
            looks.pauses.push(pause);
        }
        looks
    }

    /// No code panics while it holds the lock, so what a poisoned one guards is consistent.
    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Reading {
        let sleepless = Duration::try_from(clock_gettime(SLEEPLESS)).unwrap_or_default();
        Reading { polls: self.started.elapsed(), sleepless }
    }
}

/// The pause between two looks at the clock; `None` if there was none.
fn pause_between(last: Reading, now: Reading) -> Option<Pause> {
    let polls = now.polls.saturating_sub(last.polls);
    let length = now.sleepless.saturating_sub(last.sleepless).max(polls);
    (length > MIN_PAUSE).then(|| Pause { from: last.polls, to: last.polls + polls, length })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::thread;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn reading(polls: u64, sleepless: u64) -> Reading {
        Reading { polls: ms(polls), sleepless: ms(sleepless) }
    }

    #[test]
    fn a_long_interval_of_either_clock_is_a_pause() {
        for (polls, sleepless, expected) in [
            (150, 9_050, None),
            (1_100, 10_000, None),
            // It was stopped.
            (1_101, 10_001, Some((1_101, 1_001))),
            // The machine slept, and the clock of polls stood still.
            (150, 3_609_000, Some((150, 3_600_000))),
            // It went on meanwhile.
            (3_600_100, 3_609_000, Some((3_600_100, 3_600_000))),
            // There is no other clock.
            (6_100, 9_000, Some((6_100, 6_000))),
        ] {
            let pause = pause_between(reading(100, 9_000), reading(polls, sleepless));
            let expected = expected.map(|(to, length)| Pause { from: ms(100), to: ms(to), length: ms(length) });
            assert_eq!(pause, expected, "{polls} {sleepless}");
        }
    }

    #[test]
    fn a_poll_is_paused_as_far_as_it_overlaps_a_pause() {
        let mut pauses = PauseLog::default();
        assert_eq!((pauses.within(ms(0), ms(9_000)), pauses.length()), (None, None));
        pauses.push(Pause { from: ms(1_000), to: ms(6_000), length: ms(5_000) });
        // The machine slept.
        pauses.push(Pause { from: ms(8_000), to: ms(8_050), length: ms(60_000) });
        for (began, ended, expected) in [
            (0, 999, None),
            (0, 1_000, Some(0)),
            (0, 1_500, Some(500)),
            (500, 7_000, Some(5_000)),
            (6_000, 7_000, Some(0)),
            (6_001, 7_999, None),
            (500, 9_000, Some(5_050)),
            (8_051, 9_000, None),
        ] {
            assert_eq!(pauses.within(ms(began), ms(ended)), expected.map(ms), "{began} {ended}");
        }
        assert_eq!(pauses.length(), Some(ms(65_000)));
    }

    #[test]
    fn the_time_of_a_run_is_without_its_pauses() {
        let clock = RunClock::start();
        assert_eq!(clock.observe(), []);
        // As if the clock had not been looked at for so long.
        let started = clock.started.checked_sub(ms(60_000)).unwrap();
        let clock = RunClock { started, ..clock };
        let [pause] = clock.observe()[..] else { panic!("one pause") };
        assert!(pause.length >= ms(60_000) && clock.ran() < ms(50_000), "{pause:?}");
        assert_eq!(clock.observe(), [], "each is reported once");
        let clock = RunClock { started: clock.started.checked_sub(ms(60_000)).unwrap(), ..clock };
        clock.resume();
        assert_eq!(clock.observe(), []);
    }

    #[test]
    fn it_is_no_pause_if_only_the_thread_that_observes_waits() {
        let clock = &RunClock::start();
        thread::scope(|scope| {
            let (_running, end) = channel();
            scope.spawn(move || clock.watch(&end));
            thread::sleep(MIN_PAUSE + ms(500));
            assert_eq!(clock.observe(), []);
        });
    }
}

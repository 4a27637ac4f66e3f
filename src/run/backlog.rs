//! Whether the runs of a job poll all that is due in time, and what that would need: pure rules.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Lateness, MAX_WORKERS, Threads, UnixTime};

/// How often it is reported that a job cannot keep up, in seconds.
const REPORT_INTERVAL_S: i64 = 86_400;
/// If workers poll for at least this part of their time, a run lacks workers. Otherwise polls wait for their hosts.
const BUSY_PERCENT: u128 = 50;
/// How much is added to what is needed, in percent.
const SPARE_PERCENT: u128 = 10;

/// Sites that a run could not poll in time, and what would be needed for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// How many sites were due.
    pub due: u64,
    /// How many of these were left to the next run; 0 if they were polled too late.
    pub left: u64,
    /// How long the run polled, or might have if its time was over.
    pub elapsed: Duration,
    /// How late its polls began; `None` if that is not known.
    pub lateness_s: Option<Lateness>,
    /// What a run lacks; `None` if it ended no poll, which shows nothing.
    pub lacks: Option<Lack>,
    /// The maximum runtime that would be enough; `None` if it would be longer than the period of level 0.
    pub runtime: Option<Duration>,
}

/// What a run lacks that cannot keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// Workers: so many would be enough.
    Workers(u64),
    /// Processors, memory or open files, as all workers were busy and no more are possible.
    Machine,
    /// Polls at a time on one host. Workers waited for it.
    PollsPerHost,
}

/// What is known of a run before it polls.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// The period of level 0.
    pub(super) period: Duration,
    /// The limit of the run; `None` is no limit.
    pub(super) max_runtime: Option<Duration>,
    /// How many workers it may have.
    pub(super) threads: Threads,
    /// The seconds since the run before began; `None` if that is not known.
    pub(super) gap_s: Option<i64>,
    /// Whether no run had begun for a long time, so that it works off what became due meanwhile.
    pub(super) is_after_stop: bool,
}

/// What a run did, as far as it matters here.
#[derive(Debug, Clone)]
pub(super) struct Ran {
    /// How many polls ended.
    pub(super) polled: u64,
    /// How many sites were left because the time was over.
    pub(super) left: u64,
    /// How long it polled.
    pub(super) elapsed: Duration,
    /// The time that all polls took together.
    pub(super) busy: Duration,
    /// How many workers there were.
    pub(super) workers: usize,
    pub(super) lateness_s: Option<Lateness>,
}

impl Pace {
    /// What a run could not poll in time; `None` if it kept up.
    ///
    /// It did not if its time was over before all sites were polled. Nor did it if sites were late by a whole period and the
    /// run took more than half of the time between two runs.
    pub(super) fn backlog(&self, ran: &Ran) -> Option<Backlog> {
        let is_late = ran.lateness_s.is_some_and(|late| u64::from(late.p95) >= self.period.as_secs());
        let took_most =
            self.gap_s.is_some_and(|gap_s| u128::from(gap_s.unsigned_abs()) * 1000 <= ran.elapsed.as_millis() * 2);
        if self.is_after_stop || (ran.left == 0 && !(is_late && took_most)) {
            return None;
        }
        let due = ran.polled + ran.left;
        let limit = self.max_runtime.filter(|_| ran.left > 0).unwrap_or(ran.elapsed);
        let target = if ran.left > 0 { limit.min(self.period) } else { self.period };
        // As fast as it was, all of them would have taken this time.
        let all = |time: Duration| {
            let ms = time.as_millis() * u128::from(due) * (100 + SPARE_PERCENT) / (100 * u128::from(ran.polled).max(1));
            Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
        };
        let is_busy = ran.busy.as_millis() * 100 >= ran.elapsed.as_millis() * ran.workers as u128 * BUSY_PERCENT;
        let workers = all(ran.busy).as_millis().div_ceil(target.as_millis().max(1));
        let lacks = match self.threads {
            _ if !is_busy => Lack::PollsPerHost,
            Threads::Fixed(_) if workers <= MAX_WORKERS as u128 => {
                Lack::Workers(u64::try_from(workers).unwrap_or(u64::MAX))
            }
            Threads::Fixed(_) | Threads::Auto => Lack::Machine,
        };
        let is_known = ran.polled > 0;
        Some(Backlog {
            due,
            left: ran.left,
            elapsed: limit,
            lateness_s: ran.lateness_s,
            lacks: is_known.then_some(lacks),
            runtime: Some(all(ran.elapsed)).filter(|all| is_known && ran.left > 0 && *all <= self.period),
        })
    }
}

/// Since when the runs of a batch cannot keep up. A part of the format of lock files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Behind {
    /// The first of these runs; `None` if the last run kept up.
    pub(super) since: Option<UnixTime>,
    /// When that was last reported.
    reported: Option<UnixTime>,
}

impl Behind {
    /// This after a run that kept up.
    pub(super) fn caught_up(self) -> Self {
        Self { since: None, ..self }
    }

    /// Takes whether a run at `now` kept up. Returns whether to report that it did not: once a day at most.
    ///
    /// That holds for a job that sometimes keeps up, too. Times after `now` are those of a wrong clock.
    pub(super) fn update(&mut self, now: UnixTime, kept_up: bool) -> bool {
        let before = self.since.filter(|since| *since <= now);
        self.since = if kept_up { None } else { before.or(Some(now)) };
        let is_known = self.reported.is_some_and(|at| at <= now && now.saturating_sub(at) < REPORT_INTERVAL_S);
        let reports = !kept_up && !is_known;
        if reports {
            self.reported = Some(now);
        }
        reports
    }
}

#[cfg(test)]
mod tests;

//! What the next runs of a job poll, if its sites go on as they are.
//!
//! A site whose last poll succeeded is expected to succeed, and so is a new one; one that is failing is expected to fail.
//! The rules are those of runs: [`Policy`] and [`Spread`]. Sites that the schedule treats alike are one *cohort*, so the
//! time and the memory that a forecast takes hardly depend on the number of sites.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::spread::{MAX_EXACT, ticks_until};
use super::worker_count::FIRST_WORKERS;
use super::{Spread, Ticks};
use crate::model::{Failure, FailureClass, Outcome, PollStatus, UnixTime};
use crate::retry::Policy;

/// How many workers a run has at least if their number is automatic, unless it polls fewer sites.
pub const MIN_WORKERS: u64 = FIRST_WORKERS as u64;
/// How many of the sites that will be given up are named.
pub const MAX_NAMED: usize = 20;

/// When runs begin.
#[derive(Debug, Clone, Copy)]
pub struct Timetable {
    /// The start of the first run.
    pub first: UnixTime,
    /// The seconds from one start to the next, at least 1.
    pub tick_s: i64,
    /// How many runs there are.
    pub runs: i64,
}

impl Timetable {
    /// The runs within `span_s` seconds after `now`, if they go on as before.
    #[must_use]
    pub fn new(ticks: &Ticks, now: UnixTime, span_s: i64) -> Self {
        let (first, tick_s) = (ticks.next_after(now), ticks.usual_s());
        let behind_first = now.saturating_add(span_s).saturating_sub(first);
        Self { first, tick_s, runs: behind_first.div_euclid(tick_s) + 1 }
    }
}

/// What the next runs are expected to do. `I` identifies a site.
#[derive(Debug)]
pub struct Forecast<I> {
    /// Each run, in order.
    pub runs: Vec<ForecastRun>,
    /// The polls at each level of the retry expression.
    pub by_level: Vec<u64>,
    /// How many sites will be given up.
    pub given_up: u64,
    /// The first [`MAX_NAMED`] of these, with the start of the run that gives them up.
    pub first_given_up: Vec<(I, UnixTime)>,
}

/// What one run is expected to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForecastRun {
    /// Its start.
    pub at: UnixTime,
    /// How many sites it polls.
    pub polls: u64,
    /// How long it takes in milliseconds; `None` if the duration of no poll is known.
    pub duration_ms: Option<u64>,
}

/// The sites of a job, by what the schedule knows about them.
#[derive(Debug)]
pub struct Fleet<I> {
    policy: Policy,
    timetable: Timetable,
    /// The number of the run that is next; sites that are overdue are due in it.
    next_run: i64,
    /// The sites that are due next in a run, by its number. Some are behind the last one.
    cohorts: BTreeMap<i64, BTreeMap<Group, Cohort<I>>>,
    /// The known durations of successful polls, and of all polls.
    usual: [Durations; 2],
}

/// What sites that are due next in the same run need to have in common to be one cohort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    level: u32,
    count: u32,
    is_deferred: bool,
}

/// Sites that are treated alike.
#[derive(Debug)]
struct Cohort<I> {
    /// The status of one of them, without its history.
    status: PollStatus,
    sites: u64,
    durations: Durations,
    /// Some of them, if they are failing.
    named: Vec<I>,
}

/// The expected durations of polls.
#[derive(Debug, Clone, Copy, Default)]
struct Durations {
    /// How many are known.
    known: u64,
    total_ms: u64,
    longest_ms: u64,
}

impl Durations {
    fn add(&mut self, other: Self) {
        self.known += other.known;
        self.total_ms += other.total_ms;
        self.longest_ms = self.longest_ms.max(other.longest_ms);
    }

    /// Takes the share of `part` of `whole` sites, with the longest.
    fn take(&mut self, part: u64, whole: u64) -> Self {
        let share = |of: u64| u64::try_from(u128::from(of) * u128::from(part) / u128::from(whole.max(1))).unwrap_or(of);
        let taken = Self { known: share(self.known), total_ms: share(self.total_ms), ..*self };
        (self.known, self.total_ms) = (self.known - taken.known, self.total_ms - taken.total_ms);
        self.longest_ms = self.total_ms.checked_div(self.known).unwrap_or(0);
        taken
    }
}

impl<I> Fleet<I> {
    /// A job without sites, whose runs have a retry expression and begin at these times.
    #[must_use]
    pub fn new(policy: &Policy, timetable: Timetable) -> Self {
        let usual = [Durations::default(); 2];
        Self { policy: policy.clone(), timetable, next_run: 0, cohorts: BTreeMap::new(), usual }
    }

    /// Adds a site. One that is given up is not polled.
    pub fn add(&mut self, site: I, status: &PollStatus) {
        let durations = duration_ms(status).map_or_else(Durations::default, |duration_ms| Durations {
            known: 1,
            total_ms: duration_ms,
            longest_ms: duration_ms,
        });
        let is_failing = is_failing(status);
        if !is_failing {
            self.usual[0].add(durations);
        }
        self.usual[1].add(durations);
        let named = if is_failing { vec![site] } else { Vec::new() };
        let status = PollStatus {
            level: status.level,
            count: status.count,
            last_run: status.last_run,
            early_s: status.early_s,
            not_before: status.not_before,
            deferrals: status.deferrals,
            ..PollStatus::default()
        };
        self.schedule(Cohort { status, sites: 1, durations, named });
    }

    /// Works out what the runs do, each with this number of workers.
    #[must_use]
    pub fn forecast(mut self, workers: u64) -> Forecast<I> {
        let by_level = vec![0; self.policy.levels().len()];
        let mut forecast = Forecast { runs: Vec::new(), by_level, given_up: 0, first_given_up: Vec::new() };
        let usual_ms = self.usual.iter().find(|usual| usual.known > 0).map(|usual| usual.total_ms / usual.known);
        for run in 0..self.timetable.runs {
            self.next_run = run + 1;
            let at = self.start_of(run);
            let due = self.cohorts.remove(&run).map_or_else(Vec::new, |due| due.into_values().collect());
            let polls: u64 = due.iter().map(|cohort| cohort.sites).sum();
            let mut durations = Durations::default();
            for cohort in &due {
                durations.add(cohort.durations);
            }
            let duration_ms = usual_ms.map(|usual_ms| {
                let unknown = polls - durations.known;
                let total_ms = durations.total_ms + unknown * usual_ms;
                let longest_ms = durations.longest_ms.max(if unknown > 0 { usual_ms } else { 0 });
                total_ms.div_ceil(workers.max(1)).max(longest_ms)
            });
            forecast.runs.push(ForecastRun { at, polls, duration_ms });
            let mut spread = (polls > MAX_EXACT).then(|| self.spread(at, &due));
            for cohort in due {
                self.poll(cohort, at, spread.as_mut(), &mut forecast);
            }
        }
        forecast
    }

    /// The spread of a run that polls `due`.
    fn spread(&self, at: UnixTime, due: &[Cohort<I>]) -> Spread {
        let mut spread = Spread::new(&self.policy, at, self.timetable.tick_s);
        for cohort in due.iter().chain(self.cohorts.values().flat_map(BTreeMap::values)) {
            spread.add_many(&cohort.status, cohort.sites);
        }
        spread
    }

    /// Polls a cohort in the run of `at`, and schedules its next polls.
    fn poll(&mut self, mut cohort: Cohort<I>, at: UnixTime, spread: Option<&mut Spread>, forecast: &mut Forecast<I>) {
        if let Some(polls) = forecast.by_level.get_mut(cohort.status.level as usize) {
            *polls += cohort.sites;
        }
        let outcome: Outcome =
            if is_failing(&cohort.status) { Err(Failure::new(FailureClass::Timeout, "")) } else { Ok(()) };
        self.policy.apply(&mut cohort.status, at, &outcome);
        cohort.status.attempts.clear();
        if self.policy.next_due(cohort.status.level, at).is_none() {
            forecast.given_up += cohort.sites;
            let room = MAX_NAMED - forecast.first_given_up.len();
            forecast.first_given_up.extend(cohort.named.into_iter().take(room).map(|site| (site, at)));
            return;
        }
        let parts = match spread {
            Some(spread) => place(spread, &cohort.status, cohort.sites),
            None => BTreeMap::from([(0, cohort.sites)]),
        };
        let Cohort { status, mut sites, mut durations, mut named } = cohort;
        // Names go first to those that will be given up first.
        for (early_s, part) in parts.into_iter().rev() {
            let rest = named.split_off(named.len().min(usize::try_from(part).unwrap_or(usize::MAX)));
            let durations = durations.take(part, sites);
            sites -= part;
            self.schedule(Cohort { status: PollStatus { early_s, ..status.clone() }, sites: part, durations, named });
            named = rest;
        }
    }

    /// Adds a cohort to those that are due in the same run. One that is given up is never due.
    fn schedule(&mut self, cohort: Cohort<I>) {
        let Some(run) = self.run_of(&cohort.status) else { return };
        let PollStatus { level, count, not_before, .. } = cohort.status;
        // Behind the last run, only the load matters.
        let count = if run < self.timetable.runs { count } else { 0 };
        match self.cohorts.entry(run).or_default().entry(Group { level, count, is_deferred: not_before.is_some() }) {
            Entry::Vacant(entry) => {
                entry.insert(cohort);
            }
            Entry::Occupied(mut entry) => {
                let same = entry.get_mut();
                same.sites += cohort.sites;
                same.durations.add(cohort.durations);
                same.named.extend(cohort.named.into_iter().take(MAX_NAMED - same.named.len()));
            }
        }
    }

    fn start_of(&self, run: i64) -> UnixTime {
        self.timetable.first.saturating_add(run.saturating_mul(self.timetable.tick_s))
    }

    /// The number of the run in which a site is due next; `None` if it is given up.
    fn run_of(&self, status: &PollStatus) -> Option<i64> {
        let due = self.policy.next_due_of_status(status)?;
        if self.policy.clock_was_wrong(status, self.start_of(self.next_run)) {
            return Some(self.next_run);
        }
        let Timetable { first, tick_s, .. } = self.timetable;
        // A run polls no site twice.
        Some(ticks_until(&self.policy, status.level, due, first, tick_s).max(self.next_run))
    }
}

/// Places `count` sites with the same status; returns how many get which `early_s`.
fn place(spread: &mut Spread, next: &PollStatus, count: u64) -> BTreeMap<u32, u64> {
    let unmoved = spread.place_unmoved(next, count);
    let mut placed = BTreeMap::from([(next.early_s, unmoved)]);
    for _ in unmoved..count {
        let mut next = next.clone();
        spread.place(&mut next);
        *placed.entry(next.early_s).or_default() += 1;
    }
    placed.retain(|_, count| *count > 0);
    placed
}

/// Whether the next poll is expected to fail: failures were counted since the last success.
#[must_use]
pub fn is_failing(status: &PollStatus) -> bool {
    (status.level, status.count) != (0, 0)
}

/// The expected duration of a poll in milliseconds: the mean of those that ended as the last one. `None` if none is known.
fn duration_ms(status: &PollStatus) -> Option<u64> {
    let last_failed = status.attempts.last()?.class.is_some();
    let alike = status.attempts.iter().filter(|attempt| attempt.class.is_some() == last_failed);
    let known: Vec<_> = alike.map(|attempt| u64::from(attempt.duration_ms)).filter(|ms| *ms > 0).collect();
    Some(known.iter().sum::<u64>() / u64::try_from(known.len()).ok().filter(|known| *known > 0)?)
}

#[cfg(test)]
mod tests;

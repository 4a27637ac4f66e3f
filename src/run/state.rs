//! The decisions of a run as a pure state machine: events in, effects out. It has no clock and does no I/O.
//!
//! A run polls, then stops, then finishes. While it polls, it loads due connections in chunks and records outcomes in
//! groups, both in the same sessions of the store. It stops when all is polled, on a signal, after its maximum runtime,
//! when failures are our own fault, and when the store or a listener fails. Polls in flight get a grace period then.
//! Finishing records what is left. All times are durations since the run began, without its pauses. Only those of results
//! and pauses are by the clock of polls.

mod keeping_up;
mod leaving;
mod probing;
mod results;
mod sessions;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use super::backlog::Behind;
use super::breaker::Breaker;
use super::clock::PauseLog;
use super::event::{Effect, Event, Rules};
use super::last_host::LastHostRule;
use super::message::{FinalReport, FinalWork, Redirect};
use super::outage::OutageDetector;
use super::queue::{INITIAL_LOAD, QueueView};
use super::spread::Spread;
use super::update::Warning;
use super::{Error, Summary};
use crate::model::Outcome;
use crate::store::error::{Error as StoreError, Problem};
use crate::store::{DueEntry, EncodedResult, PollTask, StatusUpdate};

/// How long polls in flight may continue once a run stops, in seconds.
pub const SHUTDOWN_GRACE_S: u64 = 10;
const SHUTDOWN_GRACE: Duration = Duration::from_secs(SHUTDOWN_GRACE_S);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Polling,
    /// No new poll starts.
    Stopping {
        since: Duration,
    },
    /// What is left is being recorded.
    Finishing,
    Ended,
}

/// A session of the store that was started.
struct Session {
    /// How many connections it is to load and has not loaded yet.
    loading: usize,
}

/// A run that makes only some more polls, because failures may be our own fault.
struct Probing {
    since: Duration,
    /// How often polls were allowed. After some rounds they are not limited any longer.
    rounds: u32,
}

/// A poll that ended, whose outcome is not counted yet.
struct Completed {
    task: PollTask,
    outcome: Outcome,
    duration_ms: u32,
    /// The short hash of the network that was called; `None` if none was.
    network: Option<u32>,
    /// The address that was called; `None` if it is not known.
    address: Option<IpAddr>,
    redirect: Option<Redirect>,
}

/// The state of a run that polls.
pub(super) struct RunState {
    rules: Rules,
    phase: Phase,
    /// Tasks that are enqueued with the first event, unless the run is to stop by then.
    first: Vec<PollTask>,
    /// What is due and not loaded yet, in reverse order.
    rest: Vec<DueEntry>,
    /// Tasks that were enqueued and whose poll has not ended.
    outstanding: usize,
    /// Outcomes to be recorded.
    updates: Vec<StatusUpdate>,
    /// Results of listeners to be stored, and their size in bytes.
    results: Vec<EncodedResult>,
    result_bytes: usize,
    /// Holds failures that may be our own fault.
    detector: OutageDetector<Completed>,
    pauses: PauseLog,
    /// Decides which hosts are held.
    breaker: Breaker,
    /// Failures that are not counted because of a pause.
    paused: usize,
    last_host: LastHostRule,
    /// Where next polls go; `None` if sites keep their exact times.
    spread: Option<Spread>,
    /// Whether the last host is left to the next run once no poll is in flight.
    is_leaving: bool,
    /// `None` unless failures may be our own fault.
    probing: Option<Probing>,
    /// When the last poll ended.
    last_end: Duration,
    /// Whether the run ends for our own fault.
    ends_for_outage: bool,
    /// Whether the run was asked to stop, other than by a signal.
    must_stop: bool,
    /// How many sites are left to the next run because the time was over; `None` if it was not.
    left_for_time: Option<usize>,
    behind: Behind,
    session: Option<Session>,
    /// How many outcomes the recorder was given and has not reported on.
    recording: usize,
    /// The panic of the recorder, after which nothing can be recorded.
    recorder_panic: Option<StoreError>,
    /// When the last session ended.
    last_session: Duration,
    /// No session starts before: the store was busy.
    not_before: Duration,
    /// The shortest time that opening and closing the store took.
    opening: Duration,
    /// Why the run fails, if it does.
    error: Option<Error>,
    summary: Summary,
}

impl RunState {
    /// The state of a run in which `due` is due, in order.
    ///
    /// The first of them are loaded as `first`. `opening` is how long the store took to open.
    pub(super) fn new(
        rules: Rules,
        due: Vec<DueEntry>,
        first: Vec<PollTask>,
        opening: Duration,
        summary: Summary,
    ) -> Self {
        let detector = OutageDetector::new(rules.now, rules.outage_since);
        let last_host = LastHostRule::new(&due, &rules.policy, rules.now, rules.slow);
        let mut rest = due;
        rest.drain(..rest.len().min(INITIAL_LOAD));
        rest.reverse();
        let behind = rules.behind;
        Self {
            rules,
            phase: Phase::Polling,
            first,
            rest,
            outstanding: 0,
            updates: Vec::new(),
            results: Vec::new(),
            result_bytes: 0,
            detector,
            pauses: PauseLog::default(),
            breaker: Breaker::default(),
            paused: 0,
            last_host,
            spread: None,
            is_leaving: false,
            probing: None,
            last_end: Duration::ZERO,
            ends_for_outage: false,
            must_stop: false,
            left_for_time: None,
            behind,
            session: None,
            recording: 0,
            recorder_panic: None,
            last_session: Duration::ZERO,
            not_before: Duration::ZERO,
            opening,
            error: None,
            summary,
        }
    }

    /// Makes next polls go where `spread` places them.
    pub(super) fn with_spread(self, spread: Option<Spread>) -> Self {
        Self { spread, ..self }
    }

    /// Whether the run is over and recorded.
    pub(super) fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// How many enqueued tasks wait or are being polled. At the end these are polls that still hang.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// What is left to be recorded if the run is ended from outside; `None` if that is done or under way.
    pub(super) fn abort(&mut self) -> Option<FinalWork> {
        if !self.counts_polls() {
            return None;
        }
        self.conclude(&mut Vec::new());
        Some(self.begin_finishing())
    }

    /// Whether polls that end now still count.
    pub(super) fn counts_polls(&self) -> bool {
        matches!(self.phase, Phase::Polling | Phase::Stopping { .. })
    }

    /// Whether [`Event::Stop`] was applied.
    pub(super) fn must_stop(&self) -> bool {
        self.must_stop
    }

    /// The figures so far.
    pub(super) fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The figures of the run, and why it failed, if it did.
    pub(super) fn into_result(self) -> (Summary, Option<Error>) {
        (self.summary, self.error)
    }

    /// Applies one event, given the current state of the queue, and returns what must be done.
    pub(super) fn apply(&mut self, at: Duration, queue: QueueView, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        // What was loaded is not in this view of the queue.
        let is_loaded = matches!(event, Event::Loaded(_));
        match event {
            Event::PollsEnded(polled) => {
                self.last_end = at;
                for result in polled {
                    self.add_result(result, &mut effects);
                }
            }
            Event::Workers(workers) => self.summary.threads = workers,
            Event::Loaded(tasks) => self.add_loaded(tasks, &mut effects),
            Event::SessionEnded(report) => self.end_session(at, report, &mut effects),
            Event::Finished(report) => self.end(report, &mut effects),
            Event::Cancelled(tasks, held) => {
                self.outstanding -= tasks;
                self.left_for_time = self.left_for_time.map(|left| left + tasks);
                self.skip(held);
                effects.push(Effect::ReportStopping(self.outstanding));
            }
            Event::Left(tasks) => self.outstanding -= tasks,
            Event::Skipped(held) => self.skip(held),
            Event::RecorderPanicked(message) => self.lose_recorder(message, &mut effects),
            Event::Paused(pause) => self.pauses.push(pause),
            Event::Signal(exit_code) => self.summary.interrupted = Some(exit_code),
            Event::Stop => self.must_stop = true,
            Event::Tick => {}
        }
        if self.phase == Phase::Polling {
            self.breaker.probe(at, &mut effects);
        }
        let is_stale = is_loaded || effects.iter().any(Effect::changes_hosts);
        self.probe(at, queue, is_stale, &mut effects);
        self.stop_if_needed(at, &mut effects);
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            self.outstanding += first.len();
            effects.push(Effect::Enqueue(first));
            // The view of the queue is the one before.
            return effects;
        }
        if !is_stale && self.leave_hosts(at, queue, &mut effects) {
            // The queue answers at once.
            return effects;
        }
        self.finish_if_done(at, &mut effects);
        self.start_session_if_needed(at, queue, &mut effects);
        effects
    }

    fn stop_if_needed(&mut self, at: Duration, effects: &mut Vec<Effect>) {
        let is_out_of_time = self.rules.max_runtime.is_some_and(|limit| at >= limit);
        let is_interrupted = self.summary.interrupted.is_some() || self.must_stop;
        let has_failed = self.error.is_some() || self.recorder_panic.is_some();
        if self.phase == Phase::Polling && (is_out_of_time || is_interrupted || self.ends_for_outage || has_failed) {
            self.phase = Phase::Stopping { since: at };
            self.left_for_time = is_out_of_time.then_some(self.first.len() + self.rest.len());
            self.first = Vec::new();
            self.rest = Vec::new();
            effects.push(Effect::CancelPending);
        }
    }

    /// Records what is left once no poll is waited for any longer and no session is under way.
    fn finish_if_done(&mut self, at: Duration, effects: &mut Vec<Effect>) {
        let grace_is_over = match self.phase {
            Phase::Polling => false,
            Phase::Stopping { since } => at.saturating_sub(since) > SHUTDOWN_GRACE,
            Phase::Finishing | Phase::Ended => return,
        };
        let all_polled = self.rest.is_empty() && self.outstanding == 0;
        if self.session.is_some() || !(all_polled || grace_is_over) {
            return;
        }
        self.conclude(effects);
        if let Some(length) = self.pauses.length() {
            effects.push(Effect::ReportPause(length, self.paused));
        }
        self.summary.run.elapsed_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        self.check_backlog(at, effects);
        effects.push(Effect::EndPolling);
        let work = self.begin_finishing();
        match self.recorder_panic.take() {
            None => effects.push(Effect::Finish(work)),
            Some(error) => self.end_unrecorded(error, effects),
        }
    }

    fn begin_finishing(&mut self) -> FinalWork {
        self.phase = Phase::Finishing;
        FinalWork {
            work: self.take_work(Vec::new()),
            record: self.summary.run.clone(),
            is_last_run: !self.rules.by_hand,
        }
    }

    fn end(&mut self, report: FinalReport, effects: &mut Vec<Effect>) {
        self.phase = Phase::Ended;
        let FinalReport { recorded, results_error } = report;
        if let Some(error) = results_error {
            effects.push(Effect::Warn(Warning::ResultsNotStored(error)));
        }
        match recorded {
            Ok(record) => self.summary.run = record,
            Err(error) => self.end_unrecorded(error, effects),
        }
    }

    /// Continues without the recorder: the run stops, and what is not recorded is lost.
    fn lose_recorder(&mut self, message: String, effects: &mut Vec<Effect>) {
        let error = StoreError::from(Problem::Panicked(message));
        match self.phase {
            Phase::Polling | Phase::Stopping { .. } => {
                self.session = None;
                self.recorder_panic = Some(error);
            }
            Phase::Finishing => self.end_unrecorded(error, effects),
            Phase::Ended => {}
        }
    }

    /// Ends the run without what the recorder should have recorded. An earlier error of the store is the cause.
    fn end_unrecorded(&mut self, error: StoreError, effects: &mut Vec<Effect>) {
        self.phase = Phase::Ended;
        let outcomes = self.recording;
        let (error, other) = match self.error.take() {
            Some(Error::Store(cause)) => (cause, None),
            other => (error, other),
        };
        self.error = Some(match other {
            None if outcomes == 0 => Error::Store(error),
            None => Error::NotRecorded { outcomes, error },
            Some(other) => {
                effects.push(Effect::Warn(Warning::NotRecorded { error, outcomes }));
                other
            }
        });
    }
}

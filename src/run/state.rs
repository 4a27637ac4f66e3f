//! The decisions of a run as a pure state machine: events in, effects out. It has no clock and does no I/O.
//!
//! A run polls, then stops, then finishes. While it polls, it loads due connections in chunks and records outcomes in
//! groups, both in the same sessions of the store. It stops when all is polled, on a signal, after its maximum runtime, in
//! an outage of this machine's network, and when the store or a listener fails. Polls in flight get a grace period then. To finish
//! is to record what is left. All times are durations since the run began.

use std::time::Duration;

use super::event::{Effect, Event, Rules};
use super::message::{FinalReport, FinalWork, PollResult, SessionReport, SessionWork};
use super::outage::{OutageDetector, PROBES, Verdict, is_reply};
use super::queue::{INITIAL_LOAD, QUEUE_CAPACITY, QueueView};
use super::summary::count_recorded;
use super::update::Warning;
use super::{Error, Summary};
use crate::model::{Outcome, PollStatus};
use crate::store::error::{Error as StoreError, Problem};
use crate::store::{DueEntry, EncodedResult, PollTask, StatusUpdate};

/// How long polls in flight may continue once a run stops, in seconds.
pub const SHUTDOWN_GRACE_S: u64 = 10;
const SHUTDOWN_GRACE: Duration = Duration::from_secs(SHUTDOWN_GRACE_S);
/// An outcome is recorded within about this time.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// From this many outcomes on they are recorded early, so that less is left for the end of the run.
const FLUSH_COUNT: usize = 2048;
/// The interval between recordings, in durations of opening the store. So opening takes at most a twentieth of a run.
const MAX_OPEN_OVERHEAD: u32 = 20;
/// From this many bytes of results on they are stored early.
const FLUSH_RESULT_BYTES: usize = 8 << 20;
/// The next connections are loaded once fewer wait.
const LOW_WATERMARK: usize = QUEUE_CAPACITY / 4;

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

/// A poll that ended, whose outcome is not counted yet.
struct Completed {
    task: PollTask,
    outcome: Outcome,
    duration_ms: u32,
}

/// The state of a run that polls.
pub(super) struct RunState {
    rules: Rules,
    phase: Phase,
    /// What is due and not loaded yet, in reverse order.
    rest: Vec<DueEntry>,
    /// Tasks that were loaded and whose poll has not ended.
    outstanding: usize,
    /// Outcomes to be recorded.
    updates: Vec<StatusUpdate>,
    /// Results of listeners to be stored, and their size in bytes.
    results: Vec<EncodedResult>,
    result_bytes: usize,
    /// Failures that may be those of this machine's network.
    doubtful: Vec<Completed>,
    detector: OutageDetector,
    /// Since when this machine's network is suspected.
    suspected_since: Option<Duration>,
    session: Option<Session>,
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
    /// The state of a run in which `due` is due, in order, and `loaded` of it are loaded and enqueued. `opening` is how
    /// long the store took to open.
    pub(super) fn new(rules: Rules, due: Vec<DueEntry>, loaded: usize, opening: Duration, summary: Summary) -> Self {
        let detector = OutageDetector::new(rules.now, rules.outage_since);
        let mut rest = due;
        rest.drain(..rest.len().min(INITIAL_LOAD));
        rest.reverse();
        Self {
            rules,
            phase: Phase::Polling,
            rest,
            outstanding: loaded,
            updates: Vec::new(),
            results: Vec::new(),
            result_bytes: 0,
            doubtful: Vec::new(),
            detector,
            suspected_since: None,
            session: None,
            last_session: Duration::ZERO,
            not_before: Duration::ZERO,
            opening,
            error: None,
            summary,
        }
    }

    /// Whether the run is over and recorded.
    pub(super) fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// How many loaded tasks have not been polled yet. At the end these are polls that still hang.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// What is left to be recorded if the run is ended from outside; `None` if that is done or under way.
    pub(super) fn abort(&mut self) -> Option<FinalWork> {
        if matches!(self.phase, Phase::Finishing | Phase::Ended) {
            return None;
        }
        self.count_doubtful(&mut Vec::new());
        Some(self.begin_finishing())
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
        match event {
            Event::PollsEnded(polled) => polled.into_iter().for_each(|result| self.add_result(result, &mut effects)),
            Event::Loaded(tasks) => self.add_loaded(tasks, &mut effects),
            Event::SessionEnded(report) => self.end_session(at, report, &mut effects),
            Event::Finished(report) => self.end(report, &mut effects),
            Event::Cancelled(tasks) => {
                self.outstanding -= tasks;
                effects.push(Effect::ReportStopping(self.outstanding));
            }
            Event::RecorderPanicked(message) => {
                self.phase = Phase::Ended;
                self.error.get_or_insert(Error::Store(Problem::Panicked(message).into()));
            }
            Event::Signal(exit_code) => self.summary.interrupted = Some(exit_code),
            Event::Tick => {}
        }
        self.watch_for_outage(at, queue, &mut effects);
        self.stop_if_needed(at, &mut effects);
        self.finish_if_done(at, &mut effects);
        self.start_session_if_needed(at, queue, &mut effects);
        effects
    }

    /// Applies a poll that ended. While this machine's network is in doubt, failures wait to be counted.
    fn add_result(&mut self, result: PollResult, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Finishing | Phase::Ended) {
            return;
        }
        self.outstanding -= 1;
        let duration_ms = result.duration_ms();
        let PollResult { task, outcome, result, began, ended: _ } = result;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                self.summary.run.dropped += 1;
                self.error.get_or_insert(error);
                return;
            }
        };
        self.summary.run.polled += 1;
        self.result_bytes += result.as_ref().map_or(0, EncodedResult::size);
        self.results.extend(result);
        self.summary.durations.push(duration_ms);
        let verdict = self.detector.observe(&task.status, task.host, began, &outcome);
        let completed = Completed { task: std::sync::Arc::unwrap_or_clone(task), outcome, duration_ms };
        if verdict == Verdict::Online {
            self.count_doubtful(effects);
        }
        if verdict == Verdict::Online || is_reply(&completed.outcome) {
            self.count(completed, effects);
        } else {
            self.doubtful.push(completed);
        }
    }

    /// Counts the failures that waited, since they were not those of this machine's network.
    fn count_doubtful(&mut self, effects: &mut Vec<Effect>) {
        for completed in std::mem::take(&mut self.doubtful) {
            self.count(completed, effects);
        }
    }

    /// Counts an outcome: works out the next state of the connection.
    fn count(&mut self, completed: Completed, effects: &mut Vec<Effect>) {
        let Completed { task, outcome, duration_ms } = completed;
        let mut next = PollStatus { last_duration_ms: duration_ms, ..task.status.clone() };
        self.rules.policy.apply(&mut next, self.rules.now, &outcome);
        self.summary.count(&outcome, &next);
        if self.rules.by_hand {
            effects.push(Effect::ReportByHand(outcome, next.clone()));
        }
        self.updates.push(StatusUpdate { locator: task.locator, expected: task.status, next });
    }

    fn add_loaded(&mut self, tasks: Vec<PollTask>, effects: &mut Vec<Effect>) {
        if let Some(session) = &mut self.session {
            let loaded = std::mem::take(&mut session.loading);
            if self.phase == Phase::Polling {
                self.rest.truncate(self.rest.len() - loaded);
                self.outstanding += tasks.len();
                effects.push(Effect::Enqueue(tasks));
            }
        }
    }

    /// Applies the end of a session. A later session records what a failed one did not.
    fn end_session(&mut self, at: Duration, report: SessionReport, effects: &mut Vec<Effect>) {
        let SessionReport { updates, recorded, results_error } = report;
        self.session = None;
        self.last_session = at;
        if let Some(error) = results_error {
            effects.push(Effect::Warn(Warning::ResultsNotStored(error)));
        }
        match recorded {
            Ok((recorded, opening)) => {
                self.opening = self.opening.min(opening);
                count_recorded(&mut self.summary.run, &self.rules.policy, &updates, &recorded);
            }
            Err(error) => {
                self.updates.extend(updates);
                self.not_before = at + FLUSH_INTERVAL;
                match error {
                    // The run is stopping, and its last session waits for the store.
                    StoreError::Cancelled => {}
                    StoreError::Busy { .. } => {
                        let outcomes = self.updates.len();
                        effects.push(Effect::Warn(Warning::StoreBusy { error, outcomes }));
                    }
                    error => {
                        self.error.get_or_insert(Error::Store(error));
                    }
                }
            }
        }
    }

    /// Limits new polls while this machine's network is suspected, and waits for those in flight before the run ends for it.
    fn watch_for_outage(&mut self, at: Duration, queue: QueueView, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Finishing | Phase::Ended) {
            return;
        }
        match (self.detector.verdict() == Verdict::Offline, self.suspected_since) {
            (true, None) => {
                self.suspected_since = Some(at);
                effects.push(Effect::SetPermits(Some(PROBES)));
            }
            (false, Some(_)) => {
                self.suspected_since = None;
                self.summary.run.outage = false;
                effects.push(Effect::SetPermits(None));
            }
            // The permits are set now: the queue as it was before does not count.
            (true, Some(since)) => {
                let none_in_flight = queue.is_idle && self.outstanding == queue.waiting;
                self.summary.run.outage = none_in_flight || at.saturating_sub(since) > SHUTDOWN_GRACE;
            }
            (false, None) => {}
        }
    }

    fn stop_if_needed(&mut self, at: Duration, effects: &mut Vec<Effect>) {
        let out_of_time = self.rules.max_runtime.is_some_and(|limit| at >= limit);
        let must_stop =
            out_of_time || self.summary.interrupted.is_some() || self.summary.run.outage || self.error.is_some();
        if self.phase == Phase::Polling && must_stop {
            self.phase = Phase::Stopping { since: at };
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
        self.summary.run.outage = self.detector.verdict() == Verdict::Offline;
        if self.summary.run.outage {
            let uncounted = std::mem::take(&mut self.doubtful).len();
            self.summary.run.dropped += uncounted as u64;
            effects.push(Effect::ReportOutage(uncounted));
        }
        self.count_doubtful(effects);
        self.summary.run.elapsed_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        effects.push(Effect::Finish(self.begin_finishing()));
    }

    fn begin_finishing(&mut self) -> FinalWork {
        self.phase = Phase::Finishing;
        FinalWork {
            work: SessionWork { load: Vec::new(), updates: self.take_updates(), results: self.take_results() },
            record: self.summary.run.clone(),
            is_last_run: !self.rules.by_hand,
        }
    }

    /// Starts a session where connections must be loaded, or where it is time to record outcomes.
    fn start_session_if_needed(&mut self, at: Duration, queue: QueueView, effects: &mut Vec<Effect>) {
        let idle = self.session.is_none() && matches!(self.phase, Phase::Polling | Phase::Stopping { .. });
        if !idle || at < self.not_before {
            return;
        }
        let needs_load = !self.rest.is_empty() && queue.waiting < LOW_WATERMARK;
        let has_results = self.result_bytes > FLUSH_RESULT_BYTES;
        if !needs_load && !has_results && !self.is_time_to_record(at) {
            return;
        }
        let room = QUEUE_CAPACITY.saturating_sub(queue.waiting).min(self.rest.len());
        let load: Vec<DueEntry> = self.rest[self.rest.len() - room..].iter().rev().copied().collect();
        self.session = Some(Session { loading: load.len() });
        let work = SessionWork { load, updates: self.take_updates(), results: self.take_results() };
        effects.push(Effect::StartSession(work));
    }

    fn is_time_to_record(&self, at: Duration) -> bool {
        let since = at.saturating_sub(self.last_session);
        let enough = self.updates.len() >= FLUSH_COUNT || (since >= FLUSH_INTERVAL && !self.updates.is_empty());
        enough && since >= self.opening * MAX_OPEN_OVERHEAD
    }

    /// The outcomes to be recorded, in the order of the store, in which neighbours share pages.
    fn take_updates(&mut self) -> Vec<StatusUpdate> {
        let mut updates = std::mem::take(&mut self.updates);
        updates.sort_unstable_by_key(|update| update.locator);
        updates
    }

    fn take_results(&mut self) -> Vec<EncodedResult> {
        self.result_bytes = 0;
        std::mem::take(&mut self.results)
    }

    fn end(&mut self, report: FinalReport, effects: &mut Vec<Effect>) {
        self.phase = Phase::Ended;
        let FinalReport { outcomes, recorded, results_error } = report;
        if let Some(error) = results_error {
            effects.push(Effect::Warn(Warning::ResultsNotStored(error)));
        }
        match recorded {
            Ok(record) => self.summary.run = record,
            Err(error) => {
                self.error.get_or_insert(Error::NotRecorded { outcomes, error });
            }
        }
    }
}

#[cfg(test)]
mod tests;

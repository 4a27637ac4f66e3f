//! Carries the decisions of [`RunState`] out: effects become work of threads, and what they send back becomes events.
//!
//! The coordinator never waits for the store, a site or a listener. It checks signals and the clock at least once
//! per [`TICK`], whatever happens.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::event::{Effect, Event};
use super::message::{Message, PollResult};
use super::queue::Queue;
use super::recorder::Recorder;
use super::state::RunState;
use super::update::{FILE_ONLY, Update};
use super::workers::Workers;
use super::{PollRun, Signals};
use crate::listener::TERMINAL_ONLY;
use crate::model::{Outcome, PollStatus};
use crate::util::text::count;
use crate::util::time::rfc3339;

/// The interval at which signals and the clock are checked.
pub(super) const TICK: Duration = Duration::from_millis(50);
/// How long results are collected before they are handled. Waking up for each of them takes CPU time from the workers.
const COALESCE: Duration = Duration::from_millis(2);
/// How long a run that was ended by a panic waits for its outcomes to be recorded.
const ABORT_WAIT: Duration = Duration::from_secs(60);

/// Coordinates the queue, the workers and the recorder of a run. However it ends, when this is dropped no poll starts any
/// longer, the outcomes are recorded and the listener programs have ended.
pub(super) struct Coordinator<'a> {
    pub(super) run: &'a PollRun,
    pub(super) state: &'a mut RunState,
    pub(super) queue: &'a Arc<Queue>,
    pub(super) workers: Workers,
    pub(super) recorder: &'a Recorder,
    pub(super) messages: &'a Receiver<Message>,
    pub(super) signals: &'a Signals,
    /// Makes waits for the store end early.
    pub(super) stop: &'a AtomicBool,
    pub(super) started: Instant,
    pub(super) observe: &'a mut dyn FnMut(Update<'_>),
    /// Messages that were received together with a batch of results.
    pub(super) stashed: VecDeque<Message>,
}

impl Coordinator<'_> {
    /// Drives the run until it has ended and is recorded.
    pub(super) fn drive(&mut self) {
        while !self.state.has_ended() {
            let event = self.next_event();
            self.apply(event);
            (self.observe)(Update::Polling { summary: self.state.summary(), queue: self.queue });
        }
    }

    fn apply(&mut self, event: Event) {
        let effects = self.state.apply(self.started.elapsed(), self.queue.view(), event);
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Enqueue(tasks) => self.queue.extend(tasks),
            Effect::SetPermits(permits) => self.queue.set_permits(permits),
            Effect::CancelPending => {
                let cancelled = self.queue.cancel_pending();
                self.apply(Event::Cancelled(cancelled));
            }
            Effect::StartSession(work) => self.recorder.start_session(work),
            Effect::Finish(work) => {
                (self.observe)(Update::PollingEnded);
                // Workers end their listener programs meanwhile.
                self.queue.close();
                self.recorder.finish(work);
            }
            Effect::ReportStopping(in_flight) => {
                info!(in_flight, "no new poll starts");
                (self.observe)(Update::Stopping { in_flight });
            }
            Effect::ReportOutage(failures) => {
                let failures = count(failures as u64, "failure");
                warn!(
                    "this machine's network seems to be down: {failures} not counted, the rest is left to the next run"
                );
            }
            Effect::Warn(warning) => (self.observe)(Update::Warning(warning)),
            Effect::ReportByHand(outcome, next) => self.report_by_hand(&outcome, &next),
        }
    }

    fn report_by_hand(&self, outcome: &Outcome, next: &PollStatus) {
        let next_due = self.run.policy.next_due_of_status(next).map_or("never".to_owned(), rfc3339);
        let outcome = outcome.as_ref().err().map_or("ok".to_owned(), ToString::to_string);
        info!(target: TERMINAL_ONLY, "{outcome}: level {}, count {}, due again {next_due}", next.level, next.count);
    }

    fn next_event(&mut self) -> Event {
        if let Some(exit_code) = self.signals.stop_code()
            && self.state.summary().interrupted.is_none()
        {
            self.stop.store(true, Ordering::Relaxed);
            return Event::Signal(exit_code);
        }
        let message = match self.stashed.pop_front() {
            Some(message) => Ok(message),
            None => self.messages.recv_timeout(TICK),
        };
        match message {
            Ok(Message::PollEnded(first)) => Event::PollsEnded(self.coalesce(first)),
            Ok(Message::Loaded(tasks)) => Event::Loaded(tasks),
            Ok(Message::SessionEnded(report)) => Event::SessionEnded(report),
            Ok(Message::Finished(report)) => Event::Finished(report),
            Ok(Message::RecorderPanicked(message)) => Event::RecorderPanicked(message),
            Ok(Message::Selected(_)) | Err(RecvTimeoutError::Timeout) => Event::Tick,
            Err(RecvTimeoutError::Disconnected) => Event::RecorderPanicked("its thread ended".to_owned()),
        }
    }

    /// Collects the results that have arrived, after a pause in which more can arrive.
    fn coalesce(&mut self, first: PollResult) -> Vec<PollResult> {
        if self.state.outstanding() > 1 {
            thread::sleep(COALESCE);
        }
        let mut results = vec![first];
        for message in self.messages.try_iter() {
            match message {
                Message::PollEnded(result) => results.push(result),
                other => self.stashed.push_back(other),
            }
        }
        results.iter().for_each(log);
        results
    }
}

/// Logs the end of a poll. Failures are of interest with `-v` as well.
fn log(result: &PollResult) {
    let (cxn, ms) = (&result.task.cxn.cxn_id, result.duration_ms());
    match &result.outcome {
        Ok(Ok(())) => info!(target: FILE_ONLY, %cxn, outcome = "ok", ms, "polled"),
        Ok(Err(failure)) => info!(%cxn, outcome = %failure.class, ms, "{}", failure.message),
        // It ends the run, and is its error.
        Err(_) => {}
    }
}

impl Drop for Coordinator<'_> {
    fn drop(&mut self) {
        self.queue.cancel_pending();
        if let Some(work) = self.state.abort() {
            self.recorder.finish(work);
            let deadline = Instant::now() + ABORT_WAIT;
            while let Ok(message) = self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                if matches!(message, Message::Finished(_) | Message::RecorderPanicked(_)) {
                    break;
                }
            }
        }
        self.workers.end(self.state.outstanding() > 0);
    }
}

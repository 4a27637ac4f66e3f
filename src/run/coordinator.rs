//! Carries out the decisions of [`RunState`].
//!
//! Effects become work of threads, and what they send back becomes events.
//!
//! The coordinator never waits for the store, a site or a listener. It checks signals and the clock at least once
//! per [`TICK`], whatever happens.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::clock::RunClock;
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
use crate::site::Client;
use crate::store::{SkipReason, SkippedHost};
use crate::util::text::count;
use crate::util::time::rfc3339;

/// The interval at which signals and the clock are checked.
pub(super) const TICK: Duration = Duration::from_millis(50);
/// How long results are collected before they are handled. Waking up for each of them takes CPU time from the workers.
pub(super) const COALESCE: Duration = Duration::from_millis(2);
/// The stack of the thread that watches the clock, in bytes.
const CLOCK_STACK_BYTES: usize = 128 << 10;
/// How long to wait for outcomes to be recorded after a panic of the coordinator.
const ABORT_WAIT: Duration = Duration::from_secs(60);

/// Coordinates the queue, the workers and the recorder of a run.
///
/// When this is dropped, no poll starts any longer and the listener programs have ended. After a panic of this thread,
/// the outcomes that were counted by then are recorded as well.
pub(super) struct Coordinator<'a> {
    pub(super) run: &'a PollRun,
    pub(super) state: &'a mut RunState,
    pub(super) queue: &'a Arc<Queue>,
    pub(super) workers: Workers,
    pub(super) recorder: &'a Recorder,
    pub(super) client: &'a Client,
    pub(super) messages: &'a Receiver<Message>,
    pub(super) signals: &'a Signals,
    /// Makes waits for the store end early.
    pub(super) stop: &'a AtomicBool,
    pub(super) clock: &'a RunClock,
    pub(super) observer: Observer<'a>,
    /// Messages that were received together with a batch of results.
    pub(super) stashed: VecDeque<Message>,
}

/// Receives the reports of a run. One that panics stops the run and receives no more.
pub(super) struct Observer<'a> {
    observe: &'a mut dyn FnMut(Update<'_>),
    panic: Option<Box<dyn Any + Send>>,
}

impl<'a> Observer<'a> {
    pub(super) fn new(observe: &'a mut dyn FnMut(Update<'_>)) -> Self {
        Self { observe, panic: None }
    }

    pub(super) fn report(&mut self, update: Update<'_>) {
        if self.panic.is_none() {
            self.panic = catch_unwind(AssertUnwindSafe(|| (self.observe)(update))).err();
        }
    }
}

impl Coordinator<'_> {
    /// Drives the run until it has ended and is recorded.
    ///
    /// # Errors
    /// The panic of the observer.
    pub(super) fn drive(&mut self) -> thread::Result<()> {
        let clock = self.clock;
        clock.resume();
        thread::scope(|scope| {
            let (_running, end) = channel();
            let watch = thread::Builder::new().name("clock".into()).stack_size(CLOCK_STACK_BYTES);
            // If the system starts no thread, only this one looks at the clock.
            let _ = watch.spawn_scoped(scope, move || clock.watch(&end));
            self.poll_all();
        });
        self.observer.panic.take().map_or(Ok(()), Err)
    }

    fn poll_all(&mut self) {
        let event = self.request_to_stop().unwrap_or(Event::Tick);
        self.apply(event);
        // The queue is filled now, and the next connections are loaded at once.
        self.apply(Event::Tick);
        while !self.state.has_ended() {
            let event = self.next_event();
            self.queue.tick();
            let failed = event.failed_polls();
            self.apply(event);
            for (task, good) in failed {
                self.queue.done(&task, good);
            }
            self.observer.report(Update::Polling { summary: self.state.summary(), queue: self.queue });
        }
    }

    fn apply(&mut self, event: Event) {
        for pause in self.clock.observe() {
            self.queue.restart_timers();
            self.client.forget_failed_lookups();
            self.apply(Event::Paused(pause));
        }
        let effects = self.state.apply(self.clock.ran(), self.queue.view(), event);
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Enqueue(tasks) => self.queue.extend(tasks),
            Effect::SetPermits(permits) => self.queue.set_permits(permits),
            Effect::CancelPending => {
                self.stop.store(true, Ordering::Relaxed);
                let held = self.queue.skip_held();
                let waiting = self.queue.cancel_pending();
                self.apply(Event::Cancelled(waiting, held));
            }
            Effect::LeaveWaiting { unloaded } => {
                let waiting = self.queue.cancel_pending();
                let sites = count((waiting + unloaded) as u64, "site");
                info!("only one host is left, which holds up the run: {sites} of it left to the next run");
                self.apply(Event::Left(waiting));
            }
            Effect::HoldHost(address, reason) => {
                match reason {
                    SkipReason::Down => info!("host {address} is down: its other sites are not tried until it replies"),
                    SkipReason::AskedToWait => {
                        info!("two sites on {address} asked to wait: its other sites are left to the next run");
                    }
                }
                self.client.set_down(address, true);
                self.queue.hold(address, reason);
            }
            Effect::ProbeHost(address) => self.queue.probe(address),
            Effect::ReleaseHost(address) => {
                info!("host {address} replies again");
                self.client.set_down(address, false);
                self.queue.release(address);
            }
            Effect::SkipHeld => {
                let held = self.queue.skip_held();
                self.apply(Event::Skipped(held));
            }
            Effect::StartSession(work) => self.recorder.start_session(work),
            Effect::EndPolling => {
                self.observer.report(Update::PollingEnded);
                self.state.summary().run.skipped_hosts.iter().for_each(log_skipped);
                // Workers end their listener programs from now on.
                self.queue.close();
            }
            Effect::Finish(work) => self.recorder.finish(work),
            Effect::ReportStopping(in_flight) => {
                info!(in_flight, "no new poll starts");
                self.observer.report(Update::Stopping { in_flight });
            }
            Effect::ReportOutage(outage) => {
                let run = &self.state.summary().run;
                let left = run.due.saturating_sub(run.ok + run.failed + run.deferred);
                self.observer.report(Update::Outage { outage: &outage, left });
            }
            Effect::ReportPause(length, failures) => {
                let (seconds, failures) = (length.as_secs(), count(failures as u64, "failure"));
                let text = format!("the process did not run for {seconds} s: {failures} not counted");
                if self.run.only.is_some() { warn!("{text}") } else { info!("{text}") }
            }
            Effect::Warn(warning) => self.observer.report(Update::Warning(warning)),
            Effect::ReportByHand(outcome, next) => self.report_by_hand(&outcome, &next),
        }
    }

    /// Reports a poll by hand. A failure is a warning, since a script or cron shows nothing else of it.
    fn report_by_hand(&self, outcome: &Outcome, next: &PollStatus) {
        let next_due = self.run.policy.next_due_of_status(next).map_or("never".to_owned(), rfc3339);
        let next = format!("level {}, count {}, due again {next_due}", next.level, next.count);
        if let (Err(failure), Some(cxn)) = (outcome, &self.run.only) {
            warn!(target: TERMINAL_ONLY, "{cxn} failed: {failure}: {next}");
        } else {
            info!(target: TERMINAL_ONLY, "ok: {next}");
        }
    }

    fn next_event(&mut self) -> Event {
        if let Some(event) = self.request_to_stop() {
            return event;
        }
        let message = match self.stashed.pop_front() {
            Some(message) => Ok(message),
            None => self.messages.recv_timeout(TICK),
        };
        match message {
            Ok(Message::PollEnded(first)) => Event::PollsEnded(self.coalesce(first)),
            Ok(Message::Workers(workers)) => Event::Workers(workers),
            Ok(Message::Loaded(tasks)) => Event::Loaded(tasks),
            Ok(Message::SessionEnded(report)) => Event::SessionEnded(report),
            Ok(Message::Finished(report)) => Event::Finished(report),
            Ok(Message::RecorderPanicked(message)) => Event::RecorderPanicked(message),
            Ok(Message::Selected(_)) | Err(RecvTimeoutError::Timeout) => Event::Tick,
            Err(RecvTimeoutError::Disconnected) => Event::RecorderPanicked("its thread ended".to_owned()),
        }
    }

    /// The event of a signal, or of the observer's panic, that was not applied yet.
    fn request_to_stop(&self) -> Option<Event> {
        match self.signals.stop_code() {
            Some(exit_code) if self.state.summary().interrupted.is_none() => Some(Event::Signal(exit_code)),
            _ => (self.observer.panic.is_some() && !self.state.must_stop()).then_some(Event::Stop),
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
        if self.state.counts_polls() {
            results.iter().for_each(log);
        }
        results
    }
}

/// Logs the end of a poll. Failures are of interest with `-v` as well.
fn log(result: &PollResult) {
    let (cxn, ms) = (&result.task.cxn.cxn_id, result.duration_ms(Duration::ZERO));
    let site_url = &result.site_url;
    match &result.outcome {
        Ok(Ok(())) => info!(target: FILE_ONLY, %cxn, siteUrl = %site_url, outcome = "ok", ms, "polled"),
        Ok(Err(failure)) => {
            info!(%cxn, siteUrl = %site_url, outcome = %failure.class, ms, "{}", failure.message);
        }
        // This error ends the run.
        Err(_) => {}
    }
}

/// Logs how many sites of a host are left to the next run. Commands show the hosts with the most.
fn log_skipped(host: &SkippedHost) {
    let SkippedHost { address, reason, sites, .. } = host;
    let reason = match reason {
        SkipReason::Down => "is down",
        SkipReason::AskedToWait => "asked to wait",
    };
    info!(target: FILE_ONLY, "host {address} {reason}: {} left to the next run", count(*sites, "site"));
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

//! The events around a run: pre-poll and post-poll.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tracing::{Span, warn};

use super::coordinator::TICK;
use super::state::SHUTDOWN_GRACE_S;
use super::{Error, PollRun, Signals};
use crate::listener::{Phase, RunEvent};

/// How far the listeners of an event came without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Emitted {
    /// All of them handled it.
    Complete,
    /// A program was killed, because the run is to end.
    Killed,
}

/// Emits the event before the first poll of a run, or with a `summary` the event after its last.
///
/// The listeners run on a separate thread. Once a signal asks the run to end, their programs get [`SHUTDOWN_GRACE_S`]
/// and are killed then. A listener that is not a program is waited for.
///
/// # Errors
/// That of the first listener that failed, unless it failed because it was killed; [`Error::NoThread`].
pub(super) fn emit(run: &PollRun, due: u64, summary: Option<Value>, signals: &Signals) -> Result<Emitted, Error> {
    let phase = if summary.is_some() { Phase::PostPoll } else { Phase::PrePoll };
    let listeners = run.listeners.of(&run.app.app_id, &run.job, phase);
    if listeners.is_empty() {
        return Ok(Emitted::Complete);
    }
    let span = Span::current();
    thread::scope(|scope| {
        let (sender, result) = channel();
        let dispatcher = listeners.dispatcher();
        let work = move || {
            let _run = span.enter();
            let mut dispatcher = dispatcher;
            let mut event = RunEvent::new(&run.app, &run.job, run.batch, run.now, due, summary);
            let dispatched = dispatcher.run(&mut event);
            // Its programs end here.
            drop(dispatcher);
            let _ = sender.send(dispatched);
        };
        let builder = thread::Builder::new().name("around".to_owned());
        builder.spawn_scoped(scope, work).map_err(|error| Error::NoThread(error.to_string()))?;
        let mut stopping_since: Option<Instant> = None;
        let mut killed = false;
        loop {
            match result.recv_timeout(TICK) {
                Ok(Err(_)) if killed => return Ok(Emitted::Killed),
                Ok(dispatched) => return Ok(dispatched.map(|()| Emitted::Complete)?),
                // The thread ended without a result, which only a panic can do: the scope passes it on.
                Err(RecvTimeoutError::Disconnected) => return Ok(Emitted::Complete),
                Err(RecvTimeoutError::Timeout) if signals.stop_code().is_some() => {
                    let since = stopping_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > Duration::from_secs(SHUTDOWN_GRACE_S) {
                        listeners.kill();
                        killed = true;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    })
}

/// Emits the event after a run once, also if the run ends by a panic: then with figures of 0.
pub(super) struct PostPoll<'a> {
    run: &'a PollRun,
    signals: &'a Signals,
    due: u64,
    emitted: bool,
}

impl<'a> PostPoll<'a> {
    /// To be made once the event before the first poll was emitted.
    pub(super) fn new(run: &'a PollRun, due: u64, signals: &'a Signals) -> Self {
        Self { run, signals, due, emitted: false }
    }

    /// Emits the event with the figures of the run.
    ///
    /// # Errors
    /// That of the first listener that failed.
    pub(super) fn emit(mut self, summary: Value) -> Result<Emitted, Error> {
        self.emitted = true;
        emit(self.run, self.due, Some(summary), self.signals)
    }
}

impl Drop for PostPoll<'_> {
    fn drop(&mut self) {
        if !self.emitted && emit(self.run, self.due, Some(self.run.empty_summary().to_json()), self.signals).is_err() {
            warn!("a listener failed after the run");
        }
    }
}

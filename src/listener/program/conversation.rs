//! An event and its answer: what is sent to a program, and what the program may ask for meanwhile.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::{debug, error, info, warn};

use super::error::{ProgramError, ProgramFailure};
use super::process::{Deadline, Process};
use super::quota::LineQuota;
use super::spawn::{EXIT_GRACE, Program};
use super::wire::{MAX_LINE_BYTES, Message, WireError};
use crate::util::text::{count, sanitize};

/// How long a process that has closed its stdout may take to exit, so that its status is known.
const STATUS_GRACE: Duration = Duration::from_millis(500);

/// What a program may ask for while it works on an event.
pub(in crate::listener) trait Host {
    /// Makes an API call and returns the line that answers it.
    fn call(&mut self, method: &str, params: Map<String, Value>) -> Value;
    /// Keeps a value.
    fn keep(&mut self, value: Value);
}

/// How an event ended.
#[derive(Debug)]
pub(in crate::listener) enum EventResult {
    /// The event succeeded; with `stop` no other listener gets it.
    Ok { stop: bool },
    /// The program reported an error.
    Failed(String),
    /// The program did not answer. This fails the event, and no other.
    Lost(ProgramFailure),
    /// The program does not work at all, which is no failure of a site.
    Broken(ProgramFailure),
}

/// A conversation that ended without an answer.
struct Breakdown {
    error: ProgramError,
    /// Whether the program wrote any message about the event.
    responded: bool,
}

impl Program {
    /// Sends an event and waits for the answer, with the process in `slot` if there is one.
    ///
    /// A reused process that has exited since its last event is replaced. One that does not answer is killed.
    pub(in crate::listener) fn handle(
        &self,
        slot: &mut Option<Process>,
        event: &Value,
        host: &mut impl Host,
    ) -> EventResult {
        let mut deadline = Deadline::after(self.timeout);
        let mut logged = LineQuota::default();
        let result = self.handle_with(slot, event, &mut deadline, &mut logged, host);
        let more = logged.reset();
        if more > 0 {
            info!("and {} of {}", count(more, "more line"), self.name());
        }
        result
    }

    fn handle_with(
        &self,
        slot: &mut Option<Process>,
        event: &Value,
        deadline: &mut Deadline,
        logged: &mut LineQuota,
        host: &mut impl Host,
    ) -> EventResult {
        if let Some(waiting) = slot.take_if(|process| !process.stayed_silent()) {
            info!("{} wrote after its answer, and is started again", self.name());
            self.end(waiting, EXIT_GRACE);
        }
        loop {
            let is_reused = slot.is_some();
            let mut process = match slot.take().map_or_else(|| self.start(), Ok) {
                Ok(process) => process,
                Err(error) => return EventResult::Broken(self.failure(error, None, false)),
            };
            let Breakdown { error, responded } = match converse(&mut process, event, deadline, logged, host) {
                Ok(result) => {
                    self.answered.store(true, Ordering::Relaxed);
                    if self.reuse && process.is_silent() {
                        *slot = Some(process);
                    } else {
                        self.end(process, EXIT_GRACE);
                    }
                    return result;
                }
                Err(breakdown) => breakdown,
            };
            let has_exited = matches!(error, ProgramError::Exited(_));
            let is_late = matches!(error, ProgramError::Timeout(_));
            let has_cut_line = (has_exited || is_late) && process.has_cut_line();
            let last_stderr_line = process.last_stderr_line();
            let status = self.end(process, if has_exited { STATUS_GRACE } else { Duration::ZERO });
            if has_exited && is_reused && !responded {
                debug!("{} has ended and is started again", self.name());
                continue;
            }
            // A program that has begun to work may wait for a slow site.
            let works = self.answered.load(Ordering::Relaxed) || (responded && is_late);
            let error = match error {
                ProgramError::Exited(_) => ProgramError::Exited(status),
                ProgramError::Timeout(limit) if !works && !has_cut_line => ProgramError::Silent(limit),
                error => error,
            };
            let failure = self.failure(error, last_stderr_line, has_cut_line);
            return if works { EventResult::Lost(failure) } else { EventResult::Broken(failure) };
        }
    }

    fn failure(&self, error: ProgramError, last_stderr_line: Option<String>, has_cut_line: bool) -> ProgramFailure {
        ProgramFailure { program: self.name(), error, last_stderr_line, has_cut_line }
    }
}

/// Sends an event, and does what the program asks for until it has answered.
fn converse(
    process: &mut Process,
    event: &Value,
    deadline: &mut Deadline,
    logged: &mut LineQuota,
    host: &mut impl Host,
) -> Result<EventResult, Breakdown> {
    let mut responded = false;
    let mut kept_bytes = 0;
    process.begin_event();
    process.send(event);
    loop {
        let breakdown = |error| Breakdown { error, responded };
        let line = process.next_line(deadline).map_err(breakdown)?;
        let message = Message::parse(&line).map_err(|error| breakdown(ProgramError::Protocol(error)))?;
        let Some(message) = message else { continue };
        responded = true;
        match message {
            Message::Call { method, params } => {
                deadline.check().map_err(|error| Breakdown { error, responded })?;
                let reply = host.call(&method, params);
                process.send(&reply);
            }
            Message::Log { text, level } if logged.admit() => log(&text, level.as_deref()),
            Message::Log { .. } => {}
            Message::Keep(value) => {
                kept_bytes += line.len();
                if kept_bytes > MAX_LINE_BYTES {
                    return Err(Breakdown { error: ProgramError::Protocol(WireError::KeepsTooMuch), responded });
                }
                host.keep(value);
            }
            Message::Succeeded { stop } => return Ok(EventResult::Ok { stop }),
            Message::Failed(message) => return Ok(EventResult::Failed(message)),
        }
    }
}

/// Logs a line of a program with the level that it requests, by default `info`.
fn log(text: &str, level: Option<&str>) {
    let text = sanitize(text);
    match level {
        Some("error") => error!("{text}"),
        Some("warning") => warn!("{text}"),
        Some("debug") => debug!("{text}"),
        _ => info!("{text}"),
    }
}

#[cfg(test)]
mod tests;

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
        loop {
            let is_reused = slot.is_some();
            let mut process = match slot.take().map_or_else(|| self.start(), Ok) {
                Ok(process) => process,
                Err(error) => return EventResult::Broken(self.failure(error, None)),
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
            let last_stderr_line = process.last_stderr_line();
            let status = self.end(process, Duration::ZERO);
            let error = match error {
                ProgramError::Exited(_) if is_reused && !responded => {
                    debug!("{} has ended and is started again", self.name());
                    continue;
                }
                ProgramError::Exited(_) => ProgramError::Exited(status),
                error => error,
            };
            // A program that has begun to work may wait for a slow site.
            let works =
                self.answered.load(Ordering::Relaxed) || (responded && matches!(error, ProgramError::Timeout(_)));
            let failure = self.failure(error, last_stderr_line);
            return if works { EventResult::Lost(failure) } else { EventResult::Broken(failure) };
        }
    }

    fn failure(&self, error: ProgramError, last_stderr_line: Option<String>) -> ProgramFailure {
        ProgramFailure { program: self.name(), error, last_stderr_line }
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
mod tests {
    use super::*;
    use crate::listener::WireError;
    use serde_json::json;

    /// Collects what a program keeps, and answers each call with its method.
    #[derive(Default)]
    struct Recording(Vec<Value>);

    impl Host for Recording {
        fn call(&mut self, method: &str, _: Map<String, Value>) -> Value {
            json!({"reply": method})
        }

        fn keep(&mut self, value: Value) {
            self.0.push(value);
        }
    }

    fn shell(script: &str, reuse: bool) -> Program {
        let command = ["sh", "-c", script].map(str::to_owned).into();
        let timeout = Duration::from_secs(30);
        Program { command, directory: ".".into(), reuse, timeout, ..Program::default() }
    }

    /// Sends some small events to a program, and returns how they ended and what was kept.
    fn events(program: &Program, count: usize) -> (Vec<EventResult>, Vec<Value>) {
        let (mut slot, mut host) = (None, Recording::default());
        let results = (0..count).map(|number| program.handle(&mut slot, &json!(number), &mut host)).collect();
        if let Some(process) = slot {
            program.end(process, EXIT_GRACE);
        }
        (results, host.0)
    }

    #[test]
    fn a_reused_process_serves_all_events() {
        let script = "while read -r event; do printf '{\"keep\":[%s,%s]}\\n{\"ok\":true}\\n' $$ $event; done";
        let (results, kept) = events(&shell(script, true), 3);
        assert!(results.iter().all(|result| matches!(result, EventResult::Ok { stop: false })), "{results:?}");
        assert!(kept.iter().all(|one| one[0] == kept[0][0]), "{kept:?}");
        assert_eq!(kept.iter().map(|one| one[1].clone()).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_process_that_writes_more_after_its_answer_is_not_reused() {
        let script = "while read -r event; do printf '{\"ok\":true}\\n{\"error\":\"late\"}\\n'; done";
        let (results, _) = events(&shell(script, true), 2);
        assert!(results.iter().all(|result| matches!(result, EventResult::Ok { .. })), "{results:?}");
    }

    #[test]
    fn a_process_that_has_not_read_the_whole_event_is_not_reused() {
        let program = shell("echo '{\"ok\":true}'; exec cat >/dev/null", true);
        let mut slot = None;
        let event = json!("x".repeat(4 << 20));
        let result = program.handle(&mut slot, &event, &mut Recording::default());
        assert!(matches!(result, EventResult::Ok { .. }) && slot.is_none(), "{result:?}");
    }

    #[test]
    fn a_reply_reaches_the_program() {
        let script = "read -r event; echo '{\"call\":\"A.b\"}'; read -r line; echo \"{\\\"keep\\\":$line}\"; \
                      echo '{\"ok\":true,\"stop\":true}'";
        let (results, kept) = events(&shell(script, false), 1);
        assert!(matches!(results[..], [EventResult::Ok { stop: true }]), "{results:?}");
        assert_eq!(kept, [json!({"reply": "A.b"})]);
    }

    #[test]
    fn a_reused_process_that_has_exited_is_replaced_without_a_failure() {
        let (results, _) = events(&shell("read -r event; echo '{\"ok\":true}'", true), 3);
        assert!(results.iter().all(|result| matches!(result, EventResult::Ok { .. })), "{results:?}");
    }

    #[test]
    fn a_program_that_never_answered_is_broken_and_one_that_did_loses_an_event() {
        let script =
            "read -r event; echo '{\"ok\":true}'; read -r event; echo '{\"log\":\"now\"}'; echo gone >&2; exit 3";
        let (results, _) = events(&shell(script, true), 2);
        let EventResult::Lost(failure) = &results[1] else { panic!("{results:?}") };
        assert!(matches!(failure.error, ProgramError::Exited(_)), "{failure}");
        assert_eq!(failure.last_stderr_line.as_deref(), Some("gone"));

        let (results, _) = events(&shell("echo no such module >&2; exit 3", true), 1);
        let EventResult::Broken(failure) = &results[0] else { panic!("{results:?}") };
        assert!(matches!(failure.error, ProgramError::Exited(_)), "{failure}");
        assert_eq!(failure.last_stderr_line.as_deref(), Some("no such module"));
    }

    #[test]
    fn a_program_that_does_not_answer_as_it_must_is_broken() {
        let error = |program: &Program| match events(program, 1).0.remove(0) {
            EventResult::Broken(failure) => failure.error,
            other => panic!("{other:?}"),
        };
        let missing = Program { command: vec!["./no-such-program".into()], ..shell("", false) };
        assert!(matches!(error(&missing), ProgramError::Start { .. }));
        assert!(matches!(error(&Program { command: vec![], ..missing }), ProgramError::Start { .. }));
        assert!(matches!(error(&shell("echo babble", false)), ProgramError::Protocol(WireError::Json { .. })));
        assert!(matches!(error(&shell("echo '{}'", false)), ProgramError::Protocol(WireError::NoMessage)));
        let endless = shell("exec tr '\\0' x </dev/zero", false);
        assert!(matches!(error(&endless), ProgramError::Protocol(WireError::TooLong)));
        let silent = Program { timeout: Duration::from_millis(100), ..shell("exec sleep 60", false) };
        assert!(matches!(error(&silent), ProgramError::Timeout(limit) if limit == silent.timeout));
    }

    #[test]
    fn a_program_that_reads_no_reply_or_keeps_too_much_takes_little_memory() {
        struct LongReplies(usize);
        impl Host for LongReplies {
            fn call(&mut self, _: &str, _: Map<String, Value>) -> Value {
                self.0 += 1;
                json!("x".repeat(1 << 20))
            }

            fn keep(&mut self, _: Value) {}
        }
        let handle = |script| {
            let program = Program { timeout: Duration::from_secs(1), ..shell(script, false) };
            let mut host = LongReplies(0);
            let result = program.handle(&mut None, &Value::Null, &mut host);
            let (EventResult::Lost(failure) | EventResult::Broken(failure)) = result else { panic!("{result:?}") };
            (failure.error, host.0)
        };
        let (error, calls) = handle("exec yes '{\"call\":\"A.b\"}'");
        assert!(matches!(error, ProgramError::Timeout(_)) && (1..8).contains(&calls), "{error:?} {calls}");
        let (error, _) = handle("x=$(head -c 60000 /dev/zero | tr '\\0' x); exec yes \"{\\\"keep\\\":\\\"$x\\\"}\"");
        assert!(matches!(error, ProgramError::Protocol(WireError::KeepsTooMuch)), "{error:?}");
    }

    #[test]
    fn a_program_that_writes_in_a_loop_exceeds_its_time() {
        for script in ["exec yes '{\"log\":\"\"}'", "yes >&2; true"] {
            let program = Program { timeout: Duration::from_millis(300), ..shell(script, false) };
            let (results, _) = events(&program, 1);
            let (EventResult::Lost(failure) | EventResult::Broken(failure)) = &results[0] else {
                panic!("{results:?}")
            };
            assert!(matches!(failure.error, ProgramError::Timeout(_)), "{failure}");
        }
    }

    #[test]
    fn a_program_gets_the_time_in_which_this_process_did_not_run() {
        let (mut deadline, limit) = (Deadline::after(Duration::from_nanos(1)), Duration::from_secs(1));
        // Every wait is a little late.
        deadline.exclude_pause(Duration::from_secs(2), limit);
        assert!(deadline.check().is_err());
        deadline.exclude_pause(Duration::from_millis(2001), limit);
        assert!(deadline.check().is_ok());
    }

    #[test]
    fn a_program_that_has_begun_to_work_is_not_broken_by_a_timeout() {
        let script = "echo '{\"log\":\"working\"}'; exec sleep 60";
        let program = Program { timeout: Duration::from_secs(1), ..shell(script, false) };
        let (results, _) = events(&program, 1);
        assert!(matches!(&results[0], EventResult::Lost(failure) if matches!(failure.error, ProgramError::Timeout(_))));
    }
}

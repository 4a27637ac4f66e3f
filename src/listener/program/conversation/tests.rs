//! Tests with real programs.

use super::*;
use crate::listener::WireError;
use serde_json::json;
use std::thread;
use std::time::Instant;

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

/// What a child does that outlives the program and holds its pipes.
const CHILD: &str = "sleep 30 &";

/// Sends events to a script whose exit no descriptor reports, unless `has_fd`; returns the results.
fn events_within_seconds(script: &str, has_fd: bool, count: usize) -> Vec<EventResult> {
    let (program, began) = (shell(script, true), Instant::now());
    let mut slot = None;
    let results = (0..count).map(|number| {
        let mut process = slot.take().unwrap_or_else(|| program.start().unwrap());
        if !has_fd {
            process.exit.close();
        }
        slot = Some(process);
        program.handle(&mut slot, &json!(number), &mut Recording::default())
    });
    let results = results.collect();
    if let Some(process) = slot {
        program.end(process, EXIT_GRACE);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{results:?}");
    results
}

#[test]
fn an_exit_is_noticed_while_a_child_holds_the_pipes() {
    let ok = "echo '{\"ok\":true}'";
    for has_fd in [true, false] {
        let events = |script: &str, count| events_within_seconds(script, has_fd, count);
        let results = events(&format!("read -r event; {CHILD} {ok}"), 3);
        assert!(results.iter().all(|result| matches!(result, EventResult::Ok { .. })), "{results:?}");

        let results =
            events(&format!("{CHILD} read -r event; {ok}; read -r event; echo '{{\"log\":\"\"}}'; exit 3"), 2);
        let EventResult::Lost(failure) = &results[1] else { panic!("{results:?}") };
        let ProgramError::Exited(Some(status)) = failure.error else { panic!("{failure}") };
        assert_eq!(status.code(), Some(3));

        // The status of a program that closes stdout first is known, too.
        let results = events("read -r event; echo '{\"log\":\"\"}'; exec >&-; exit 4", 1);
        let EventResult::Broken(failure) = &results[0] else { panic!("{results:?}") };
        let ProgramError::Exited(Some(status)) = failure.error else { panic!("{failure}") };
        assert_eq!(status.code(), Some(4));
    }
}

#[test]
fn all_that_was_written_before_an_exit_counts() {
    let flood = "seq -f '{\"log\":\"line %g\"}' 3000; echo '{\"ok\":true}'";
    let (results, _) = events(&shell(&format!("{CHILD} {flood}; exit 1"), false), 1);
    assert!(matches!(results[0], EventResult::Ok { .. }), "{results:?}");
    // A child that writes in a loop does not hide the exit.
    let results = events_within_seconds("read -r event; yes '{\"log\":\"\"}' & exit 3", true, 1);
    let (EventResult::Lost(failure) | EventResult::Broken(failure)) = &results[0] else { panic!("{results:?}") };
    assert!(matches!(failure.error, ProgramError::Exited(Some(_))), "{failure}");
}

#[test]
fn a_line_without_its_end_and_silence_are_named() {
    let failure = |script: &str, timeout: Duration| {
        let program = Program { timeout, ..shell(script, false) };
        match events(&program, 1).0.remove(0) {
            EventResult::Broken(failure) => failure.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let limit = Duration::from_millis(500);
    let message = failure("printf '{\"ok\":true}'; exec sleep 60", limit);
    assert!(message.ends_with(" took longer than 0.5 s; its last line on stdout has no line end"), "{message}");
    let message = failure("printf '{\"ok\":true}'", EXIT_GRACE * 10);
    assert!(message.contains(" ended (exit status: 0) ") && message.ends_with("has no line end"), "{message}");
    let message = failure("exec sleep 60", limit);
    assert!(message.ends_with(" wrote nothing to stdout within 0.5 s (does it flush its output?)"), "{message}");
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
fn what_a_process_writes_before_the_next_event_is_no_part_of_its_answer() {
    let script = "while read -r event; do echo '{\"ok\":true}'; sleep 0.05; echo '{\"error\":\"late\"}'; done";
    let (program, mut slot) = (shell(script, true), None);
    for _ in 0..2 {
        let result = program.handle(&mut slot, &json!(1), &mut Recording::default());
        assert!(matches!(result, EventResult::Ok { .. }), "{result:?}");
        thread::sleep(Duration::from_millis(500));
    }
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
    let script = "read -r event; echo '{\"ok\":true}'; read -r event; echo '{\"log\":\"now\"}'; echo gone >&2; exit 3";
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
    assert!(matches!(error(&silent), ProgramError::Silent(limit) if limit == silent.timeout));
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
    let handle = |script, seconds| {
        let program = Program { timeout: Duration::from_secs(seconds), ..shell(script, false) };
        let mut host = LongReplies(0);
        let result = program.handle(&mut None, &Value::Null, &mut host);
        let (EventResult::Lost(failure) | EventResult::Broken(failure)) = result else { panic!("{result:?}") };
        (failure.error, host.0)
    };
    let (error, calls) = handle("exec yes '{\"call\":\"A.b\"}'", 1);
    assert!(matches!(error, ProgramError::Timeout(_)) && (1..8).contains(&calls), "{error:?} {calls}");
    let (error, _) = handle("x=$(head -c 60000 /dev/zero | tr '\\0' x); exec yes \"{\\\"keep\\\":\\\"$x\\\"}\"", 30);
    assert!(matches!(error, ProgramError::Protocol(WireError::KeepsTooMuch)), "{error:?}");
}

#[test]
fn a_program_that_writes_in_a_loop_exceeds_its_time() {
    for script in ["exec yes '{\"log\":\"\"}'", "yes >&2; true"] {
        let program = Program { timeout: Duration::from_millis(300), ..shell(script, false) };
        let (results, _) = events(&program, 1);
        let (EventResult::Lost(failure) | EventResult::Broken(failure)) = &results[0] else { panic!("{results:?}") };
        assert!(matches!(failure.error, ProgramError::Timeout(_) | ProgramError::Silent(_)), "{failure}");
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

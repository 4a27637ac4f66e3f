//! Time in which the process did not run.

use super::*;
use crate::listener::{self, ProgramError, ProgramFailure};
use crate::run::clock::Pause;

/// The process did not run for five seconds.
fn pause() -> Event {
    Event::Paused(Pause { from: ms(500), to: ms(5_500), length: secs(5) })
}

/// A run of as many polls in flight, half a second old, which was stopped for five seconds.
fn paused_run(polls: u64) -> Fixture {
    let mut run = Fixture::new(polls, |_| ());
    run.take(100);
    run.apply(pause());
    run
}

fn outcome(run: &mut Fixture, outcome: Result<Outcome, Error>) {
    let task = run.in_flight.pop().unwrap();
    run.apply(Event::PollsEnded(vec![result(task, ms(0), ms(6_000), outcome)]));
}

#[test]
fn failures_of_polls_that_overlap_a_pause_are_not_counted() {
    let classes = FailureClass::ALL;
    let mut run = paused_run(classes.len() as u64);
    for class in classes {
        outcome(&mut run, Ok(failure(class)));
    }
    let classes = classes.len();
    assert_eq!(run.log, [format!("paused for 5s, {classes} not counted")], "once");
    let work = run.finish.as_ref().unwrap();
    assert!(work.work.updates.is_empty());
    let (record, error) = run.end();
    let counts = (record.polled, record.dropped, record.failed, record.outage);
    assert_eq!((counts, error.is_none()), ((classes as u64, classes as u64, 0, false), true));
}

#[test]
fn replies_that_came_during_a_pause_count_and_make_no_site_slow() {
    let mut run = paused_run(2);
    outcome(&mut run, Ok(Ok(())));
    let asked = Failure { retry_after: Some(60), ..Failure::new(FailureClass::Http, "status 503") };
    outcome(&mut run, Ok(Err(asked)));
    let updates = &run.finish.as_ref().unwrap().work.updates;
    assert_eq!(updates.iter().map(|update| update.next.last_duration_ms()).collect::<Vec<_>>(), [1_000, 1_000]);
    let (record, _) = run.end();
    assert_eq!((record.ok, record.deferred, record.dropped), (1, 1, 0));
}

#[test]
fn failures_before_and_after_a_pause_count() {
    let mut run = Fixture::new(2, |_| ());
    run.take(2);
    let [before, after] = [run.in_flight.pop().unwrap(), run.in_flight.pop().unwrap()];
    run.apply(Event::PollsEnded(vec![result(before, ms(0), ms(400), Ok(failure(FailureClass::Timeout)))]));
    run.apply(pause());
    run.apply(Event::PollsEnded(vec![result(after, ms(5_501), ms(9_000), Ok(failure(FailureClass::Timeout)))]));
    let (record, _) = run.end();
    assert_eq!((record.failed, record.dropped), (2, 0));
}

#[test]
fn a_program_that_exceeded_its_time_in_a_pause_does_not_end_the_run() {
    let error = |error| {
        let failure = ProgramFailure { program: "./x".into(), error, last_stderr_line: None, has_cut_line: false };
        Err(Error::Listener(listener::Error::Program(failure)))
    };
    let mut run = paused_run(4);
    outcome(&mut run, error(ProgramError::Timeout(secs(2))));
    outcome(&mut run, error(ProgramError::Silent(secs(2))));
    assert!(run.log.is_empty());
    // This one does not work, whether or not the process was stopped.
    outcome(&mut run, error(ProgramError::Exited(None)));
    assert_eq!(run.log, ["stopping, 1 in flight"]);
    outcome(&mut run, Ok(Ok(())));
    let (record, error) = run.end();
    assert_eq!((record.polled, record.ok, record.dropped), (3, 1, 3));
    assert!(matches!(error, Some(Error::Listener(_))));
}

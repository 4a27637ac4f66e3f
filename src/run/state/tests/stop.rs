//! How a run ends.

use super::*;
use crate::model::{Lateness, Threads};
use crate::run::backlog::Pace;

#[test]
fn a_run_ends_once_all_is_polled_and_recorded() {
    let mut run = Fixture::new(3, |_| ());
    run.poll(3, &Ok(()));
    let finish = run.finish.as_ref().unwrap();
    assert_eq!((finish.work.updates.len(), finish.record.ok, finish.is_last_run), (3, 3, true));
    assert_eq!(finish.record.elapsed_ms, 100);
    assert!(!run.state.has_ended(), "not before it is recorded");
    let (record, error) = run.end();
    assert!(error.is_none());
    assert_eq!((record.due, record.polled, record.ok, record.dropped), (3, 3, 3, 0));
}

#[test]
fn a_signal_starts_no_new_poll_and_waits_for_those_in_flight() {
    let mut run = Fixture::new(100, |_| ());
    run.take(4);
    run.apply(Event::Signal(143));
    assert_eq!(run.log, ["stopping, 4 in flight"]);
    assert!(run.queue.is_empty() && run.finish.is_none());
    run.end_polls(secs(3), &Ok(()));
    let (record, error) = run.end();
    assert_eq!((record.polled, record.ok, error.is_none()), (4, 4, true));
}

#[test]
fn the_grace_period_ends_the_wait_for_polls_in_flight() {
    let mut run = Fixture::new(100, |_| ());
    run.take(4);
    run.apply(Event::Signal(143));
    run.wait(SHUTDOWN_GRACE);
    assert!(run.finish.is_none());
    run.wait(ms(1));
    assert!(run.finish.is_some());
    assert_eq!(run.state.outstanding(), 4, "four workers are stuck");
    // What ends later is left to the next run.
    run.end_polls(ms(1), &Ok(()));
    assert_eq!(run.end().0.polled, 0);
}

#[test]
fn a_session_under_way_is_waited_for_before_the_last_one() {
    let mut run = Fixture::new(100, |_| ());
    run.poll(4, &Ok(()));
    run.wait(secs(1));
    run.apply(Event::Signal(143));
    assert!(run.session.is_some() && run.finish.is_none());
    run.fail_session(StoreError::Cancelled);
    assert_eq!(run.log, ["stopping, 0 in flight"], "no warning: the last session waits for the store");
    assert_eq!(run.finish.as_ref().unwrap().work.updates.len(), 4);
    assert!(run.end().1.is_none());
}

#[test]
fn outcomes_are_recorded_at_once_when_the_run_stops() {
    let mut run = Fixture::new(100, |_| ());
    run.poll(2, &Ok(()));
    run.take(1);
    run.wait(ms(100));
    assert!(run.session.is_none(), "they are recorded once a second");
    run.apply(Event::Signal(129));
    // A second signal may end the process during the grace period.
    assert_eq!(run.end_session(ms(4)), (0, 2));
    run.end_polls(ms(100), &Ok(()));
    assert_eq!(run.end().0.ok, 3);
}

#[test]
fn connections_that_arrive_while_the_run_stops_are_not_polled() {
    let mut run = Fixture::new(3000, |_| ());
    run.apply(Event::Tick);
    run.take(1);
    run.apply(Event::Signal(130));
    let loading = run.session.as_ref().unwrap().load.len();
    assert!(loading > 0);
    run.end_session(ms(4));
    assert!(run.queue.is_empty() && run.finish.is_none());
    run.end_polls(ms(1), &Ok(()));
    assert_eq!(run.end().0.polled, 1);
}

#[test]
fn the_maximum_runtime_stops_the_run_without_an_error() {
    let mut run = Fixture::new(100, |rules| rules.max_runtime = Some(secs(5)));
    run.take(2);
    run.wait(ms(4999));
    assert!(run.log.is_empty());
    run.wait(ms(1));
    assert_eq!(run.log, ["stopping, 2 in flight"]);
    run.end_polls(ms(10), &Ok(()));
    let (record, error) = run.end();
    assert_eq!((record.polled, error.is_none()), (2, true));
}

/// A run of 3,000 connections that may take 5 s and polls two in that time. `end` is called then.
fn out_of_time(end: impl FnOnce(&mut Fixture)) -> (RunRecord, bool) {
    let mut run = Fixture::new(3000, |rules| {
        rules.max_runtime = Some(secs(5));
        let (period, threads) = (secs(3600), Threads::Fixed(2));
        let (max_runtime, gap_s, is_after_stop) = (rules.max_runtime, None, false);
        rules.pace = Some(Pace { period, max_runtime, threads, gap_s, is_after_stop });
    });
    run.apply(Event::Workers(2));
    run.take(2);
    run.wait(secs(5));
    end(&mut run);
    run.end_polls(ms(10), &Ok(()));
    run.end_session(ms(4));
    let reports = run.log.iter().any(|line| line.contains("CannotKeepUp(Backlog { due: 3000, left: 2998"));
    (run.end().0, reports)
}

#[test]
fn a_run_without_time_for_all_cannot_keep_up() {
    let (record, reports) = out_of_time(|_| ());
    assert_eq!((record.polled, record.behind_since, reports), (2, Some(7200), true));
    assert_eq!(record.lateness_s, Some(Lateness { p50: 5, p95: 5, max: 5 }));
    // A run that is interrupted shows nothing.
    let (record, reports) = out_of_time(|run| run.apply(Event::Signal(143)));
    assert_eq!((record.polled, record.behind_since, reports), (2, None, false));
}

#[test]
fn a_listener_that_cannot_be_used_stops_the_run_and_no_failure_is_counted() {
    let mut run = Fixture::new(100, |_| ());
    run.take(3);
    let task = run.in_flight.pop().unwrap();
    let error = Error::NoThread("any error".to_owned());
    run.apply(Event::PollsEnded(vec![result(task, ms(0), ms(1), Err(error))]));
    assert_eq!(run.log, ["stopping, 2 in flight"]);
    run.end_polls(ms(1), &Ok(()));
    let (record, error) = run.end();
    assert_eq!((record.polled, record.failed, record.dropped), (2, 0, 1));
    assert!(matches!(error, Some(Error::NoThread(_))));
}

#[test]
fn a_poll_by_hand_is_reported_and_is_not_the_last_run() {
    let mut run = Fixture::new(1, |rules| rules.by_hand = true);
    run.poll(1, &failure(FailureClass::Api));
    assert!(run.log[0].ends_with("to level 0"), "{:?}", run.log);
    assert!(!run.finish.as_ref().unwrap().is_last_run);
}

#[test]
fn a_run_that_is_aborted_hands_over_its_outcomes_once() {
    let mut run = Fixture::new(100, |_| ());
    run.poll(2, &failure(FailureClass::Connect));
    assert_eq!(run.state.abort().map(|work| work.work.updates.len()), Some(2), "also doubtful ones");
    assert!(run.state.abort().is_none());
}

#[test]
fn a_run_that_is_to_end_before_its_first_poll_polls_nothing() {
    for event in [Event::Signal(143), Event::Stop] {
        let mut run = Fixture::unstarted(3000, |_| ());
        run.apply(event);
        assert!(run.queue.is_empty() && run.session.is_none());
        assert_eq!(run.end().0.polled, 0);
    }
    let mut run = Fixture::unstarted(3000, |rules| rules.max_runtime = Some(secs(5)));
    run.wait(secs(5));
    assert!(run.queue.is_empty());
    assert_eq!(run.end().0.polled, 0);
}

#[test]
fn a_recorder_that_panicked_ends_the_run_and_its_outcomes_are_lost() {
    let mut run = Fixture::new(100, |_| ());
    run.poll(4, &Ok(()));
    run.wait(secs(1));
    assert_eq!(run.session.take().unwrap().updates.len(), 4);
    run.take(2);
    run.apply(Event::RecorderPanicked("why".to_owned()));
    assert_eq!(run.log, ["stopping, 2 in flight"]);
    assert!(!run.state.has_ended(), "polls in flight are waited for");
    run.end_polls(ms(1), &Ok(()));
    assert!(run.state.has_ended() && run.finish.is_none() && run.session.is_none());
    let (summary, error) = run.state.into_result();
    assert_eq!(summary.run.polled, 6);
    assert!(matches!(error, Some(Error::NotRecorded { outcomes: 6, .. })), "{error:?}");
}

#[test]
fn a_recorder_that_panics_in_the_last_session_fails_the_run() {
    let mut run = Fixture::new(2, |_| ());
    run.poll(2, &Ok(()));
    run.apply(Event::RecorderPanicked("why".to_owned()));
    assert!(run.state.has_ended());
    assert!(matches!(run.state.into_result().1, Some(Error::NotRecorded { outcomes: 2, .. })));
}

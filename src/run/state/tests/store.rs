//! When connections are loaded, and outcomes and results recorded.

use super::*;
use crate::model::JobName;
use crate::store::{Limits, StoredResult};

/// What a listener keeps of a poll.
fn kept(task: &PollTask) -> EncodedResult {
    let (cxn_id, app_id) = (task.cxn.cxn_id.clone(), task.cxn.app_id.clone());
    let value = "value".into();
    let result = StoredResult { cxn_id, app_id, job: JobName::default(), at: 7200, failure: None, value, bytes: 0 };
    result.encode(&Limits::default()).unwrap()
}

impl Fixture {
    /// Polls one connection, of which a listener keeps a result. Returns the size of that in bytes.
    fn poll_and_keep(&mut self) -> usize {
        self.take(1);
        let task = self.in_flight.pop().unwrap();
        let kept = kept(&task);
        let size = kept.size();
        let polled = PollResult { result: Some(kept), ..result(task, self.at, self.at + ms(1), Ok(Ok(()))) };
        self.apply(Event::PollsEnded(vec![polled]));
        size
    }
}

#[test]
fn the_next_state_of_each_connection_is_recorded_in_the_order_of_the_store() {
    let mut run = Fixture::new(2, |_| ());
    run.queue.make_contiguous().reverse();
    run.take(1);
    run.end_polls(ms(500), &failure(FailureClass::Http));
    run.poll(1, &Ok(()));
    let updates = &run.finish.as_ref().unwrap().work.updates;
    let states = updates.iter().map(|update| (update.locator.seq, update.next.count, update.next.last_duration_ms()));
    assert_eq!(states.collect::<Vec<_>>(), [(0, 0, 100), (1, 1, 500)]);
    assert!(updates.iter().all(|update| update.next.last_run == 7200 && update.expected.last_run == 1));
    assert_eq!(run.state.summary().durations, [500, 100], "in the order in which polls ended");
}

#[test]
fn outcomes_are_recorded_about_every_second() {
    let mut run = Fixture::new(1000, |_| ());
    run.poll(4, &Ok(()));
    run.wait(ms(899));
    assert!(run.session.is_none());
    run.wait(ms(1));
    assert_eq!(run.end_session(ms(4)), (0, 4));
    run.wait(secs(5));
    assert!(run.session.is_none(), "nothing is to be recorded");
    run.poll(1, &Ok(()));
    assert_eq!(run.end_session(ms(4)), (0, 1));
    run.poll(1, &Ok(()));
    assert!(run.session.is_none(), "the last session was just now");
}

#[test]
fn many_outcomes_are_recorded_earlier() {
    let mut run = Fixture::new(20_000, |_| ());
    assert_eq!(run.queue.len(), INITIAL_LOAD);
    run.apply(Event::Tick);
    assert_eq!(run.end_session(ms(4)), (QUEUE_CAPACITY - INITIAL_LOAD, 0));
    run.poll(FLUSH_COUNT, &Ok(()));
    assert_eq!(run.end_session(ms(4)).1, FLUSH_COUNT);
}

#[test]
fn few_outcomes_are_left_for_the_last_session() {
    let mut run = Fixture::new(1000 + 3000, |_| ());
    run.state.opening = ms(200);
    run.apply(Event::Tick);
    run.end_session(ms(200));
    // The next is due after four seconds, but the run ends before.
    run.poll(2999, &Ok(()));
    run.wait(ms(700));
    assert!(run.session.is_none(), "more than a third is left");
    run.poll(1, &Ok(()));
    assert_eq!(run.end_session(ms(200)), (0, 3000));
    run.poll(999, &Ok(()));
    run.wait(ms(900));
    assert!(run.session.is_none(), "too few to be worth an opening");
    run.poll(1, &Ok(()));
    assert_eq!(run.finish.as_ref().unwrap().work.updates.len(), 1000);
}

#[test]
fn opening_the_store_takes_at_most_a_twentieth_of_the_time() {
    let mut run = Fixture::new(1000, |_| ());
    run.state.opening = ms(200);
    run.poll(4, &Ok(()));
    run.wait(ms(3899));
    assert!(run.session.is_none());
    run.wait(ms(1));
    // The shortest opening counts: others had the processor meanwhile.
    run.end_session(ms(900));
    run.poll(4, &Ok(()));
    run.wait(ms(3800));
    assert!(run.session.is_none());
    run.wait(ms(100));
    assert!(run.session.is_some());
}

#[test]
fn the_next_connections_are_loaded_before_the_queue_is_empty() {
    let mut run = Fixture::new(20_000, |_| ());
    run.apply(Event::Tick);
    assert_eq!(run.end_session(ms(4)).0, QUEUE_CAPACITY - INITIAL_LOAD);
    let waiting = run.queue.len();
    assert_eq!(waiting, QUEUE_CAPACITY);
    run.take(waiting - LOW_WATERMARK);
    run.apply(Event::Tick);
    assert!(run.session.is_none());
    run.take(1);
    run.apply(Event::Tick);
    assert_eq!(run.end_session(ms(4)).0, QUEUE_CAPACITY - LOW_WATERMARK + 1);
}

#[test]
fn every_connection_is_loaded_once_and_in_order() {
    let mut run = Fixture::new(30_000, |_| ());
    let mut polled = Vec::new();
    // Twice as many rounds as are needed, so that a run that never finishes fails.
    for _ in 0..60 {
        if run.finish.is_some() {
            break;
        }
        run.at += ms(10);
        run.take(1000);
        polled.extend(run.in_flight.iter().map(|task| task.locator.seq));
        run.end_polls(ms(10), &Ok(()));
        if run.session.is_some() {
            run.end_session(ms(4));
        }
    }
    assert_eq!(polled, (0..30_000).collect::<Vec<_>>());
    assert_eq!(run.end().0.ok, 30_000);
}

#[test]
fn polls_that_end_while_a_session_is_under_way_are_recorded_by_the_next() {
    let mut run = Fixture::new(1000, |_| ());
    run.poll(4, &Ok(()));
    run.wait(secs(1));
    run.poll(3, &Ok(()));
    assert_eq!(run.end_session(ms(4)), (0, 4));
    run.wait(secs(1));
    assert_eq!(run.end_session(ms(4)), (0, 3));
}

#[test]
fn a_busy_store_delays_outcomes_and_connections_but_loses_none() {
    let mut run = Fixture::new(3000, |_| ());
    run.poll(24, &Ok(()));
    let wanted = run.session.as_ref().unwrap().load.len();
    assert_eq!(wanted, 1976);
    run.fail_session(busy());
    assert!(run.log[0].contains("StoreBusy") && run.log[0].contains("outcomes: 24"), "{:?}", run.log);
    run.wait(ms(999));
    assert!(run.session.is_none(), "not at once");
    run.wait(ms(1));
    assert_eq!(run.end_session(ms(4)), (wanted, 24));
    assert_eq!(run.state.error.is_none(), run.queue.len() == 2976);
}

#[test]
fn a_store_that_fails_ends_the_run_and_its_outcomes_are_tried_once_more() {
    let mut run = Fixture::new(100, |_| ());
    run.poll(10, &Ok(()));
    run.take(4);
    run.wait(secs(1));
    run.fail_session(StoreError::NoStore { path: "store".into() });
    assert_eq!(run.log, ["stopping, 4 in flight"]);
    assert!(run.queue.is_empty() && run.finish.is_none(), "polls in flight are waited for");
    run.end_polls(ms(100), &Ok(()));
    assert_eq!(run.finish.as_ref().unwrap().work.updates.len(), 14);
    assert!(matches!(run.end().1, Some(Error::Store(StoreError::NoStore { .. }))));
}

#[test]
fn outcomes_that_cannot_be_recorded_at_the_end_fail_the_run() {
    let mut run = Fixture::new(2, |_| ());
    run.poll(2, &Ok(()));
    run.apply(Event::Finished(FinalReport { recorded: Err(busy()), results_error: None }));
    assert!(run.state.has_ended());
    assert!(matches!(run.state.into_result().1, Some(Error::NotRecorded { outcomes: 2, .. })));
}

#[test]
fn results_are_stored_with_the_outcomes_and_earlier_where_they_are_large() {
    let mut run = Fixture::new(1000, |_| ());
    let size = run.poll_and_keep();
    run.state.result_bytes = FLUSH_RESULT_BYTES - size;
    run.poll_and_keep();
    assert!(run.session.is_none(), "as many bytes as may wait");
    run.poll_and_keep();
    let work = run.session.take().unwrap();
    assert_eq!((work.results.len(), work.updates.len()), (3, 0), "the store is not opened for them");
    run.report(SessionReport { updates: vec![], results: vec![], recorded: Ok(None), results_error: None });
    run.poll_and_keep();
    assert!(run.session.is_none(), "their size is counted from the last session on");
    run.wait(secs(1).saturating_sub(run.at));
    let work = run.session.as_ref().unwrap();
    assert_eq!((work.results.len(), work.updates.len()), (1, 4), "their session delays no outcome");
    run.end_session(ms(4));
}

#[test]
fn the_last_session_stores_the_last_results() {
    let mut run = Fixture::new(1, |_| ());
    run.poll_and_keep();
    assert_eq!(run.finish.as_ref().unwrap().work.results.len(), 1);
}

#[test]
fn results_that_cannot_be_stored_are_reported_and_fail_nothing() {
    let mut run = Fixture::new(1000, |_| ());
    run.poll(4, &Ok(()));
    run.wait(secs(1));
    let SessionWork { updates, .. } = run.session.take().unwrap();
    let recorded = Ok(Some((vec![true; updates.len()], ms(4))));
    run.report(SessionReport { updates, results: vec![], recorded, results_error: Some(busy()) });
    assert!(run.log[0].contains("ResultsNotStored"), "{:?}", run.log);
    run.apply(Event::Signal(143));
    let record = run.finish.take().unwrap().record;
    run.apply(Event::Finished(FinalReport { recorded: Ok(record), results_error: Some(busy()) }));
    assert!(run.log.last().unwrap().contains("ResultsNotStored"), "{:?}", run.log);
    let (summary, error) = run.state.into_result();
    assert_eq!((summary.run.ok, error.is_none()), (4, true));
}

#[test]
fn results_that_a_cancelled_session_has_not_stored_are_left_to_the_last() {
    let mut run = Fixture::new(1000, |_| ());
    run.poll_and_keep();
    run.wait(secs(1));
    run.apply(Event::Signal(143));
    run.fail_session(StoreError::Cancelled);
    let work = &run.finish.as_ref().unwrap().work;
    assert_eq!((work.results.len(), work.updates.len()), (1, 1));
}

#[test]
fn lost_outcomes_are_counted_where_the_store_failed_before() {
    let mut run = Fixture::new(100, |_| ());
    run.poll(10, &Ok(()));
    run.wait(secs(1));
    run.fail_session(StoreError::NoStore { path: "store".into() });
    assert_eq!(run.finish.take().unwrap().work.updates.len(), 10);
    run.apply(Event::Finished(FinalReport { recorded: Err(busy()), results_error: None }));
    let (_, error) = run.state.into_result();
    let cause = StoreError::NoStore { path: "store".into() };
    assert_eq!(format!("{error:?}"), format!("{:?}", Some(Error::NotRecorded { outcomes: 10, error: cause })));
}

#[test]
fn lost_outcomes_are_reported_where_a_listener_failed_before() {
    let mut run = Fixture::new(100, |_| ());
    run.poll(10, &Ok(()));
    run.take(1);
    let task = run.in_flight.pop().unwrap();
    let error = Error::NoThread("any error".to_owned());
    run.apply(Event::PollsEnded(vec![result(task, ms(0), ms(1), Err(error))]));
    run.apply(Event::Finished(FinalReport { recorded: Err(busy()), results_error: None }));
    assert!(run.log.last().unwrap().contains("outcomes: 10"), "{:?}", run.log);
    assert!(matches!(run.state.into_result().1, Some(Error::NoThread(_))));
}

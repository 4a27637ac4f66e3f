//! When connections are loaded and outcomes recorded.

use super::*;

#[test]
fn the_next_state_of_each_connection_is_recorded_in_the_order_of_the_store() {
    let mut run = Fixture::new(2, |_| ());
    run.queue.make_contiguous().reverse();
    run.take(1);
    run.end_polls(ms(500), &failure(FailureClass::Http));
    run.poll(1, &Ok(()));
    let updates = &run.finish.as_ref().unwrap().work.updates;
    let states = updates.iter().map(|update| (update.locator.seq, update.next.count, update.next.last_duration_ms));
    assert_eq!(states.collect::<Vec<_>>(), [(0, 0, 100), (1, 1, 500)]);
    assert!(updates.iter().all(|update| update.next.last_run == 7200 && update.expected.last_run == 1));
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
    while run.finish.is_none() {
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
    run.apply(Event::Finished(FinalReport { outcomes: 2, recorded: Err(busy()), results_error: None }));
    assert!(run.state.has_ended());
    assert!(matches!(run.state.into_result().1, Some(Error::NotRecorded { outcomes: 2, .. })));
}

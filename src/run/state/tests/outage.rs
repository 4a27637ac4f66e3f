//! How an outage of this machine's network differs from dead sites.

use super::*;

#[test]
fn an_outage_is_probed_and_then_ends_the_run_without_counting_its_failures() {
    let mut run = Fixture::new(100, |_| ());
    run.poll(2, &Ok(()));
    run.poll(10, &failure(FailureClass::Connect));
    assert_eq!(run.permits, Some(PROBES));
    run.take(100);
    assert_eq!(run.in_flight.len(), PROBES);
    run.wait(secs(1));
    assert!(run.log.is_empty(), "the probes are waited for");
    run.end_polls(ms(10), &failure(FailureClass::Connect));
    run.wait(ms(50));
    assert_eq!(run.log, ["stopping, 0 in flight"]);
    // The two outcomes that came before were being recorded.
    assert_eq!(run.end_session(ms(4)), (0, 2));
    assert_eq!(run.log, ["stopping, 0 in flight", "outage, 20 not counted"]);
    let (record, error) = run.end();
    assert!(record.outage && error.is_none());
    assert_eq!((record.polled, record.ok, record.failed, record.dropped), (22, 2, 0, 20));
}

#[test]
fn a_reply_to_a_probe_ends_the_suspicion_and_the_failures_count() {
    let mut run = Fixture::new(100, |_| ());
    run.poll(10, &failure(FailureClass::Connect));
    run.poll(1, &Ok(()));
    assert_eq!(run.permits, None);
    assert_eq!((run.state.summary().run.failed, run.state.summary().run.ok), (10, 1));
    assert!(!run.state.summary().run.outage && run.log.is_empty());
}

#[test]
fn probes_that_hang_prolong_an_outage_by_the_grace_period_at_most() {
    let mut run = Fixture::new(100, |_| ());
    run.poll(10, &failure(FailureClass::Connect));
    run.take(3);
    run.wait(SHUTDOWN_GRACE);
    assert!(run.log.is_empty());
    run.wait(ms(1));
    assert_eq!(run.log, ["stopping, 3 in flight"]);
}

#[test]
fn a_late_reply_of_a_probe_takes_an_outage_back() {
    let mut run = Fixture::new(100, |_| ());
    run.poll(10, &failure(FailureClass::Connect));
    run.take(3);
    run.wait(SHUTDOWN_GRACE + ms(1));
    run.end_polls(ms(1), &Ok(()));
    let (record, _) = run.end();
    assert_eq!((record.outage, record.failed, record.ok, record.dropped), (false, 10, 3, 0));
}

#[test]
fn doubtful_failures_of_a_few_hosts_count_at_the_end() {
    let mut run = Fixture::new(9, |_| ());
    run.poll(9, &failure(FailureClass::Connect));
    let (record, _) = run.end();
    assert_eq!((record.outage, record.failed), (false, 9));
}

#[test]
fn a_reply_from_before_an_outage_counts_and_does_not_end_it() {
    let mut run = Fixture::new(100, |_| ());
    run.take(1);
    let early = run.in_flight.pop().unwrap();
    run.wait(ms(500));
    run.poll(10, &failure(FailureClass::Connect));
    assert_eq!(run.permits, Some(PROBES));
    run.apply(Event::PollsEnded(vec![result(early, ms(0), run.at, Ok(failure(FailureClass::Http)))]));
    assert_eq!((run.permits, run.state.summary().run.failed), (Some(PROBES), 1));
    run.poll(PROBES, &failure(FailureClass::Connect));
    let (record, _) = run.end();
    assert_eq!((record.outage, record.failed, record.dropped), (true, 1, 20));
}

#[test]
fn failures_count_at_once_while_the_network_works() {
    let mut run = Fixture::new(100, |_| ());
    run.poll(3, &failure(FailureClass::Timeout));
    assert_eq!(run.state.summary().run.failed, 3);
}

#[test]
fn an_outage_is_probed_although_the_queue_ran_dry_while_connections_are_loaded() {
    let mut run = Fixture::new(3000, |_| ());
    run.apply(Event::Tick);
    assert!(run.session.is_some(), "connections are being loaded");
    run.poll(INITIAL_LOAD - 10, &Ok(()));
    run.poll(10, &failure(FailureClass::Connect));
    assert_eq!((run.permits, run.queue.len()), (Some(PROBES), 0));
    run.wait(ms(50));
    assert!(run.log.is_empty(), "the probes are yet to be loaded");
    run.end_session(ms(4));
    run.poll(1, &Ok(()));
    assert_eq!(run.permits, None);
}

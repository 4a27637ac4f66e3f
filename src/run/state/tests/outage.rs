//! When failures are our own fault, and not that of dead sites.

use super::*;
use crate::model::Fault;
use crate::run::outage::network_hash;

/// How many more polls are made before an outage of the network is declared.
const PROBES: usize = 10;

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
    assert_eq!(run.log, ["stopping, 0 in flight", "network, 20 not counted"]);
    let (record, error) = run.end();
    assert!(record.outage && error.is_none());
    assert_eq!((record.polled, record.ok, record.failed, record.dropped), (22, 2, 0, 20));
}

#[test]
fn a_reply_to_a_probe_ends_the_suspicion_and_the_failures_count() {
    let mut run = Fixture::new(100, |_| ());
    run.poll(10, &failure(FailureClass::Connect));
    run.poll(2, &Ok(()));
    assert_eq!(run.permits, None);
    assert_eq!((run.state.summary().run.failed, run.state.summary().run.ok), (10, 2));
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
    let mut run = Fixture::new(2, |_| ());
    run.poll(2, &failure(FailureClass::Connect));
    let (record, _) = run.end();
    assert_eq!((record.outage, record.failed), (false, 2));
}

#[test]
fn a_reply_from_before_an_outage_counts_and_does_not_end_it() {
    let mut run = Fixture::new(100, |_| ());
    run.take(1);
    let early = run.in_flight.pop().unwrap();
    run.wait(ms(500));
    run.poll(10, &failure(FailureClass::Connect));
    assert_eq!(run.permits, Some(PROBES));
    run.apply(Event::PollsEnded(vec![result(early, ms(0), run.at, Ok(Ok(())))]));
    assert_eq!((run.permits, run.state.summary().run.ok), (Some(PROBES), 1));
    run.poll(PROBES, &failure(FailureClass::Connect));
    let (record, _) = run.end();
    assert_eq!((record.outage, record.ok, record.dropped), (true, 1, 20));
}

#[test]
fn failures_count_once_another_site_succeeds() {
    let mut run = Fixture::new(100, |_| ());
    run.poll(3, &failure(FailureClass::Http));
    assert_eq!(run.state.summary().run.failed, 0);
    run.poll(1, &Ok(()));
    assert_eq!(run.state.summary().run.failed, 3);
}

#[test]
fn the_same_answer_of_all_sites_ends_a_run() {
    let mut run = Fixture::new(100, |_| ());
    run.poll(10, &failure(FailureClass::Http));
    assert_eq!(run.permits, Some(20));
    run.poll(15, &failure(FailureClass::Http));
    // The others take longer than the grace period, one after the other.
    for _ in 0..5 {
        run.take(1);
        run.end_polls(SHUTDOWN_GRACE, &failure(FailureClass::Http));
    }
    assert_eq!(run.log, ["stopping, 0 in flight", "refused, 30 not counted"]);
    let (record, _) = run.end();
    assert_eq!((record.outage, record.failed, record.dropped), (true, 0, 30));
}

#[test]
fn a_run_goes_on_if_the_same_answer_stays_in_doubt() {
    let mut run = Fixture::new(100, |_| ());
    run.poll(2, &Ok(()));
    run.poll(10, &failure(FailureClass::Http));
    // What is polled next were no witnesses.
    for round in 0..3 {
        assert_eq!(run.permits, Some(20), "{round}");
        run.take(20);
        run.in_flight.iter_mut().for_each(|task| task.status = PollStatus::default());
        run.end_polls(ms(10), &failure(FailureClass::Http));
        run.wait(ms(50));
    }
    assert_eq!((run.permits, run.state.summary().run.failed), (None, 0));
    run.poll(100, &Ok(()));
    let (record, _) = run.end();
    assert_eq!((record.outage, record.failed, record.ok), (false, 70, 30));
}

#[test]
fn what_this_machine_could_not_do_is_not_recorded() {
    let mut run = Fixture::new(100, |_| ());
    run.poll(2, &Err(Failure::local(Fault::NoRoute, "no route")));
    run.poll(98, &Ok(()));
    assert_eq!(run.log, ["no-route, 2 not counted"]);
    let finish = run.finish.as_ref().unwrap();
    assert_eq!((finish.work.updates.len(), finish.record.outage, finish.record.dropped), (98, false, 2));
    assert_eq!(run.state.summary().run.outage_cause, Some(Fault::NoRoute));
}

#[test]
fn a_success_remembers_the_network_that_answered() {
    let mut run = Fixture::new(3, |_| ());
    let called = [203, 0, 113, 1].into();
    let address = Some(called);
    run.take(3);
    let tasks = std::mem::take(&mut run.in_flight);
    let answers = [(Ok(()), address), (Ok(()), None), (failure(FailureClass::Http), address)];
    let polled = tasks.into_iter().zip(answers).map(|(mut task, (outcome, address))| {
        task.status.network = Some(7);
        let polled = result(task, ms(0), ms(1), Ok(outcome));
        PollResult { trace: PollTrace { address, ..polled.trace }, ..polled }
    });
    run.apply(Event::PollsEnded(polled.collect()));
    let updates = &run.finish.as_ref().unwrap().work.updates;
    let expected = network_hash(HostKey::TEST, called);
    let networks: Vec<_> = updates.iter().map(|update| update.next.network).collect();
    assert_eq!(networks, [Some(expected), Some(7), Some(7)]);
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
    run.poll(2, &Ok(()));
    assert_eq!(run.permits, None);
}

//! Hosts that are down, or that asked to wait.

use super::*;
use crate::run::clock::Pause;

const PROBE_INTERVAL: Duration = secs(30);
const HANGS: FailureClass = FailureClass::Timeout;

/// A run of so many sites on each of these hosts, all polled well before.
fn run_of(hosts: &[(HostHash, u64)]) -> Fixture {
    run_with(hosts, |_| ())
}

fn run_with(hosts: &[(HostHash, u64)], change: impl FnOnce(&mut Rules)) -> Fixture {
    let sites = hosts.iter().flat_map(|(host, sites)| (0..*sites).map(|_| *host));
    let mut tasks: Vec<_> = sites.zip(0..).map(|(host, seq)| PollTask { host, due: 7200, ..witness(seq) }).collect();
    let entries = tasks.iter().map(entry).collect();
    tasks.truncate(INITIAL_LOAD);
    let mut run = Fixture::of(entries, tasks, change);
    run.apply(Event::Tick);
    run
}

impl Fixture {
    /// So many polls of a host end, with a reply or with a timeout, and take a second.
    fn poll_host(&mut self, host: HostHash, polls: usize, outcome: &Outcome) {
        for _ in 0..polls {
            let place = self.queue.iter().position(|task| task.host == host).expect("a site waits");
            self.in_flight.extend(self.queue.remove(place));
        }
        let began = self.at;
        self.at += secs(1);
        self.end_flights(began, host, outcome);
    }

    /// The polls of a host that are in flight end.
    fn end_flights(&mut self, began: Duration, host: HostHash, outcome: &Outcome) {
        let ended: Vec<_> = self.in_flight.extract_if(.., |task| task.host == host).collect();
        let results = ended.into_iter().map(|task| {
            let polled = result(task, began, self.at, Ok(outcome.clone()));
            let is_of = |class| matches!(outcome, Err(failure) if failure.class == class);
            let connected = !is_of(FailureClass::Connect);
            let replied = connected && !is_of(HANGS);
            let trace = PollTrace { address: Some(address(host)), connected, replied, ..polled.trace };
            PollResult { trace, ..polled }
        });
        let results = results.collect();
        self.apply(Event::PollsEnded(results));
    }

    /// Time passes until nothing changes any longer.
    fn settle(&mut self) {
        (0..10).for_each(|_| self.wait(ms(50)));
    }
}

fn skipped(record: &RunRecord) -> Vec<(IpAddr, SkipReason, u64)> {
    record.skipped_hosts.iter().map(|host| (host.address, host.reason, host.sites)).collect()
}

#[test]
fn the_sites_of_a_host_that_is_down_are_skipped_once_no_others_are_left() {
    let mut run = run_of(&[(1, 20), (2, 10)]);
    run.poll_host(2, 1, &Ok(()));
    run.poll_host(1, 4, &failure(HANGS));
    assert_eq!(run.log, ["11.0.0.1 Down"]);
    run.settle();
    assert_eq!((run.queue.len(), run.held.len()), (9, 16));
    run.poll_host(2, 9, &Ok(()));
    run.end_session(ms(4));
    run.settle();
    let (record, error) = run.end();
    assert_eq!((record.polled, record.ok, record.failed, record.dropped), (14, 10, 4, 0));
    assert_eq!((record.skipped, skipped(&record)), (16, vec![(address(1), SkipReason::Down, 16)]));
    assert_eq!((record.skipped_hosts[0].names.as_slice(), error.is_none()), (&[1][..], true));
}

#[test]
fn a_host_that_answers_a_probe_gets_its_sites_polled() {
    let mut run = run_of(&[(1, 20), (2, 10)]);
    run.poll_host(2, 1, &Ok(()));
    run.poll_host(1, 4, &failure(HANGS));
    run.wait(PROBE_INTERVAL);
    assert_eq!(run.in_flight.len(), 1, "a probe");
    let began = run.at;
    run.wait(PROBE_INTERVAL);
    run.end_flights(began, 1, &failure(HANGS));
    assert_eq!(run.in_flight.len(), 1, "the next one, once the first has ended");
    run.end_flights(run.at, 1, &Ok(()));
    assert_eq!(run.log, ["11.0.0.1 Down", "11.0.0.1 replies"]);
    run.poll_host(1, 14, &Ok(()));
    run.end_session(ms(4));
    run.poll_host(2, 9, &Ok(()));
    run.settle();
    let (record, _) = run.end();
    assert_eq!((record.ok, record.failed, record.skipped), (25, 5, 0));
}

#[test]
fn a_probe_in_flight_is_waited_for() {
    for (outcome, expected) in [(Ok(()), 0), (failure(HANGS), 15)] {
        let mut run = run_of(&[(1, 20), (2, 2)]);
        run.poll_host(2, 1, &Ok(()));
        run.poll_host(1, 4, &failure(HANGS));
        run.wait(PROBE_INTERVAL);
        run.end_session(ms(4));
        let began = run.at;
        run.poll_host(2, 1, &Ok(()));
        run.wait(secs(5));
        run.end_session(ms(4));
        assert!(run.finish.is_none());
        run.end_flights(began, 1, &outcome);
        run.poll_host(1, run.queue.len(), &Ok(()));
        run.settle();
        assert_eq!(run.end().0.skipped, expected);
    }
}

#[test]
fn an_outage_in_which_every_host_is_held_is_found_and_counts_nothing() {
    let mut run = run_of(&[(1, 50), (300, 50), (600, 50), (900, 50)]);
    for host in [1, 300, 600, 900] {
        run.poll_host(host, 4, &failure(FailureClass::Connect));
    }
    assert_eq!((run.queue.len(), run.held.len()), (0, 184));
    run.settle();
    assert_eq!(run.log[4..], ["stopping, 0 in flight", "network, 16 not counted"]);
    let (record, _) = run.end();
    assert_eq!((record.outage, record.failed, record.dropped), (true, 0, 16));
    assert_eq!((record.skipped, record.skipped_hosts.len()), (0, 0));
}

#[test]
fn tasks_of_held_hosts_do_not_keep_others_from_being_loaded() {
    let mut run = run_of(&[(1, 1024), (2, 10)]);
    run.apply(Event::Tick);
    assert_eq!(run.end_session(ms(4)), (10, 0));
    let mut run = run_of(&[(1, 5000), (2, 5)]);
    run.poll_host(1, 4, &failure(HANGS));
    run.wait(secs(1));
    run.end_session(ms(4));
    run.settle();
    assert!(run.session.is_some() || run.finish.is_none(), "the others are being loaded");
}

#[test]
fn a_run_that_is_stopped_skips_held_sites_and_cancels_the_others() {
    let mut run = run_of(&[(1, 20), (2, 10)]);
    run.poll_host(2, 1, &Ok(()));
    run.poll_host(1, 4, &failure(HANGS));
    run.apply(Event::Signal(143));
    run.end_session(ms(4));
    assert_eq!(run.log, ["11.0.0.1 Down", "stopping, 0 in flight"]);
    let (record, _) = run.end();
    assert_eq!((record.polled, record.skipped), (5, 16));
}

#[test]
fn the_last_host_is_down_if_its_first_polls_hang_when_it_is_left() {
    let unloaded = 500;
    let mut run = run_of(&[(2, 1), (1, INITIAL_LOAD as u64 + unloaded - 1)]);
    run.take(5);
    run.last_host = Some(LastHost { host: 1, due: Some(7200), slowest: secs(1), is_only: false });
    run.at = secs(1);
    run.end_flights(ms(0), 2, &Ok(()));
    assert_eq!((run.permits, run.log.len()), (Some(0), 0));
    assert_eq!(run.end_session(ms(4)), (0, 1), "nothing is loaded that would be left");
    run.at = secs(2);
    run.end_flights(ms(0), 1, &failure(HANGS));
    assert_eq!(run.log, ["11.0.0.1 Down"]);
    run.settle();
    let (record, _) = run.end();
    let expected = INITIAL_LOAD as u64 + unloaded - 5;
    assert_eq!((record.skipped, skipped(&record)), (expected, vec![(address(1), SkipReason::Down, expected)]));
}

#[test]
fn a_host_that_replies_again_keeps_the_last_host_from_being_left() {
    let mut run = run_of(&[(3, 1), (1, 20), (2, 10)]);
    run.poll_host(3, 1, &Ok(()));
    run.poll_host(1, 4, &failure(HANGS));
    run.wait(PROBE_INTERVAL);
    run.end_session(ms(4));
    run.last_host = Some(LastHost { host: 2, due: Some(7200), slowest: secs(1), is_only: false });
    let began = run.at;
    run.wait(ms(50));
    assert_eq!(run.permits, Some(0));
    run.last_host = None;
    run.end_flights(began, 1, &Ok(()));
    run.wait(ms(50));
    assert_eq!((run.permits, run.queue.len()), (None, 25));
}

#[test]
fn failures_that_overlap_a_pause_hold_no_host() {
    let mut run = run_of(&[(1, 20)]);
    run.take(10);
    run.apply(Event::Paused(Pause { from: ms(500), to: ms(5_500), length: secs(5) }));
    run.at = secs(6);
    run.end_flights(ms(0), 1, &failure(HANGS));
    assert!(run.log.is_empty());
    run.poll_host(1, 4, &failure(HANGS));
    assert_eq!(run.log, ["11.0.0.1 Down"]);
}

#[test]
fn a_host_of_which_two_sites_asked_to_wait_is_held_and_not_probed() {
    let mut run = run_of(&[(1, 20), (2, 2)]);
    run.poll_host(2, 1, &Ok(()));
    let asked = Err(Failure { retry_after: Some(60), ..Failure::new(FailureClass::Http, "status 429") });
    run.poll_host(1, 2, &asked);
    assert_eq!(run.log, ["11.0.0.1 AskedToWait"]);
    run.wait(2 * PROBE_INTERVAL);
    run.end_session(ms(4));
    assert!(run.in_flight.is_empty());
    run.poll_host(2, 1, &Ok(()));
    run.settle();
    let (record, _) = run.end();
    assert_eq!((record.deferred, skipped(&record)), (2, vec![(address(1), SkipReason::AskedToWait, 18)]));
}

#[test]
fn a_poll_by_hand_holds_no_host() {
    let mut run = run_with(&[(1, 5)], |rules| rules.by_hand = true);
    run.poll_host(1, 4, &failure(HANGS));
    assert_eq!(run.queue.len(), 1);
}

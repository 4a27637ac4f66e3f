//! Tests of simulated runs.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use super::*;
use crate::model::{Failure, FailureClass, Fault};
use crate::run::testdata::task;
use crate::store::{HostHash, SkipReason};

fn simulation(threads: usize) -> Simulation {
    Simulation { policy: "1 hour (x3)".parse().unwrap(), now: 7200, threads, per_host: 4, outage_since: None }
}

/// The address of a host on a network of its own.
fn address(host: HostHash) -> IpAddr {
    Ipv4Addr::from_bits((11 << 24) + (u32::try_from(host).unwrap() << 8)).into()
}

fn on_own_host(task: &PollTask) -> Vec<IpAddr> {
    vec![address(task.host)]
}

fn reply(outcome: Outcome, ms: u64) -> Reply {
    Reply { outcome, trace: PollTrace::default(), duration: Duration::from_millis(ms) }
}

#[test]
fn every_due_site_is_polled_once_and_recorded() {
    let due = (0..3000).map(|seq| task(seq, seq / 10)).collect();
    let ran = simulation(32).run(due, on_own_host, |task, _| match task.locator.seq % 10 {
        0 => reply(Err(Failure::new(FailureClass::Http, "status 500")), 30),
        _ => reply(Ok(()), 100),
    });
    assert_eq!((ran.record.polled, ran.record.ok, ran.record.failed), (3000, 2700, 300));
    assert!(ran.record.outage_cause.is_none() && ran.outage_since.is_none());
    let mut recorded: Vec<u64> = ran.updates.iter().map(|update| update.locator.seq).collect();
    recorded.sort_unstable();
    assert_eq!(recorded, (0..3000).collect::<Vec<_>>());
}

#[test]
fn polls_take_turns_on_the_workers_and_hosts() {
    // One worker polls one after the other, and a host with four polls in flight gets no fifth.
    for (threads, hosts, expected_s) in [(1, 8, 8), (8, 8, 1), (8, 1, 2)] {
        let due = (0..8).map(|seq| task(seq, seq % hosts)).collect();
        let ran = simulation(threads).run(due, on_own_host, |_, _| reply(Ok(()), 1000));
        assert_eq!(ran.record.elapsed_ms / 1000, expected_s, "{threads} threads, {hosts} hosts");
    }
}

#[test]
fn a_run_without_a_network_records_nothing() {
    let mut due: Vec<PollTask> = (0..60).map(|seq| task(seq, seq)).collect();
    for task in &mut due {
        simulation(1).policy.apply(&mut task.status, 3600, &Ok(()));
    }
    let ran =
        simulation(8).run(due, on_own_host, |_, _| reply(Err(Failure::new(FailureClass::Connect, "refused")), 10));
    assert_eq!((ran.record.outage_cause, ran.outage_since), (Some(Fault::Network), Some(7200)));
    assert!(ran.updates.is_empty() && ran.record.polled < 60, "{:?}", ran.record);
}

/// A poll that is well, on an address.
fn well(address: IpAddr, ms: u64) -> Reply {
    let address = Some(address);
    let trace = PollTrace { address, connected: true, answered: true, replied: true, clock_offset_s: None };
    Reply { trace, ..reply(Ok(()), ms) }
}

/// A poll on an address that accepts connections and sends nothing.
fn hanging(address: IpAddr, ms: u64) -> Reply {
    let trace = PollTrace { address: Some(address), connected: true, ..PollTrace::default() };
    Reply { trace, ..reply(Err(Failure::new(FailureClass::Timeout, "timed out while waiting for the reply")), ms) }
}

/// What is due so many seconds later, with the statuses that a run recorded.
fn due_later(simulation: &mut Simulation, seconds: i64, sites: &mut [PollTask], ran: &Ran) -> Vec<PollTask> {
    simulation.now += seconds;
    for update in &ran.updates {
        let site = sites.iter_mut().find(|site| site.locator == update.locator).unwrap();
        site.status = update.next.clone();
        site.due = simulation.policy.next_due_of_status(&site.status).unwrap();
    }
    sites.iter().filter(|site| site.due <= simulation.now).cloned().collect()
}

/// The sites that a run polled and that failed.
fn failed(ran: &Ran) -> HashSet<u64> {
    let failed = ran.updates.iter().filter(|update| update.next.count > 0);
    failed.map(|update| update.locator.seq).collect()
}

#[test]
fn a_host_that_hangs_costs_other_sites_nothing_and_few_of_its_own_a_failure() {
    // Its sites have names of their own, or one.
    for has_names in [true, false] {
        let mut simulation = simulation(64);
        let host = |seq| if seq < 100 && !has_names { 0 } else { seq };
        let mut sites: Vec<_> = (0..300).map(|seq| task(seq, host(seq))).collect();
        let hangs = |task: &PollTask| task.locator.seq < 100;
        let addresses = |task: &PollTask| if hangs(task) { vec![address(0)] } else { on_own_host(task) };
        let reply =
            |task: &PollTask, _| if hangs(task) { hanging(address(0), 2000) } else { well(address(task.host), 50) };
        let ran = simulation.run(sites.clone(), addresses, reply);
        let tried = failed(&ran);
        assert!(ran.record.elapsed_ms <= 8000 && (4..=12).contains(&tried.len()), "{:?}", ran.record);
        assert_eq!((ran.record.ok, ran.record.skipped), (200, 100 - tried.len() as u64));
        let [skipped] = &ran.record.skipped_hosts[..] else { panic!("{:?}", ran.record) };
        assert_eq!(
            (skipped.address, skipped.reason, skipped.sites),
            (address(0), SkipReason::Down, ran.record.skipped)
        );
        assert_eq!(skipped.names.len(), if has_names { 100 - tried.len() } else { 1 });

        let due = due_later(&mut simulation, 300, &mut sites, &ran);
        assert_eq!(due.len(), 100 - tried.len(), "nothing else is due");
        let next = simulation.run(due, addresses, reply);
        let tried_next = failed(&next);
        assert!(next.record.elapsed_ms <= 8000 && (4..=12).contains(&tried_next.len()), "{:?}", next.record);
        assert!(tried.is_disjoint(&tried_next));
    }
}

#[test]
fn five_hundred_silent_sites_of_one_address_take_seconds() {
    let due = (0..500).map(|seq| task(seq, seq)).collect();
    let ran = simulation(32).run(due, |_| vec![address(0)], |_, _| hanging(address(0), 5000));
    assert!(ran.record.elapsed_ms <= 25_000 && ran.record.failed <= 24, "{:?}", ran.record);
    assert_eq!(ran.record.failed + ran.record.skipped, 500);
}

#[test]
fn a_host_of_which_every_fourth_site_hangs_is_polled_whole_in_every_run() {
    for first in 0..4 {
        let mut simulation = Simulation { policy: "1 hour (x9)".parse().unwrap(), ..simulation(64) };
        let mut sites: Vec<_> = (0..40).map(|seq| task(seq, seq)).collect();
        let mut due = sites.clone();
        for _ in 0..4 {
            let ran = simulation.run(
                due,
                |_| vec![address(0)],
                |task, _| match (task.locator.seq + first) % 4 {
                    0 => hanging(address(0), 1000),
                    _ => well(address(0), 50),
                },
            );
            assert_eq!((ran.record.ok, ran.record.failed, ran.record.skipped), (30, 10, 0), "{:?}", ran.record);
            due = due_later(&mut simulation, 3600, &mut sites, &ran);
            assert_eq!(due.len(), 40, "those that failed are due with the others");
        }
    }
}

#[test]
fn many_hosts_that_are_down_do_not_keep_others_from_being_polled() {
    let is_down = |task: &PollTask| task.host < 20;
    let due = (0..3000).map(|seq| task(seq, if seq < 1000 { seq % 20 } else { seq })).collect();
    let ran = simulation(64).run(due, on_own_host, |task, _| {
        if is_down(task) { hanging(address(task.host), 5000) } else { well(address(task.host), 50) }
    });
    assert_eq!((ran.record.ok, ran.record.failed + ran.record.skipped), (2000, 1000));
    assert!(ran.record.failed <= 20 * 12 && ran.record.elapsed_ms <= 20_000, "{:?}", ran.record);
    assert_eq!(ran.record.skipped_hosts.len(), 20);
}

#[test]
fn a_host_that_recovers_gets_its_sites_polled() {
    let due = (0..350).map(|seq| task(seq, if seq < 30 { 0 } else { 1 + seq % 8 })).collect();
    let ran = simulation(16).run(due, on_own_host, |task, began| match task.host {
        0 if began < Duration::from_secs(45) => {
            let failure = Failure::new(FailureClass::Connect, "connection refused");
            let trace = PollTrace { address: Some(address(0)), ..PollTrace::default() };
            Reply { trace, ..reply(Err(failure), 1) }
        }
        0 => well(address(0), 50),
        _ => well(address(task.host), 5000),
    });
    assert!(ran.record.elapsed_ms > 90_000, "{:?}", ran.record);
    let failed = ran.record.failed;
    assert!((5..=12).contains(&failed), "the first polls and a probe: {failed}");
    assert_eq!((ran.record.ok, ran.record.skipped), (350 - failed, 0));
}

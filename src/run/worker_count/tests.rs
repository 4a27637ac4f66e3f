//! Runs in virtual time, on a machine with few processors.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::*;

/// The time of a step, in microseconds.
const STEP_US: u64 = 100;
/// More workers do not fit into memory.
const MOST: usize = 1024;

/// Sites, each on a host of its own, and the machine that polls them.
#[derive(Debug, Clone, Copy)]
struct World {
    sites: usize,
    latency_us: u64,
    /// The processor time of a poll, half of it before the site replies.
    poll_us: u64,
    processors: u32,
    /// How many of them are used by other processes.
    others: u32,
}

/// A worker has something to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Call,
    Read,
}

impl World {
    /// Polls all sites with `first` workers, and those that `rule` adds.
    ///
    /// Returns the time in microseconds and the number of workers.
    fn run(self, first: usize, mut rule: Option<WorkerCount>) -> (u64, usize) {
        let (mut workers, mut unpolled, mut polled) = (first, self.sites, 0);
        let (mut at_us, mut process_us, mut idle_us) = (0, 0, 0);
        let mut waiting: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
        // Each with the processor time that it still needs.
        let mut runnable: VecDeque<(Work, u64)> = VecDeque::new();
        let mut idle_workers = workers;
        while polled < self.sites {
            while idle_workers > 0 && unpolled > 0 {
                (idle_workers, unpolled) = (idle_workers - 1, unpolled - 1);
                runnable.push_back((Work::Call, self.poll_us / 2));
            }
            while waiting.peek().is_some_and(|end| end.0 <= at_us) {
                waiting.pop();
                runnable.push_back((Work::Read, self.poll_us / 2));
            }
            let mut left_us = STEP_US * u64::from(self.processors - self.others);
            while left_us > 0
                && let Some((work, needed_us)) = runnable.pop_front()
            {
                let used_us = needed_us.min(left_us);
                (left_us, process_us) = (left_us - used_us, process_us + used_us);
                match work {
                    _ if used_us < needed_us => runnable.push_front((work, needed_us - used_us)),
                    Work::Call => waiting.push(Reverse(at_us + self.latency_us)),
                    Work::Read => (polled, idle_workers) = (polled + 1, idle_workers + 1),
                }
            }
            idle_us += left_us;
            at_us += STEP_US;
            if let Some(rule) = rule.as_mut().filter(|_| at_us.is_multiple_of(20_000)) {
                let demand = Demand { workers, polling: workers - idle_workers, ready: unpolled };
                let cpu = || used(at_us, process_us, idle_us);
                let more = rule.more(Duration::from_micros(at_us), demand, cpu, || MOST - workers);
                (workers, idle_workers) = (workers + more, idle_workers + more);
            }
        }
        (at_us, workers)
    }

    fn auto(self) -> (u64, usize) {
        self.run(FIRST_WORKERS, Some(WorkerCount::new(self.processors, used(0, 0, 0))))
    }
}

fn used(at_us: u64, process_us: u64, idle_us: u64) -> CpuTime {
    let us = Duration::from_micros;
    CpuTime { at: us(at_us), process: us(process_us), idle: Some(us(idle_us)) }
}

#[test]
fn an_automatic_number_is_as_fast_as_the_best_fixed_one() {
    for processors in [1, 4] {
        for poll_us in [200, 1000] {
            for latency_ms in [0, 20, 100, 500] {
                // About five seconds, of the processors or of 1,024 workers.
                let rate = (u64::from(processors) * 1_000_000 / poll_us).min(1_024_000 / latency_ms.max(1));
                let sites = usize::try_from(5 * rate).unwrap();
                let world = World { sites, latency_us: latency_ms * 1000, poll_us, processors, others: 0 };
                let best = [8, 32, 128, 512, MOST].into_iter().map(|workers| world.run(workers, None).0).min().unwrap();
                let (auto, workers) = world.auto();
                assert!(best * 100 >= auto * 95, "{best} µs, {auto} µs with {workers} workers: {world:?}");
            }
        }
    }
}

#[test]
fn workers_that_would_only_compute_are_not_added() {
    let world = World { sites: 20_000, latency_us: 0, poll_us: 200, processors: 2, others: 0 };
    assert_eq!(world.auto().1, FIRST_WORKERS);
    // Up to 400 would compute.
    let (_, workers) = World { latency_us: 20_000, ..world }.auto();
    assert!((200..=800).contains(&workers), "{workers}");
}

#[test]
fn a_busy_machine_gets_more_workers_only_while_they_wait() {
    let world = World { sites: 2000, latency_us: 100_000, poll_us: 200, processors: 4, others: 0 };
    assert_eq!(world.auto().1, MOST);
    let busy = World { others: 2, ..world };
    assert_eq!(World { latency_us: 500_000, ..busy }.auto().1, MOST);
    assert_eq!(World { latency_us: 0, ..busy }.auto().1, FIRST_WORKERS);
}

#[test]
fn workers_are_added_only_for_sites_that_can_be_polled_now() {
    let at = Duration::from_millis(20);
    let more = |demand, room| {
        let mut rule = WorkerCount::new(2, used(0, 0, 0));
        rule.more(at, demand, || used(20_000, 4_000, 36_000), || room)
    };
    let all_poll = Demand { workers: 32, polling: 32, ready: 500 };
    assert_eq!(more(all_poll, 1000), 224);
    assert_eq!(more(Demand { polling: 28, ..all_poll }, 1000), 224);
    assert_eq!(more(Demand { polling: 27, ..all_poll }, 1000), 0, "the others are about to take a site");
    assert_eq!(more(Demand { ready: 7, ..all_poll }, 1000), 7);
    assert_eq!(more(Demand { ready: 1, ..all_poll }, 1000), 4, "the host may have more room");
    assert_eq!(more(Demand { ready: 0, ..all_poll }, 1000), 0, "their hosts have no room");
    assert_eq!((more(all_poll, 5), more(all_poll, 0)), (5, 0));
}

#[test]
fn a_moment_without_work_is_not_the_average() {
    let demand = Demand { workers: 32, polling: 32, ready: 500 };
    let mut rule = WorkerCount::new(1, used(0, 0, 0));
    let mut more = |at_ms: u64, process_ms: u64| {
        let cpu = || used(at_ms * 1000, process_ms * 1000, (at_ms - process_ms) * 1000);
        rule.more(Duration::from_millis(at_ms), demand, cpu, || 1000)
    };
    assert_eq!((more(20, 20), more(500, 450)), (0, 0));
    assert_eq!((more(520, 450), more(900, 450)), (0, 0), "the next average is not complete");
    assert_eq!(more(1000, 700), 32);
    // After a time without demand a new average begins.
    assert_eq!((more(9000, 700), more(9020, 702)), (0, 224));
}

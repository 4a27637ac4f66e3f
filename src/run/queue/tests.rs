//! Tests of the queue.

use super::*;
use crate::model::{Attempt, Failure, FailureClass, PollStatus};
use crate::run::testdata::task;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A slow site; a higher number is slower.
fn slow_task(no: u64) -> PollTask {
    let duration_ms = 1000 + u32::try_from(no).unwrap();
    let attempts = [duration_ms, 5].map(|duration_ms| Attempt { at: 1, class: None, duration_ms });
    let status = PollStatus { attempts: attempts.to_vec(), ..PollStatus::default() };
    PollTask { status, ..task(no, no) }
}

fn numbers(taken: &[Taken]) -> Vec<u64> {
    taken.iter().map(|taken| taken.task.locator.seq).collect()
}

/// A queue in which no name has an address.
fn queue(workers: usize, now: UnixTime, per_host: usize) -> Queue {
    let limits = HostLimits::new(per_host, &BTreeMap::new(), &[]);
    Queue::new(workers, now, limits, Duration::MAX, Box::new(|_, on_answer| on_answer(Vec::new())))
}

#[test]
fn permits_limit_what_is_taken() {
    let queue = queue(9, 0, 9);
    queue.extend((0..5).map(|no| task(no, 0)));
    queue.set_permits(Some(2));
    let taken = [queue.take().unwrap(), queue.take().unwrap()];
    assert!(queue.view().is_out_of_permits);
    std::thread::scope(|scope| {
        let third = scope.spawn(|| queue.take().map(|taken| taken.task.locator.seq));
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(queue.view().waiting, 3);
        queue.set_permits(None);
        assert_eq!(third.join().unwrap(), Some(2));
    });
    assert_eq!(numbers(&taken), [0, 1]);
}

#[test]
fn a_pause_makes_no_poll_in_flight_slow() {
    let queue = queue(9, 0, 9);
    queue.extend([task(0, 0)]);
    let taken = queue.take().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    queue.restart_timers();
    assert!(queue.slowest(1)[0].1 < Duration::from_millis(300));
    queue.done(&taken.task, None);
}

#[test]
fn a_host_has_no_more_polls_in_flight_than_its_limit() {
    let queue = queue(9, 0, 2);
    queue.extend((0..5).map(|no| task(no, 0)).chain([task(9, 1)]));
    let taken = [(); 3].map(|()| queue.take().unwrap());
    assert_eq!(numbers(&taken), [0, 9, 1]);
    assert!(!queue.0.lock().state.has_ready());
    queue.done(&taken[0].task, None);
    assert_eq!(queue.take().unwrap().task.locator.seq, 2);
}

#[test]
fn slow_sites_come_first_with_half_of_the_workers() {
    let queue = queue(4, 0, 9);
    queue.extend([task(0, 0), slow_task(1), slow_task(2), task(3, 3), slow_task(4), slow_task(5)]);
    let taken = [(); 4].map(|()| queue.take().unwrap());
    assert_eq!(numbers(&taken), [5, 4, 0, 3]);
    // While no other site waits, they get all workers.
    let more = [(); 2].map(|()| queue.take().unwrap());
    assert_eq!(numbers(&more), [2, 1]);
    queue.extend([slow_task(6), task(7, 7)]);
    assert_eq!(queue.take().unwrap().task.locator.seq, 7);
    taken[..2].iter().chain(&more).for_each(|taken| queue.done(&taken.task, None));
    queue.extend([task(8, 8)]);
    assert_eq!(queue.take().unwrap().task.locator.seq, 6);
}

#[test]
fn sites_that_have_been_unwell_for_a_day_count_as_slow() {
    let mut status = PollStatus::default();
    status.remember(1, &Err(Failure::new(FailureClass::Timeout, "connecting")));
    let queue = queue(2, 1 + 86_400, 9);
    queue.extend((0..3).map(|no| PollTask { status: status.clone(), ..task(no, no) }).chain([task(3, 3)]));
    let taken = [(); 2].map(|()| queue.take().unwrap());
    assert_eq!(taken.map(|taken| taken.task.locator.seq == 3), [false, true], "one of two workers is for others");
}

#[test]
fn the_last_host_is_known_with_its_slowest_poll() {
    let queue = queue(9, 0, 1);
    assert_eq!(queue.view().last_host, None);
    queue.extend([PollTask { due: 5, ..task(0, 7) }, PollTask { due: 6, ..task(1, 7) }, task(2, 8)]);
    assert_eq!(queue.view().last_host, None);
    let [seven, eight] = [(); 2].map(|()| queue.take().unwrap());
    queue.done(&eight.task, None);
    let last = |queue: &Queue| queue.view().last_host.unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!((last(&queue).host, last(&queue).due), (7, Some(6)));
    assert!(last(&queue).slowest >= Duration::from_millis(20), "a poll in flight counts");
    queue.done(&seven.task, None);
    assert!(last(&queue).slowest >= Duration::from_millis(20), "and so does one that has ended");
    queue.done(&queue.take().unwrap().task, None);
    assert_eq!(queue.view().last_host, None);
}

#[test]
fn slow_sites_come_by_lateness_and_one_worker_takes_all_in_order() {
    let tasks = || [task(0, 0), slow_task(1), PollTask { permille_late: 60, ..slow_task(2) }, slow_task(3)];
    let order = |workers| {
        let queue = queue(workers, 0, 9);
        queue.extend(tasks());
        numbers(&[(); 4].map(|()| queue.take().unwrap()))
    };
    assert_eq!(order(8), [2, 3, 1, 0]);
    assert_eq!(order(1), [0, 1, 2, 3]);
}

#[test]
fn limited_permits_go_to_quick_sites_first() {
    let queue = queue(4, 0, 9);
    queue.extend([slow_task(1), task(2, 2)]);
    queue.set_permits(Some(2));
    assert_eq!(numbers(&[queue.take().unwrap(), queue.take().unwrap()]), [2, 1]);
}

#[test]
fn limited_permits_go_to_sites_anywhere_in_the_order() {
    for make in [slow_task, |no| task(no, no)] {
        let queue = queue(4, 0, 9);
        queue.extend((0..1000).map(make));
        queue.set_permits(Some(10));
        let taken = numbers(&[(); 10].map(|()| queue.take().unwrap()));
        for third in [0..333, 333..667, 667..1000] {
            assert!(taken.iter().any(|no| third.contains(no)), "{taken:?}");
        }
    }
}

#[test]
fn cancelled_tasks_are_not_taken() {
    let queue = queue(9, 0, 1);
    queue.extend((0..5).map(|no| task(no, 0)));
    let taken = queue.take().unwrap();
    assert_eq!(queue.cancel_pending(), 4);
    assert!(queue.take().is_none());
    queue.done(&taken.task, None);
    assert!(queue.take().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_task_is_taken_once_within_the_limits(
        hosts in proptest::collection::vec((0..4u64, any::<bool>()), 0..60), limit in 1..4usize, workers in 1..6usize
    ) {
        let queue = queue(workers, 0, limit);
        let polling = Mutex::new([0usize; 4]);
        let taken = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(Taken { task, .. }) = queue.take() {
                        let host = usize::try_from(task.host).unwrap();
                        polling.lock().unwrap()[host] += 1;
                        assert!(polling.lock().unwrap()[host] <= limit);
                        std::thread::yield_now();
                        polling.lock().unwrap()[host] -= 1;
                        queue.done(&task, None);
                        taken.lock().unwrap().push(task.locator.seq);
                    }
                });
            }
            for (no, (host, slow)) in (0u64..).zip(&hosts) {
                let status = if *slow { slow_task(no).status } else { PollStatus::default() };
                queue.extend([PollTask { status, ..task(no, *host) }]);
            }
            queue.close();
        });
        let mut taken = taken.into_inner().unwrap();
        taken.sort_unstable();
        prop_assert_eq!(taken, (0..hosts.len() as u64).collect::<Vec<_>>());
        prop_assert_eq!(queue.0.lock().state.slow, 0);
    }
}

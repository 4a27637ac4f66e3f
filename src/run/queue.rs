//! The queue that all workers draw from.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::UnixTime;
use crate::store::PollTask;

/// How many connections are loaded before the first poll starts.
pub(super) const INITIAL_LOAD: usize = 1024;
/// How many loaded connections can wait at most, about 4 MiB.
pub(super) const QUEUE_CAPACITY: usize = 8192;
/// A site is slow if its last poll took at least this many milliseconds.
const SLOW_MS: u32 = 1000;

/// Tasks by host, with a limit of polls in flight per host.
///
/// Hosts take turns. A site whose last poll was slow probably is slow again. Started last, it would hold up the end of the
/// run; so slow sites come first. Many of them would hold up all others; so they get at most half of the workers while
/// other sites wait. Among slow sites the most overdue come first, so that all get their turn where runs are cut short,
/// and then the slowest. With one worker, no site counts as slow.
pub struct Queue {
    state: Mutex<State>,
    /// Signalled when a worker may find a task, or when there will be none.
    changed: Condvar,
    host_limit: Box<dyn Fn(u32) -> usize + Send + Sync>,
}

#[derive(Default)]
struct State {
    /// How many slow polls may be in flight while other sites wait. With 0, no site counts as slow.
    max_slow: usize,
    hosts: HashMap<u32, Host>,
    /// Hosts with a waiting task and room for one more poll, each once. Here are those whose next task is slow, with the
    /// time since which it is due and its last duration in milliseconds.
    ready_slow: BinaryHeap<(Reverse<UnixTime>, u32, u32)>,
    /// Here are the other hosts.
    ready: VecDeque<u32>,
    waiting: usize,
    /// Slow polls in flight.
    slow: usize,
    /// No task will be added.
    closed: bool,
    /// How many more tasks may be taken; `None` is no limit.
    permits: Option<usize>,
    /// The tasks being polled and since when, by the sequence number of their connection.
    in_flight: HashMap<u64, (Arc<PollTask>, Instant)>,
}

#[derive(Default)]
struct Host {
    waiting: VecDeque<Arc<PollTask>>,
    polling: usize,
}

/// What a run's decisions need to know about the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct QueueView {
    /// How many tasks wait.
    pub(super) waiting: usize,
    /// Whether no task will be taken before permits are granted.
    pub(super) is_out_of_permits: bool,
}

impl State {
    fn is_slow(&self, task: &PollTask) -> bool {
        self.max_slow > 0 && task.status.last_duration_ms >= SLOW_MS
    }

    /// Adds a host, which has a waiting task and room for one more poll, to those whose turn comes.
    fn enqueue_host(&mut self, host: u32) {
        match self.hosts.get(&host).and_then(|host| host.waiting.front()) {
            Some(task) if self.is_slow(task) => {
                let turn = (Reverse(task.due), task.status.last_duration_ms, host);
                self.ready_slow.push(turn);
            }
            _ => self.ready.push_back(host),
        }
    }

    /// The host whose turn it is.
    fn next_host(&mut self) -> Option<u32> {
        if self.permits == Some(0) {
            return None;
        }
        // Limited permits are for polls that show whether this machine's network works, so the sites should be quick.
        let slow_allowed = self.slow < self.max_slow && self.permits.is_none() || self.ready.is_empty();
        if slow_allowed && let Some((_, _, host)) = self.ready_slow.pop() {
            return Some(host);
        }
        self.ready.pop_front()
    }
}

impl Queue {
    /// An empty queue for this many workers. `host_limit` returns how many polls may be in flight on a host.
    pub(super) fn new(workers: usize, host_limit: impl Fn(u32) -> usize + Send + Sync + 'static) -> Self {
        let state = State { max_slow: workers / 2, ..State::default() };
        Self { state: state.into(), changed: Condvar::new(), host_limit: Box::new(host_limit) }
    }

    /// Corrects the number of workers.
    pub(super) fn set_workers(&self, workers: usize) {
        self.lock().max_slow = workers / 2;
    }

    /// Adds tasks behind those that wait.
    pub(super) fn extend(&self, tasks: impl IntoIterator<Item = PollTask>) {
        let mut state = self.lock();
        for task in tasks {
            let name = task.host;
            let host = state.hosts.entry(name).or_default();
            host.waiting.push_back(Arc::new(task));
            if host.waiting.len() == 1 && host.polling < self.host_limit(name) {
                state.enqueue_host(name);
            }
            state.waiting += 1;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// A snapshot of the queue.
    pub(super) fn view(&self) -> QueueView {
        let state = self.lock();
        QueueView { waiting: state.waiting, is_out_of_permits: state.permits == Some(0) }
    }

    /// Limits how many more tasks may be taken; `None` is no limit.
    pub(super) fn set_permits(&self, permits: Option<usize>) {
        self.lock().permits = permits;
        self.changed.notify_all();
    }

    /// The polls that have been in flight longest, and for how long.
    #[must_use]
    pub fn slowest(&self, count: usize) -> Vec<(Arc<PollTask>, Duration)> {
        let mut in_flight: Vec<_> = self.lock().in_flight.values().cloned().collect();
        in_flight.sort_by_key(|(_, since)| *since);
        in_flight.into_iter().take(count).map(|(task, since)| (task, since.elapsed())).collect()
    }

    /// No task will be added. Workers end when none waits.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Closes the queue and removes the tasks that wait; returns how many.
    pub(super) fn cancel_pending(&self) -> usize {
        let mut state = self.lock();
        state.closed = true;
        let cancelled = std::mem::take(&mut state.waiting);
        state.ready.clear();
        state.ready_slow.clear();
        state.hosts.values_mut().for_each(|host| host.waiting.clear());
        drop(state);
        self.changed.notify_all();
        cancelled
    }

    /// The next task, as soon as there is one whose host has room; `None` when there will be none.
    ///
    /// Every task that is taken must be given back with [`Queue::done`].
    pub(super) fn take(&self) -> Option<Arc<PollTask>> {
        let mut state = self.lock();
        loop {
            if let Some(name) = state.next_host() {
                state.permits = state.permits.map(|permits| permits - 1);
                let host = state.hosts.get_mut(&name)?;
                let task = host.waiting.pop_front()?;
                host.polling += 1;
                if !host.waiting.is_empty() && host.polling < self.host_limit(name) {
                    state.enqueue_host(name);
                }
                state.waiting -= 1;
                state.slow += usize::from(state.is_slow(&task));
                state.in_flight.insert(task.locator.seq, (Arc::clone(&task), Instant::now()));
                if state.closed && state.waiting == 0 {
                    self.changed.notify_all();
                }
                return Some(task);
            }
            if state.closed && state.waiting == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the poll of a task, which makes room on its host.
    pub(super) fn done(&self, task: &PollTask) {
        let mut state = self.lock();
        state.in_flight.remove(&task.locator.seq);
        state.slow -= usize::from(state.is_slow(task));
        let Some(host) = state.hosts.get_mut(&task.host) else { return };
        // A host that had room is among the ready ones already.
        let had_room = host.polling < self.host_limit(task.host);
        host.polling -= 1;
        if host.waiting.is_empty() {
            if host.polling == 0 {
                state.hosts.remove(&task.host);
            }
        } else if !had_room {
            state.enqueue_host(task.host);
            drop(state);
            self.changed.notify_one();
        }
    }

    fn host_limit(&self, host: u32) -> usize {
        (self.host_limit)(host).max(1)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("view", &self.view()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PollStatus;
    use crate::run::testdata::task;
    use proptest::prelude::*;

    /// A slow site; a higher number is slower.
    fn slow_task(no: u64) -> PollTask {
        let number = u32::try_from(no).unwrap();
        let status = PollStatus { last_duration_ms: SLOW_MS + number, ..PollStatus::default() };
        PollTask { status, ..task(no, number) }
    }

    fn numbers(tasks: &[Arc<PollTask>]) -> Vec<u64> {
        tasks.iter().map(|task| task.locator.seq).collect()
    }

    #[test]
    fn permits_limit_what_is_taken() {
        let queue = Queue::new(9, |_| 9);
        queue.extend((0..5).map(|no| task(no, 0)));
        queue.set_permits(Some(2));
        let taken = [queue.take().unwrap(), queue.take().unwrap()];
        assert!(queue.view().is_out_of_permits);
        std::thread::scope(|scope| {
            let third = scope.spawn(|| queue.take().map(|task| task.locator.seq));
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert_eq!(queue.view().waiting, 3);
            queue.set_permits(None);
            assert_eq!(third.join().unwrap(), Some(2));
        });
        assert_eq!(numbers(&taken), [0, 1]);
    }

    #[test]
    fn a_host_has_no_more_polls_in_flight_than_its_limit() {
        let queue = Queue::new(9, |_| 2);
        queue.extend((0..5).map(|no| task(no, 0)).chain([task(9, 1)]));
        let taken = [(); 3].map(|()| queue.take().unwrap());
        assert_eq!(numbers(&taken), [0, 9, 1]);
        assert!(queue.lock().ready.is_empty());
        queue.done(&taken[0]);
        assert_eq!(queue.take().unwrap().locator.seq, 2);
    }

    #[test]
    fn slow_sites_come_first_with_half_of_the_workers() {
        let queue = Queue::new(4, |_| 9);
        queue.extend([task(0, 0), slow_task(1), slow_task(2), task(3, 3), slow_task(4), slow_task(5)]);
        let taken = [(); 4].map(|()| queue.take().unwrap());
        assert_eq!(numbers(&taken), [5, 4, 0, 3]);
        // While no other site waits, they get all workers.
        let more = [(); 2].map(|()| queue.take().unwrap());
        assert_eq!(numbers(&more), [2, 1]);
        queue.extend([slow_task(6), task(7, 7)]);
        assert_eq!(queue.take().unwrap().locator.seq, 7);
        taken[..2].iter().chain(&more).for_each(|task| queue.done(task));
        queue.extend([task(8, 8)]);
        assert_eq!(queue.take().unwrap().locator.seq, 6);
    }

    #[test]
    fn slow_sites_come_by_lateness_and_one_worker_takes_all_in_order() {
        let tasks = || [task(0, 0), slow_task(1), PollTask { due: -60, ..slow_task(2) }, slow_task(3)];
        let order = |workers| {
            let queue = Queue::new(workers, |_| 9);
            queue.extend(tasks());
            numbers(&[(); 4].map(|()| queue.take().unwrap()))
        };
        assert_eq!(order(8), [2, 3, 1, 0]);
        assert_eq!(order(1), [0, 1, 2, 3]);
    }

    #[test]
    fn limited_permits_go_to_quick_sites_first() {
        let queue = Queue::new(4, |_| 9);
        queue.extend([slow_task(1), task(2, 2)]);
        queue.set_permits(Some(2));
        assert_eq!(numbers(&[queue.take().unwrap(), queue.take().unwrap()]), [2, 1]);
    }

    #[test]
    fn cancelled_tasks_are_not_taken() {
        let queue = Queue::new(9, |_| 1);
        queue.extend((0..5).map(|no| task(no, 0)));
        let taken = queue.take().unwrap();
        assert_eq!(queue.cancel_pending(), 4);
        assert!(queue.take().is_none());
        queue.done(&taken);
        assert!(queue.take().is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_task_is_taken_once_within_the_limits(
            hosts in proptest::collection::vec((0..4u32, any::<bool>()), 0..60), limit in 1..4usize, workers in 1..6usize
        ) {
            let queue = Queue::new(workers, move |_| limit);
            let polling = Mutex::new([0usize; 4]);
            let taken = Mutex::new(Vec::new());
            std::thread::scope(|scope| {
                for _ in 0..workers {
                    scope.spawn(|| {
                        while let Some(task) = queue.take() {
                            let host = task.host as usize;
                            polling.lock().unwrap()[host] += 1;
                            assert!(polling.lock().unwrap()[host] <= limit);
                            std::thread::yield_now();
                            polling.lock().unwrap()[host] -= 1;
                            queue.done(&task);
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
            prop_assert_eq!(queue.lock().slow, 0);
        }
    }
}

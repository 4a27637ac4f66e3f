//! The queue that all workers draw from: hosts in turn, only so many polls at a time on each, and those sites first that may
//! keep a worker longest.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::UnixTime;
use crate::store::{Candidate, Task};

/// Puts what is due in the order in which it is polled: round after round with up to `per_host` of each host, and most
/// overdue first within a round. So a hoster with thousands of sites doesn't hold up the others. A `seed` puts chance in
/// the place of what is overdue.
pub(crate) fn order(due: &mut [Candidate], per_host: usize, seed: Option<UnixTime>) {
    match seed {
        None => due.sort_unstable_by_key(|candidate| (candidate.due, candidate.place)),
        Some(seed) => due.sort_by_cached_key(|candidate| {
            let mut hasher = DefaultHasher::new();
            (seed, candidate.place.no).hash(&mut hasher);
            hasher.finish()
        }),
    }
    // Most hosts have few sites: no more is kept of a million of them than their hashes.
    let mut hosts: Vec<u32> = due.iter().map(|candidate| candidate.host).collect();
    hosts.sort_unstable();
    let crowds = hosts.chunk_by(|one, next| one == next).filter(|sites| sites.len() > per_host);
    let mut seen: HashMap<u32, usize> = crowds.map(|sites| (sites[0], 0)).collect();
    if seen.is_empty() {
        return;
    }
    due.sort_by_cached_key(|candidate| match seen.get_mut(&candidate.host) {
        None => 0,
        Some(seen) => {
            *seen += 1;
            (*seen - 1) / per_host.max(1)
        }
    });
}

/// A queue of tasks by host.
///
/// A site whose last poll took long will probably take as long again. Begun last, it would keep the whole run waiting for it
/// alone; begun first, many of them would keep all others waiting. So they come first, but have half of the workers at most
/// while there is anything else to do. Among them the most overdue come first, so that all get their turn where runs are cut
/// short, and then the slowest. A single worker takes all as they come.
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Somebody may find work now, or will never.
    changed: Condvar,
    limit: Box<dyn Fn(u32) -> usize + Send + Sync>,
}

#[derive(Default)]
struct State {
    /// How many polls of slow sites may be under way while others wait. With none, no site counts as slow.
    most_slow: usize,
    hosts: HashMap<u32, Host>,
    /// Hosts that have a task waiting and room for one more poll, each once: here those whose next task is of a slow site, with
    /// since when it is due and how slow it was, …
    ready_slow: BinaryHeap<(Reverse<UnixTime>, u32, u32)>,
    /// … and here the others.
    ready: VecDeque<u32>,
    waiting: usize,
    /// Polls of slow sites that are under way.
    slow: usize,
    closed: bool,
    /// How many more tasks may be taken, while that is limited.
    allowance: Option<usize>,
    /// What is being polled, by number, and since when.
    taken: HashMap<u64, (Arc<Task>, Instant)>,
}

#[derive(Default)]
struct Host {
    waiting: VecDeque<Arc<Task>>,
    polling: usize,
}

/// Whose last poll took so many milliseconds is slow.
const SLOW_MS: u32 = 1000;

impl State {
    fn is_slow(&self, task: &Task) -> bool {
        self.most_slow > 0 && task.status.took_ms >= SLOW_MS
    }

    /// A host has a task waiting and room for one more poll.
    fn line_up(&mut self, host: u32) {
        match self.hosts.get(&host).and_then(|host| host.waiting.front()) {
            Some(task) if self.is_slow(task) => {
                let turn = (Reverse(task.due), task.status.took_ms, host);
                self.ready_slow.push(turn);
            }
            _ => self.ready.push_back(host),
        }
    }

    /// The host whose turn it is.
    fn next(&mut self) -> Option<u32> {
        if self.allowance == Some(0) {
            return None;
        }
        // Who is asked whether our own network is up should be likely to answer.
        let slow_may = self.slow < self.most_slow && self.allowance.is_none() || self.ready.is_empty();
        if slow_may && let Some((_, _, host)) = self.ready_slow.pop() {
            return Some(host);
        }
        self.ready.pop_front()
    }
}

impl Queue {
    /// An empty queue for so many workers; `limit` tells how many polls at a time a host gets.
    pub(crate) fn new(workers: usize, limit: impl Fn(u32) -> usize + Send + Sync + 'static) -> Self {
        let state = State { most_slow: workers / 2, ..State::default() };
        Self { state: state.into(), changed: Condvar::new(), limit: Box::new(limit) }
    }

    /// Adds tasks behind those that wait.
    pub(crate) fn extend(&self, tasks: impl IntoIterator<Item = Task>) {
        let mut state = self.lock();
        for task in tasks {
            let name = task.host;
            let host = state.hosts.entry(name).or_default();
            host.waiting.push_back(Arc::new(task));
            if host.waiting.len() == 1 && host.polling < self.limit(name) {
                state.line_up(name);
            }
            state.waiting += 1;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// How many tasks wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Lets so many more tasks be taken, or with `None` all.
    pub(crate) fn allow(&self, allowance: Option<usize>) {
        self.lock().allowance = allowance;
        self.changed.notify_all();
    }

    /// Whether no task will be taken as things are, unless a poll ends.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.waiting == 0 || state.allowance == Some(0)
    }

    /// The polls that have taken longest so far, and for how long.
    pub(crate) fn slowest(&self, count: usize) -> Vec<(Arc<Task>, Duration)> {
        let mut taken: Vec<_> = self.lock().taken.values().cloned().collect();
        taken.sort_by_key(|(_, since)| *since);
        taken.into_iter().take(count).map(|(task, since)| (task, since.elapsed())).collect()
    }

    /// No more tasks will come. Workers go home when none waits.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// No more polls start: the tasks that wait are dropped, and counted.
    pub(crate) fn abandon(&self) -> usize {
        let mut state = self.lock();
        state.closed = true;
        let dropped = std::mem::take(&mut state.waiting);
        state.ready.clear();
        state.ready_slow.clear();
        state.hosts.values_mut().for_each(|host| host.waiting.clear());
        drop(state);
        self.changed.notify_all();
        dropped
    }

    /// The next task, as soon as there is one whose host has room; `None` when there will be none. Every task that is
    /// taken must be given back with [`Queue::done`].
    pub(crate) fn take(&self) -> Option<Arc<Task>> {
        let mut state = self.lock();
        loop {
            if let Some(name) = state.next() {
                state.allowance = state.allowance.map(|allowance| allowance - 1);
                let host = state.hosts.get_mut(&name)?;
                let task = host.waiting.pop_front()?;
                host.polling += 1;
                if !host.waiting.is_empty() && host.polling < self.limit(name) {
                    state.line_up(name);
                }
                state.waiting -= 1;
                state.slow += usize::from(state.is_slow(&task));
                state.taken.insert(task.place.no, (Arc::clone(&task), Instant::now()));
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

    /// The poll of a task is over: its host has room again.
    pub(crate) fn done(&self, task: &Task) {
        let mut state = self.lock();
        state.taken.remove(&task.place.no);
        state.slow -= usize::from(state.is_slow(task));
        let Some(host) = state.hosts.get_mut(&task.host) else { return };
        // With a poll less there is room for one more, unless the host had room all the time and stands in line.
        let had_room = host.polling < self.limit(task.host);
        host.polling -= 1;
        if host.waiting.is_empty() {
            if host.polling == 0 {
                state.hosts.remove(&task.host);
            }
        } else if !had_room {
            state.line_up(task.host);
            drop(state);
            self.changed.notify_one();
        }
    }

    fn limit(&self, host: u32) -> usize {
        (self.limit)(host).max(1)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BatchCode, Cxn, PollStatus, Secret};
    use crate::store::Place;
    use proptest::prelude::*;

    fn task(no: u64, host: u32) -> Task {
        Task {
            place: Place { batch_code: BatchCode::MIN, no },
            host,
            due: 0,
            cxn: Cxn {
                cxn_id: format!("cxn:{no}").parse().unwrap(),
                secret: Secret::from_bytes([0; 32]),
                app_id: "app:org.example.myapp".parse().unwrap(),
                app_url: "https://app.example.org/".into(),
                site_url: format!("https://host{host}.example.org/{no}"),
                perm: Arc::default(),
                via_port: None,
                batch_code: BatchCode::MIN,
                disabled: false,
            },
            status: PollStatus::default(),
        }
    }

    /// A site that is the slower the higher its number.
    fn slow_task(no: u64) -> Task {
        let number = u32::try_from(no).unwrap();
        let status = PollStatus { took_ms: SLOW_MS + number, ..PollStatus::default() };
        Task { status, ..task(no, number) }
    }

    fn numbers(tasks: &[Arc<Task>]) -> Vec<u64> {
        tasks.iter().map(|task| task.place.no).collect()
    }

    fn candidate(no: u64, host: u32, due: i64) -> Candidate {
        Candidate { place: Place { batch_code: BatchCode::MIN, no }, host, due }
    }

    #[test]
    fn most_overdue_first_and_hosts_in_turn() {
        let mut due = [(1, 7, 10), (2, 7, 11), (3, 7, 12), (4, 8, 30), (5, 9, 5)].map(|(n, h, d)| candidate(n, h, d));
        order(&mut due, 2, None);
        assert_eq!(due.map(|c| c.place.no), [5, 1, 2, 4, 3]);
    }

    #[test]
    fn chance_orders_otherwise_each_time_and_keeps_hosts_in_turn() {
        let due: Vec<_> = (0..100).map(|no| candidate(no, u32::from(no >= 50), 0)).collect();
        let by_chance = |seed| {
            let mut due = due.clone();
            order(&mut due, 1, Some(seed));
            assert!(due.chunks(2).all(|round| round[0].host != round[1].host));
            due.iter().map(|candidate| candidate.place.no).collect::<Vec<_>>()
        };
        assert_eq!(by_chance(1), by_chance(1));
        assert_ne!(by_chance(1), by_chance(2));
    }

    #[test]
    fn an_allowance_limits_what_is_taken() {
        let queue = Queue::new(9, |_| 9);
        queue.extend((0..5).map(|no| task(no, 0)));
        queue.allow(Some(2));
        let taken = [queue.take().unwrap(), queue.take().unwrap()];
        assert!(queue.is_idle());
        std::thread::scope(|scope| {
            let third = scope.spawn(|| queue.take().map(|task| task.place.no));
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert_eq!(queue.waiting(), 3);
            queue.allow(None);
            assert_eq!(third.join().unwrap(), Some(2));
        });
        assert_eq!(numbers(&taken), [0, 1]);
    }

    #[test]
    fn a_host_gets_no_more_polls_at_a_time_than_its_limit() {
        let queue = Queue::new(9, |_| 2);
        queue.extend((0..5).map(|no| task(no, 0)).chain([task(9, 1)]));
        let taken = [(); 3].map(|()| queue.take().unwrap());
        assert_eq!(numbers(&taken), [0, 9, 1]);
        assert!(queue.lock().ready.is_empty());
        queue.done(&taken[0]);
        assert_eq!(queue.take().unwrap().place.no, 2);
    }

    #[test]
    fn slow_sites_come_first_and_have_half_of_the_workers() {
        let queue = Queue::new(4, |_| 9);
        queue.extend([task(0, 0), slow_task(1), slow_task(2), task(3, 3), slow_task(4), slow_task(5)]);
        let taken = [(); 4].map(|()| queue.take().unwrap());
        assert_eq!(numbers(&taken), [5, 4, 0, 3]);
        // When nothing else waits they may have all.
        let more = [(); 2].map(|()| queue.take().unwrap());
        assert_eq!(numbers(&more), [2, 1]);
        queue.extend([slow_task(6), task(7, 7)]);
        assert_eq!(queue.take().unwrap().place.no, 7);
        taken[..2].iter().chain(&more).for_each(|task| queue.done(task));
        queue.extend([task(8, 8)]);
        assert_eq!(queue.take().unwrap().place.no, 6);
    }

    #[test]
    fn the_most_overdue_of_the_slow_come_first_and_a_single_worker_takes_all_as_they_come() {
        let tasks = || [task(0, 0), slow_task(1), Task { due: -60, ..slow_task(2) }, slow_task(3)];
        let order = |workers| {
            let queue = Queue::new(workers, |_| 9);
            queue.extend(tasks());
            numbers(&[(); 4].map(|()| queue.take().unwrap()))
        };
        assert_eq!(order(8), [2, 3, 1, 0]);
        assert_eq!(order(1), [0, 1, 2, 3]);
    }

    #[test]
    fn sites_that_prove_something_are_asked_first_whether_the_network_is_up() {
        let queue = Queue::new(4, |_| 9);
        queue.extend([slow_task(1), task(2, 2)]);
        queue.allow(Some(2));
        assert_eq!(numbers(&[queue.take().unwrap(), queue.take().unwrap()]), [2, 1]);
    }

    #[test]
    fn what_is_abandoned_is_not_taken() {
        let queue = Queue::new(9, |_| 1);
        queue.extend((0..5).map(|no| task(no, 0)));
        let taken = queue.take().unwrap();
        assert_eq!(queue.abandon(), 4);
        assert!(queue.take().is_none());
        queue.done(&taken);
        assert!(queue.take().is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_task_is_taken_once_and_limits_hold(
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
                            taken.lock().unwrap().push(task.place.no);
                        }
                    });
                }
                for (no, (host, slow)) in (0u64..).zip(&hosts) {
                    let status = if *slow { slow_task(no).status } else { PollStatus::default() };
                    queue.extend([Task { status, ..task(no, *host) }]);
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

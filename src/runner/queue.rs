//! The queue that all workers draw from: hosts in turn, and only so many polls at a time on each.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::UnixTime;
use crate::store::{Candidate, Task};

/// A task that a worker has taken, and the host whose room it takes up.
pub(crate) struct Turn {
    pub(crate) task: Task,
    pub(crate) host: Arc<str>,
}

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
    let mut seen: HashMap<u32, usize> = HashMap::new();
    due.sort_by_cached_key(|candidate| {
        let seen = seen.entry(candidate.host).or_default();
        *seen += 1;
        (*seen - 1) / per_host.max(1)
    });
}

/// A queue of tasks by host.
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Somebody may find work now, or will never.
    changed: Condvar,
    limit: Box<dyn Fn(&str) -> usize + Send + Sync>,
}

#[derive(Default)]
struct State {
    hosts: HashMap<Arc<str>, Host>,
    /// Hosts that have a task waiting and room for one more poll, each once.
    ready: VecDeque<Arc<str>>,
    waiting: usize,
    closed: bool,
    /// How many more tasks may be taken, while that is limited.
    allowance: Option<usize>,
    /// What is being polled, by number: where, and since when.
    taken: HashMap<u64, (Arc<str>, Instant)>,
}

#[derive(Default)]
struct Host {
    waiting: VecDeque<Task>,
    polling: usize,
}

impl Queue {
    /// An empty queue; `limit` tells how many polls at a time a host gets.
    pub(crate) fn new(limit: impl Fn(&str) -> usize + Send + Sync + 'static) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), limit: Box::new(limit) }
    }

    /// Adds tasks behind those that wait.
    pub(crate) fn extend(&self, tasks: impl IntoIterator<Item = Task>) {
        let mut state = self.lock();
        for task in tasks {
            let name: Arc<str> = task.cxn.host().into();
            let host = state.hosts.entry(Arc::clone(&name)).or_default();
            host.waiting.push_back(task);
            if host.waiting.len() == 1 && host.polling < self.limit(&name) {
                state.ready.push_back(name);
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

    /// The hosts whose polls have taken longest so far, and for how long.
    pub(crate) fn slowest(&self, count: usize) -> Vec<(Arc<str>, Duration)> {
        let mut taken: Vec<_> = self.lock().taken.values().cloned().collect();
        taken.sort_by_key(|(_, since)| *since);
        taken.into_iter().take(count).map(|(host, since)| (host, since.elapsed())).collect()
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
        state.hosts.values_mut().for_each(|host| host.waiting.clear());
        drop(state);
        self.changed.notify_all();
        dropped
    }

    /// The next task, as soon as there is one whose host has room; `None` when there will be none. Every task that is
    /// taken must be given back with [`Queue::done`].
    pub(crate) fn take(&self) -> Option<Turn> {
        let mut state = self.lock();
        loop {
            let next = if state.allowance == Some(0) { None } else { state.ready.pop_front() };
            if let Some(name) = next {
                state.allowance = state.allowance.map(|allowance| allowance - 1);
                let host = state.hosts.get_mut(&name)?;
                let task = host.waiting.pop_front()?;
                host.polling += 1;
                if !host.waiting.is_empty() && host.polling < self.limit(&name) {
                    state.ready.push_back(Arc::clone(&name));
                }
                state.waiting -= 1;
                state.taken.insert(task.place.no, (Arc::clone(&name), Instant::now()));
                if state.closed && state.waiting == 0 {
                    self.changed.notify_all();
                }
                return Some(Turn { task, host: name });
            }
            if state.closed && state.waiting == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The poll of a task is over: its host has room again.
    pub(crate) fn done(&self, turn: Turn) -> Task {
        let Turn { task, host: name } = turn;
        let mut state = self.lock();
        state.taken.remove(&task.place.no);
        let Some(host) = state.hosts.get_mut(&name) else { return task };
        // With a poll less there is room for one more, unless the host had room all the time and stands in line.
        let had_room = host.polling < self.limit(&name);
        host.polling -= 1;
        if host.waiting.is_empty() {
            if host.polling == 0 {
                state.hosts.remove(&name);
            }
        } else if !had_room {
            state.ready.push_back(name);
            drop(state);
            self.changed.notify_one();
        }
        task
    }

    fn limit(&self, host: &str) -> usize {
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

    fn task(no: u64, host: usize) -> Task {
        Task {
            place: Place { batch_code: BatchCode::MIN, no },
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
        let queue = Queue::new(|_| 9);
        queue.extend((0..5).map(|no| task(no, 0)));
        queue.allow(Some(2));
        let taken = [queue.take().unwrap(), queue.take().unwrap()];
        assert!(queue.is_idle());
        std::thread::scope(|scope| {
            let third = scope.spawn(|| queue.take().map(|turn| turn.task.place.no));
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert_eq!(queue.waiting(), 3);
            queue.allow(None);
            assert_eq!(third.join().unwrap(), Some(2));
        });
        assert_eq!(taken.map(|turn| queue.done(turn).place.no), [0, 1]);
    }

    #[test]
    fn a_host_gets_no_more_polls_at_a_time_than_its_limit() {
        let queue = Queue::new(|_| 2);
        queue.extend((0..5).map(|no| task(no, 0)).chain([task(9, 1)]));
        let (first, other, second) = (queue.take().unwrap(), queue.take().unwrap(), queue.take().unwrap());
        assert_eq!([first.task.place.no, other.task.place.no, second.task.place.no], [0, 9, 1]);
        assert!(queue.lock().ready.is_empty());
        queue.done(first);
        assert_eq!(queue.take().unwrap().task.place.no, 2);
    }

    #[test]
    fn what_is_abandoned_is_not_taken() {
        let queue = Queue::new(|_| 1);
        queue.extend((0..5).map(|no| task(no, 0)));
        let turn = queue.take().unwrap();
        assert_eq!(queue.abandon(), 4);
        assert!(queue.take().is_none());
        queue.done(turn);
        assert!(queue.take().is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_task_is_taken_once_and_limits_hold(
            hosts in proptest::collection::vec(0..4usize, 0..60), limit in 1..4usize, workers in 1..6usize
        ) {
            let queue = Queue::new(move |_| limit);
            let polling = Mutex::new([0usize; 4]);
            let taken = Mutex::new(Vec::new());
            std::thread::scope(|scope| {
                for _ in 0..workers {
                    scope.spawn(|| {
                        while let Some(turn) = queue.take() {
                            let host = hosts[usize::try_from(turn.task.place.no).unwrap()];
                            polling.lock().unwrap()[host] += 1;
                            assert!(polling.lock().unwrap()[host] <= limit);
                            std::thread::yield_now();
                            polling.lock().unwrap()[host] -= 1;
                            taken.lock().unwrap().push(queue.done(turn).place.no);
                        }
                    });
                }
                for (no, host) in (0u64..).zip(&hosts) {
                    queue.extend([task(no, *host)]);
                }
                queue.close();
            });
            let mut taken = taken.into_inner().unwrap();
            taken.sort_unstable();
            prop_assert_eq!(taken, (0..hosts.len() as u64).collect::<Vec<_>>());
        }
    }
}

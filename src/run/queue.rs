//! The queue that all workers draw from.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::UnixTime;
use crate::store::{HostHash, PollTask};

/// How many connections are loaded before the first poll starts.
pub(super) const INITIAL_LOAD: usize = 1024;
/// How many loaded connections can wait at most, about 4 MiB.
pub(super) const QUEUE_CAPACITY: usize = 8192;
/// A poll of at least this duration is slow.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// Tasks by host, with a limit of polls in flight per host.
///
/// Hosts take turns. A site is slow if one of its last polls was slow, or if it has been unwell for a day: the next poll
/// may take long as well. Started last, it would hold up the end of the run; so slow sites come first. Many of them would
/// hold up all others; so they get at most half of the workers while other sites wait. Among slow sites the most overdue
/// come first, so that all get their turn where runs are cut short, and then the slowest. With one worker, no site counts
/// as slow.
pub struct Queue {
    state: Mutex<State>,
    /// Signalled when a worker may find a task, or when there will be none.
    changed: Condvar,
    host_limit: Box<dyn Fn(HostHash) -> usize + Send + Sync>,
}

#[derive(Default)]
struct State {
    /// The time of the schedule.
    now: UnixTime,
    /// How many slow polls may be in flight while other sites wait. With 0, no site counts as slow.
    max_slow: usize,
    hosts: HashMap<HostHash, Host>,
    /// Hosts with a waiting task and room for one more poll, each once. Here are those whose next task is slow, with the
    /// time since which it is due and its longest duration in milliseconds.
    ready_slow: BinaryHeap<(Reverse<UnixTime>, u32, HostHash)>,
    /// Here are the other hosts.
    ready: VecDeque<HostHash>,
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
    /// The longest of its polls that have ended.
    slowest: Duration,
}

/// What a run's decisions need to know about the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct QueueView {
    /// How many tasks wait.
    pub(super) waiting: usize,
    /// Whether no task will be taken before permits are granted.
    pub(super) is_out_of_permits: bool,
    /// The only host that is left in the queue; `None` if there are several or none.
    pub(super) last_host: Option<LastHost>,
}

/// The only host of which sites wait or are being polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastHost {
    /// The host.
    pub(super) host: HostHash,
    /// Since when the next of its sites is due; `None` if none waits.
    pub(super) due: Option<UnixTime>,
    /// The longest poll of the host in this run, including those in flight.
    pub(super) slowest: Duration,
}

impl State {
    fn is_slow(&self, task: &PollTask) -> bool {
        let is_slow = Duration::from_millis(task.status.slowest_ms().into()) >= SLOW;
        self.max_slow > 0 && (is_slow || task.status.is_unwell(self.now))
    }

    /// Adds a host, which has a waiting task and room for one more poll, to those whose turn comes.
    fn enqueue_host(&mut self, host: HostHash) {
        match self.hosts.get(&host).and_then(|host| host.waiting.front()) {
            Some(task) if self.is_slow(task) => {
                let turn = (Reverse(task.due), task.status.slowest_ms(), host);
                self.ready_slow.push(turn);
            }
            _ => self.ready.push_back(host),
        }
    }

    /// The host whose turn it is.
    fn next_host(&mut self) -> Option<HostHash> {
        match self.permits {
            Some(0) => return None,
            Some(_) => return self.probe_host(),
            None => {}
        }
        let slow_allowed = self.slow < self.max_slow || self.ready.is_empty();
        if slow_allowed && let Some((_, _, host)) = self.ready_slow.pop() {
            return Some(host);
        }
        self.ready.pop_front()
    }

    /// Any host, but one whose next task is slow only where there is no other.
    ///
    /// Limited permits are for polls that show whether sites fail for our own fault. In the order of the queue, sites that
    /// fail for a fault of theirs may all come first.
    fn probe_host(&mut self) -> Option<HostHash> {
        // The same in each simulation of a run.
        let random = BuildHasherDefault::<DefaultHasher>::default().hash_one((self.now, self.waiting));
        #[expect(clippy::cast_possible_truncation, reason = "half of the bits are enough")]
        let random = random as usize;
        if let Some(index) = random.checked_rem(self.ready.len()) {
            return self.ready.remove(index);
        }
        let index = random.checked_rem(self.ready_slow.len())?;
        let mut slow = mem::take(&mut self.ready_slow).into_vec();
        let (_, _, host) = slow.swap_remove(index);
        self.ready_slow = slow.into();
        Some(host)
    }

    fn last_host(&self) -> Option<LastHost> {
        let mut hosts = self.hosts.iter();
        let (Some((name, host)), None) = (hosts.next(), hosts.next()) else { return None };
        let in_flight = self.in_flight.values().map(|(_, since)| since.elapsed());
        let slowest = in_flight.fold(host.slowest, Duration::max);
        Some(LastHost { host: *name, due: host.waiting.front().map(|task| task.due), slowest })
    }
}

impl Queue {
    /// An empty queue for this many workers of a run at `now`.
    ///
    /// `host_limit` returns how many polls may be in flight on a host.
    pub(super) fn new(
        workers: usize,
        now: UnixTime,
        host_limit: impl Fn(HostHash) -> usize + Send + Sync + 'static,
    ) -> Self {
        let state = State { now, max_slow: workers / 2, ..State::default() };
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
        let is_out_of_permits = state.permits == Some(0);
        QueueView { waiting: state.waiting, is_out_of_permits, last_host: state.last_host() }
    }

    /// Limits how many more tasks may be taken; `None` is no limit.
    pub(super) fn set_permits(&self, permits: Option<usize>) {
        self.lock().permits = permits;
        self.changed.notify_all();
    }

    /// Counts the time of the polls in flight from now on, after a pause of the process.
    pub(super) fn restart_timers(&self) {
        let now = Instant::now();
        self.lock().in_flight.values_mut().for_each(|(_, since)| *since = now);
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
        let cancelled = mem::take(&mut state.waiting);
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
            let task = self.take_ready(&mut state);
            if task.is_some() || (state.closed && state.waiting == 0) {
                return task;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next task if there is one whose host has room; otherwise `None`. It is given back like those of [`Queue::take`].
    pub(super) fn try_take(&self) -> Option<Arc<PollTask>> {
        self.take_ready(&mut self.lock())
    }

    fn take_ready(&self, state: &mut State) -> Option<Arc<PollTask>> {
        let name = state.next_host()?;
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
        Some(task)
    }

    /// Whether another site of the same host waits.
    pub(super) fn is_awaited(&self, task: &PollTask) -> bool {
        self.lock().hosts.get(&task.host).is_some_and(|host| !host.waiting.is_empty())
    }

    /// Ends the poll of a task, which makes room on its host.
    pub(super) fn done(&self, task: &PollTask) {
        let mut state = self.lock();
        let since = state.in_flight.remove(&task.locator.seq).map(|(_, since)| since);
        state.slow -= usize::from(state.is_slow(task));
        let Some(host) = state.hosts.get_mut(&task.host) else { return };
        // A host that had room is among the ready ones already.
        let had_room = host.polling < self.host_limit(task.host);
        host.polling -= 1;
        host.slowest = host.slowest.max(since.map_or(Duration::ZERO, |since| since.elapsed()));
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

    fn host_limit(&self, host: HostHash) -> usize {
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
mod tests;

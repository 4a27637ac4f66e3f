//! The queue that all workers draw from.

mod holds;
mod host;
mod limits;
mod lookups;
mod name;
mod room;
mod state;
mod turns;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(super) use self::limits::HostLimits;
pub(super) use self::lookups::MAX_LOOKUPS_AHEAD;
pub(super) use self::state::SLOW;
use self::state::State;
#[cfg(test)]
pub(super) use self::state::view::LastHost;
pub(super) use self::state::view::QueueView;
use crate::model::{Cxn, UnixTime};
use crate::store::{PollTask, SkipReason, SkippedHost};

/// How many connections are loaded before the first poll starts.
pub(super) const INITIAL_LOAD: usize = 1024;
/// How many loaded connections can wait at most, about 4 MiB.
pub(super) const QUEUE_CAPACITY: usize = 8192;
/// How many tasks are added at a time. Workers wait for the queue meanwhile.
const EXTEND_COUNT: usize = 256;

/// Receives the addresses of a name; none if it has none.
pub(super) type OnAnswer = Box<dyn FnOnce(Vec<IpAddr>) + Send>;
/// Returns how long ago the run began.
pub(super) type Clock = Box<dyn Fn() -> Duration + Send + Sync>;
/// Looks up the addresses of a connection's host, and calls a function with them, at once or later.
pub(super) type LookUp = Box<dyn Fn(&Cxn, OnAnswer) + Send + Sync>;

/// Tasks by host, with a limit of polls in flight per address.
///
/// A task waits for the addresses of its name first, and never in a worker. A host is a set of addresses: names with the
/// same addresses are one host. A task may be taken if each of its addresses has room, as it may connect to any of them. A
/// name without an address is a host of its own, so that a worker reports the failure.
///
/// Hosts take turns. A site is slow if one of its last polls was slow, or if it has been unwell for a day: the next poll
/// may take long as well. Started last, it would hold up the end of the run; so slow sites come first. Many of them would
/// hold up all others; so they get at most half of the workers while other sites wait. Among slow sites the most overdue
/// come first, so that all get their turn where runs are cut short, and then the slowest. With one worker, no site counts
/// as slow. On one host, sites that were failing come last.
pub struct Queue(Arc<Shared>);

struct Shared {
    started: Instant,
    clock: Clock,
    guarded: Mutex<Guarded>,
    /// Signalled when a worker may find a task, or when there will be none.
    changed: Condvar,
    look_up: LookUp,
}

struct Guarded {
    state: State,
    /// How many workers wait for a task.
    idle: usize,
    /// Whether one of them waits for the time of the next start.
    waits_for_start: bool,
    /// Whether a thread starts lookups. Their answers may arrive while it does.
    starts_lookups: bool,
}

/// A task that was taken from the queue.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    /// The task.
    pub(super) task: Arc<PollTask>,
    /// The addresses that a poll may connect to, in order; empty if they are not known.
    pub(super) addresses: Arc<[IpAddr]>,
    /// How many polls each of these allows at once, or would if they were known.
    pub(super) limit: usize,
    /// The lookup of the name, if it failed.
    pub(super) failed_lookup: Option<FailedLookup>,
}

/// A lookup that found no address.
#[derive(Debug, Clone, Copy)]
pub(super) struct FailedLookup {
    /// When it began.
    pub(super) began: Instant,
    /// When it ended.
    pub(super) ended: Instant,
}

impl Queue {
    /// An empty queue for this many workers of a run at `now`.
    ///
    /// A lookup that has no answer after `lookup_limit` has failed.
    pub(super) fn new(
        workers: usize,
        now: UnixTime,
        limits: HostLimits,
        lookup_limit: Duration,
        look_up: LookUp,
    ) -> Self {
        let started = Instant::now();
        Self::with_clock(workers, now, limits, lookup_limit, look_up, Box::new(move || started.elapsed()))
    }

    /// An empty queue, as by [`Queue::new`], with a clock of the caller.
    pub(super) fn with_clock(
        workers: usize,
        now: UnixTime,
        limits: HostLimits,
        lookup_limit: Duration,
        look_up: LookUp,
        clock: Clock,
    ) -> Self {
        let state = State::new(workers, now, limits, lookup_limit);
        let guarded = Guarded { state, idle: 0, waits_for_start: false, starts_lookups: false }.into();
        Self(Arc::new(Shared { started: Instant::now(), clock, guarded, changed: Condvar::new(), look_up }))
    }

    /// Corrects the number of workers, and of names that are looked up at a time.
    pub(super) fn set_workers(&self, workers: usize, max_lookups: usize) {
        self.0.change(|state| state.set_workers(workers, max_lookups));
    }

    /// Adds tasks behind those that wait.
    pub(super) fn extend(&self, tasks: impl IntoIterator<Item = PollTask>) {
        let mut tasks = tasks.into_iter().peekable();
        while tasks.peek().is_some() {
            self.0.change(|state| tasks.by_ref().take(EXTEND_COUNT).for_each(|task| state.push(task)));
            self.0.start_lookups();
        }
    }

    /// A snapshot of the queue.
    pub(super) fn view(&self) -> QueueView {
        self.0.lock().state.view()
    }

    /// How many hosts have a task that can be taken now, and how many tasks are being polled.
    ///
    /// `None` once the queue is closed.
    pub(super) fn demand(&self) -> Option<(usize, usize)> {
        let guarded = self.0.lock();
        (!guarded.state.closed).then(|| guarded.state.demand())
    }

    /// How many tasks there are of hosts that are not called for the time being.
    #[must_use]
    pub fn held(&self) -> usize {
        self.view().held
    }

    /// Limits how many more tasks may be taken; `None` is no limit.
    pub(super) fn set_permits(&self, permits: Option<usize>) {
        self.0.change(|state| state.set_permits(permits));
    }

    /// Counts the time of the polls in flight from now on, after a pause of the process.
    pub(super) fn restart_timers(&self) {
        self.0.change(State::restart_timers);
    }

    /// The polls that have been in flight longest, and for how long.
    #[must_use]
    pub fn slowest(&self, count: usize) -> Vec<(Arc<PollTask>, Duration)> {
        self.0.lock().state.slowest(count)
    }

    /// No task will be added. Workers end when none waits.
    pub(super) fn close(&self) {
        self.0.change(|state| state.closed = true);
    }

    /// Closes the queue and removes the tasks that wait; returns how many, with those of held hosts.
    pub(super) fn cancel_pending(&self) -> usize {
        self.0.change(State::cancel_pending)
    }

    /// Takes no task of hosts with an address any longer.
    ///
    /// Those with another address that is known to be good are not held. A host that asked to wait is held in any case.
    pub(super) fn hold(&self, address: IpAddr, reason: SkipReason) {
        self.0.change(|state| state.hold(address.to_canonical(), reason));
    }

    /// Takes one task of a held host with an address: one that waits, or else the next one that comes.
    pub(super) fn probe(&self, address: IpAddr) {
        self.0.change(|state| state.probe(address.to_canonical()));
    }

    /// Takes tasks of hosts with an address again.
    pub(super) fn release(&self, address: IpAddr) {
        self.0.change(|state| state.release_hold(address.to_canonical()));
    }

    /// Removes the tasks of held hosts. Returns how many of each host were skipped since the last call.
    pub(super) fn skip_held(&self) -> Vec<SkippedHost> {
        self.0.change(State::skip_held)
    }

    /// Whether another site of the same name waits.
    pub(super) fn is_awaited(&self, task: &PollTask) -> bool {
        self.0.lock().state.is_awaited(task)
    }

    /// Ends lookups that are over their limit. To be called at least every 50 ms.
    pub(super) fn tick(&self) {
        self.0.change(State::expire_lookups);
        self.0.start_lookups();
    }

    /// The next task, as soon as there is one whose addresses have room; `None` when there will be none.
    ///
    /// Every task that is taken must be given back with [`Queue::done`].
    pub(super) fn take(&self) -> Option<Taken> {
        let mut guarded = self.0.lock();
        loop {
            if let Some(taken) = self.0.take(&mut guarded.state) {
                self.0.wake_one(&guarded);
                return Some(taken);
            }
            if guarded.state.is_over() {
                return None;
            }
            guarded = self.0.wait(guarded);
        }
    }

    /// The next task if there is one whose addresses have room; otherwise `None`. It is given back like those of
    /// [`Queue::take`].
    pub(super) fn try_take(&self) -> Option<Taken> {
        self.0.take(&mut self.0.lock().state)
    }

    /// Ends the poll of a task, which makes room on its addresses. `good` is the address that replied, if one did.
    pub(super) fn done(&self, task: &PollTask, good: Option<IpAddr>) {
        let mut guarded = self.0.lock();
        guarded.state.done(task, good.map(|address| address.to_canonical()));
        self.0.wake_one(&guarded);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Guarded> {
        // No code panics while it holds the lock.
        let mut guarded = self.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        guarded.state.advance((self.clock)());
        guarded
    }

    /// Changes the state, and wakes the workers that may find a task then.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut guarded = self.lock();
        let result = change(&mut guarded.state);
        if guarded.idle > 0 && (guarded.state.has_ready() || guarded.state.is_over()) {
            self.changed.notify_all();
        }
        result
    }

    /// Waits until there may be a task. One of the workers waits for the time of the next start.
    fn wait<'a>(&self, mut guarded: MutexGuard<'a, Guarded>) -> MutexGuard<'a, Guarded> {
        guarded.idle += 1;
        let next_start = guarded.state.next_start().filter(|_| !guarded.waits_for_start);
        if let Some(next_start) = next_start {
            guarded.waits_for_start = true;
            let limit = next_start.saturating_sub((self.clock)());
            guarded = self.changed.wait_timeout(guarded, limit).unwrap_or_else(PoisonError::into_inner).0;
            guarded.waits_for_start = false;
        } else {
            guarded = self.changed.wait(guarded).unwrap_or_else(PoisonError::into_inner);
        }
        guarded.idle -= 1;
        guarded.state.advance((self.clock)());
        guarded
    }

    /// Wakes a worker if there is one, and a task or a start for it. All end when there will be no task.
    fn wake_one(&self, Guarded { state, idle, waits_for_start, .. }: &Guarded) {
        if *idle > 0 {
            if state.is_over() {
                self.changed.notify_all();
            } else if state.has_ready() || (!waits_for_start && state.next_start().is_some()) {
                self.changed.notify_one();
            }
        }
    }

    fn take(&self, state: &mut State) -> Option<Taken> {
        let (task, found) = state.take()?;
        let limit = state.limit(&found.addresses);
        let instant = |at| self.started + at;
        let failed = found.failed.map(|(began, ended)| FailedLookup { began: instant(began), ended: instant(ended) });
        Some(Taken { task, addresses: found.addresses, limit, failed_lookup: failed })
    }

    /// Starts the lookups for which there is room.
    ///
    /// Answers may arrive while it does so, on this thread too, which makes room for others.
    fn start_lookups(self: &Arc<Self>) {
        let mut guarded = self.lock();
        if std::mem::replace(&mut guarded.starts_lookups, true) {
            return;
        }
        while let Some((no, task)) = guarded.state.start_lookup() {
            drop(guarded);
            let shared = Arc::downgrade(self);
            let on_answer = move |addresses| {
                // The run may be over.
                if let Some(shared) = shared.upgrade() {
                    shared.change(|state| state.answer(no, addresses));
                    shared.start_lookups();
                }
            };
            (self.look_up)(&task.cxn, Box::new(on_answer));
            guarded = self.lock();
        }
        guarded.starts_lookups = false;
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("view", &self.view()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

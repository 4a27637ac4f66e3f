//! Runs in virtual time, without threads, sockets or a store.
//!
//! `benches/outage` polls fleets of thousands of sites with it. The state machine, the queue and the order of polls are
//! those of real runs. Only the workers, the recorder and the clock are replaced.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::coordinator::{COALESCE, TICK};
use super::event::{Effect, Event, Rules};
use super::message::{FinalReport, PollResult, SessionReport};
use super::queue::{HostLimits, INITIAL_LOAD, LookUp, Queue, SLOW, Taken};
use super::state::RunState;
use super::{Summary, order};
use crate::model::{JobName, Outcome, PollTrace, UnixTime};
use crate::retry::Policy;
use crate::run::backlog::Behind;
use crate::store::{DueEntry, HostKey, PollTask, RunRecord, StatusUpdate};

/// How long a session of the store takes to open.
const OPENING: Duration = Duration::from_millis(4);

/// A run in virtual time.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// The retry expression.
    pub policy: Policy,
    /// The time of the schedule, UTC seconds.
    pub now: UnixTime,
    /// How many workers there are.
    pub threads: usize,
    /// How many polls are in flight on one host.
    pub per_host: usize,
    /// Since when all runs have ended in an outage; `None` if the last one did not.
    pub outage_since: Option<UnixTime>,
}

/// How a simulated poll ends.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its outcome.
    pub outcome: Outcome,
    /// What it shows about the network.
    pub trace: PollTrace,
    /// How long it takes.
    pub duration: Duration,
}

/// What a simulated run led to.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The figures of the run.
    pub record: RunRecord,
    /// The outcomes that it recorded.
    pub updates: Vec<StatusUpdate>,
    /// Since when all runs have ended in an outage, up to this one.
    pub outage_since: Option<UnixTime>,
}

impl Simulation {
    /// Polls what is due.
    ///
    /// `addresses` returns those of the host of a site. `reply` returns how a poll ends that begins after so much time.
    pub fn run(
        &self,
        mut due: Vec<PollTask>,
        addresses: impl Fn(&PollTask) -> Vec<IpAddr>,
        reply: impl FnMut(&PollTask, Duration) -> Reply,
    ) -> Ran {
        let names: HashMap<String, Vec<IpAddr>> = due.iter().map(|task| (task.cxn.host(), addresses(task))).collect();
        for task in &mut due {
            task.permille_late = self.policy.permille_late(&task.status, self.now);
        }
        let mut entries: Vec<DueEntry> = due.iter().map(entry).collect();
        order::sort(&mut entries, self.per_host, self.outage_since.map(|_| self.now));
        let places: BTreeMap<u64, usize> =
            entries.iter().enumerate().map(|(place, entry)| (entry.locator.seq, place)).collect();
        due.sort_by_key(|task| places[&task.locator.seq]);
        let rest = due.split_off(due.len().min(INITIAL_LOAD)).into();

        let run = RunRecord { now: self.now, due: entries.len() as u64, ..RunRecord::default() };
        let app_id = "app:org.example.myapp".parse().expect("a valid appId");
        let summary = Summary::new(app_id, JobName::default(), run);
        let rules = Rules {
            policy: self.policy.clone(),
            now: self.now,
            by_hand: false,
            max_runtime: None,
            slow: SLOW,
            outage_since: self.outage_since,
            outages: Vec::new(),
            host_key: HostKey::TEST,
            pace: None,
            behind: Behind::default(),
        };
        let workers = self.threads.min(entries.len());
        let limits = HostLimits::new(self.per_host, &BTreeMap::new(), &[]);
        let look_up: LookUp = Box::new(move |cxn, on_answer| on_answer(names[&cxn.host()].clone()));
        let clock = Arc::new(Mutex::new(Duration::ZERO));
        let shared = Arc::clone(&clock);
        let clock_of_queue = Box::new(move || *shared.lock().unwrap_or_else(PoisonError::into_inner));
        let mut world = World {
            state: RunState::new(rules, entries, due, OPENING, summary),
            queue: Queue::with_clock(workers, self.now, limits, Duration::MAX, look_up, clock_of_queue),
            idle: workers,
            at: Duration::ZERO,
            clock,
            polls: BTreeMap::new(),
            ended: Vec::new(),
            rest,
            events: VecDeque::from([Event::Tick, Event::Tick]),
            updates: Vec::new(),
            reply,
        };
        world.drive();
        let (summary, _) = world.state.into_result();
        let outage_since = summary.run.outage_since(self.outage_since);
        Ran { record: summary.run, updates: world.updates, outage_since }
    }
}

fn entry(task: &PollTask) -> DueEntry {
    let PollTask { locator, host, due, permille_late, .. } = *task;
    DueEntry { locator, host, due, permille_late }
}

/// What a run acts on, and what acts on it.
struct World<F> {
    state: RunState,
    queue: Queue,
    /// How many workers wait for a task.
    idle: usize,
    /// The time since the run began.
    at: Duration,
    /// The same, for the queue.
    clock: Arc<Mutex<Duration>>,
    /// The polls in flight, by their end and the sequence number of their connection.
    polls: BTreeMap<(Duration, u64), PollResult>,
    /// Polls that ended, of which the state was not notified yet.
    ended: Vec<PollResult>,
    /// What is due and not loaded yet, in order.
    rest: VecDeque<PollTask>,
    /// Events to be applied before time goes on.
    events: VecDeque<Event>,
    updates: Vec<StatusUpdate>,
    reply: F,
}

impl<F: FnMut(&PollTask, Duration) -> Reply> World<F> {
    /// Drives the run until it has ended, as the coordinator and the workers of real runs do.
    fn drive(&mut self) {
        // The time at which the coordinator continues: after a tick, or once results were collected.
        let mut next = TICK;
        loop {
            while let Some(event) = self.events.pop_front() {
                self.apply(event);
                next = self.at + TICK;
            }
            if self.state.has_ended() {
                return;
            }
            self.start_polls();
            match self.polls.first_entry() {
                Some(first) if first.key().0 <= next => {
                    let ((at, _), result) = first.remove_entry();
                    self.set_time(at);
                    if !result.may_hold_host() {
                        self.queue.done(&result.task, result.good());
                    }
                    self.idle += 1;
                    if self.ended.is_empty() {
                        next = self.at + COALESCE;
                    }
                    self.ended.push(result);
                }
                _ => {
                    self.set_time(next);
                    let ended = std::mem::take(&mut self.ended);
                    self.events.push_back(if ended.is_empty() { Event::Tick } else { Event::PollsEnded(ended) });
                }
            }
        }
    }

    fn set_time(&mut self, at: Duration) {
        self.at = at;
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn start_polls(&mut self) {
        while self.idle > 0
            && let Some(Taken { task, addresses, limit, .. }) = self.queue.try_take()
        {
            self.idle -= 1;
            let began = self.at;
            let Reply { outcome, trace, duration } = (self.reply)(&task, began);
            let (ended, seq) = (began + duration, task.locator.seq);
            let queued = Duration::ZERO;
            let result = PollResult {
                task,
                site_url: String::new(),
                addresses,
                limit,
                outcome: Ok(outcome),
                result: None,
                redirect: None,
                trace,
                began,
                queued,
                ended,
            };
            self.polls.insert((ended, seq), result);
        }
    }

    fn apply(&mut self, event: Event) {
        let failed = event.failed_polls();
        for effect in self.state.apply(self.at, self.queue.view(), event) {
            self.perform(effect);
        }
        for (task, good) in failed {
            self.queue.done(&task, good);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Enqueue(tasks) => self.queue.extend(tasks),
            Effect::SetPermits(permits) => self.queue.set_permits(permits),
            Effect::CancelPending => {
                let (held, waiting) = (self.queue.skip_held(), self.queue.cancel_pending());
                self.apply(Event::Cancelled(waiting, held));
            }
            Effect::HoldHost(address, reason) => self.queue.hold(address, reason),
            Effect::ProbeHost(address) => self.queue.probe(address),
            Effect::ReleaseHost(address) => self.queue.release(address),
            Effect::SkipHeld => {
                let held = self.queue.skip_held();
                self.apply(Event::Skipped(held));
            }
            Effect::LeaveWaiting { .. } => {
                let waiting = self.queue.cancel_pending();
                self.apply(Event::Left(waiting));
            }
            Effect::StartSession(work) => {
                let loaded = self.rest.drain(..work.load.len()).collect();
                self.updates.extend_from_slice(&work.updates);
                let recorded = Ok(Some((vec![true; work.updates.len()], OPENING)));
                let report =
                    SessionReport { updates: work.updates, results: Vec::new(), recorded, results_error: None };
                self.events.extend([Event::Loaded(loaded), Event::SessionEnded(report)]);
            }
            Effect::Finish(finish) => {
                self.updates.extend(finish.work.updates);
                let report = FinalReport { recorded: Ok(finish.record), results_error: None };
                self.events.push_back(Event::Finished(report));
            }
            // The others only report.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;

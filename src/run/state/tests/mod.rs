//! Runs on a fake clock, without threads, sockets or a store.

mod held;
mod last_host;
mod outage;
mod pause;
mod stop;
mod store;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::sessions::{FLUSH_COUNT, FLUSH_RESULT_BYTES, LOW_WATERMARK};
use super::*;
use crate::model::{Attempt, Failure, FailureClass, Outcome, PollStatus, PollTrace};
use crate::run::backlog::Behind;
use crate::run::message::{PollResult, SessionReport, SessionWork};
use crate::run::queue::{LastHost, QUEUE_CAPACITY};
use crate::run::testdata::task;
use crate::store::{HostHash, HostKey, RunRecord, SkipReason, SkippedHost};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A run on a fake clock: effects change what the queue and the store would hold.
struct Fixture {
    state: RunState,
    at: Duration,
    queue: VecDeque<PollTask>,
    /// The hosts that are held, and their tasks.
    holds: Vec<(IpAddr, SkipReason)>,
    held: VecDeque<PollTask>,
    permits: Option<usize>,
    in_flight: Vec<PollTask>,
    session: Option<SessionWork>,
    finish: Option<FinalWork>,
    log: Vec<String>,
    last_host: Option<LastHost>,
}

impl Fixture {
    /// A run of `due` connections on hosts of their own, all polled well before. No event was applied yet.
    fn unstarted(due: u64, change: impl FnOnce(&mut Rules)) -> Self {
        let entries = (0..due).map(|seq| entry(&witness(seq))).collect();
        Self::of(entries, (0..due.min(INITIAL_LOAD as u64)).map(witness).collect(), change)
    }

    /// A run in which these are due, with the first loaded. No event was applied yet.
    fn of(entries: Vec<DueEntry>, first: Vec<PollTask>, change: impl FnOnce(&mut Rules)) -> Self {
        let mut rules = Rules {
            policy: "1 hour (x3)".parse().unwrap(),
            now: 7200,
            by_hand: false,
            max_runtime: None,
            slow: secs(1),
            outage_since: None,
            outages: Vec::new(),
            host_key: HostKey::TEST,
            pace: None,
            behind: Behind::default(),
        };
        change(&mut rules);
        let run = RunRecord { due: entries.len() as u64, ..RunRecord::default() };
        let app_id = "app:org.example.myapp".parse().unwrap();
        let summary = Summary::new(app_id, crate::model::JobName::default(), run);
        let state = RunState::new(rules, entries, first, ms(4), summary);
        let (queue, in_flight, log) = (VecDeque::new(), Vec::new(), Vec::new());
        let (session, finish, last_host, permits) = (None, None, None, None);
        let (at, holds, held) = (Duration::ZERO, Vec::new(), VecDeque::new());
        Self { state, at, queue, holds, held, permits, in_flight, session, finish, log, last_host }
    }

    /// A run as by [`Fixture::unstarted`] whose first tasks are in the queue.
    fn new(due: u64, change: impl FnOnce(&mut Rules)) -> Self {
        let mut run = Self::unstarted(due, change);
        run.apply(Event::Tick);
        run
    }

    fn apply(&mut self, event: Event) {
        let waiting = self.queue.len();
        let last_host = self.last_host.filter(|_| waiting > 0);
        let (held, is_out_of_permits) = (self.held.len(), self.permits == Some(0));
        let view = QueueView { waiting, held, is_out_of_permits, last_host, ..QueueView::default() };
        for effect in self.state.apply(self.at, view, event) {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Enqueue(tasks) => {
                let is_held = |task: &PollTask| self.holds.iter().any(|(held, _)| *held == address(task.host));
                let (held, tasks): (Vec<_>, Vec<_>) = tasks.into_iter().partition(is_held);
                self.held.extend(held);
                self.queue.extend(tasks);
            }
            Effect::SetPermits(permits) => self.permits = permits,
            Effect::CancelPending => {
                let (held, cancelled) = (self.skip_held(), self.queue.drain(..).count());
                self.apply(Event::Cancelled(cancelled, held));
            }
            Effect::LeaveWaiting { unloaded } => {
                let waiting = self.queue.drain(..).count();
                self.log.push(format!("{waiting} and {unloaded} left"));
                self.apply(Event::Left(waiting));
            }
            Effect::StartSession(work) => assert!(self.session.replace(work).is_none(), "one session at a time"),
            Effect::EndPolling => assert!(self.finish.is_none(), "before the last session"),
            Effect::Finish(work) => assert!(self.finish.replace(work).is_none(), "a run finishes once"),
            Effect::HoldHost(held, reason) => {
                self.log.push(format!("{held} {reason:?}"));
                self.holds.push((held, reason));
                let tasks: Vec<_> = std::mem::take(&mut self.queue).into();
                self.perform(Effect::Enqueue(tasks));
            }
            Effect::ProbeHost(probed) => {
                let place = self.held.iter().position(|task| address(task.host) == probed).expect("a site is left");
                self.in_flight.extend(self.held.remove(place));
            }
            Effect::ReleaseHost(released) => {
                self.log.push(format!("{released} replies"));
                self.holds.retain(|(held, _)| *held != released);
                let tasks = std::mem::take(&mut self.held).into();
                self.perform(Effect::Enqueue(tasks));
            }
            Effect::SkipHeld => {
                let held = self.skip_held();
                self.apply(Event::Skipped(held));
            }
            Effect::ReportStopping(in_flight) => self.log.push(format!("stopping, {in_flight} in flight")),
            Effect::ReportOutage(outage) => {
                self.log.push(format!("{}, {} not counted", outage.fault.name(), outage.uncounted));
            }
            Effect::ReportPause(length, failures) => {
                self.log.push(format!("paused for {length:?}, {failures} not counted"));
            }
            Effect::Warn(warning) => self.log.push(format!("{warning:?}")),
            Effect::ReportByHand(outcome, next) => self.log.push(format!("{outcome:?} to level {}", next.level)),
        }
    }

    fn skip_held(&mut self) -> Vec<SkippedHost> {
        let held = std::mem::take(&mut self.held);
        let skipped = self.holds.iter().map(|(held_address, reason)| {
            let names = held.iter().map(|task| task.host).filter(|host| address(*host) == *held_address);
            let sites = names.clone().count() as u64;
            SkippedHost { address: *held_address, reason: *reason, sites, names: names.take(1).collect() }
        });
        skipped.filter(|host| host.sites > 0).collect()
    }

    /// Workers take so many tasks, as far as there are tasks and permits.
    fn take(&mut self, tasks: usize) {
        let tasks = tasks.min(self.queue.len()).min(self.permits.unwrap_or(usize::MAX));
        self.permits = self.permits.map(|permits| permits - tasks);
        self.in_flight.extend(self.queue.drain(..tasks));
    }

    /// The polls in flight end after `duration`, all in the same way.
    fn end_polls(&mut self, duration: Duration, outcome: &Outcome) {
        let began = self.at;
        self.at += duration;
        let results = std::mem::take(&mut self.in_flight).into_iter();
        let results = results.map(|task| result(task, began, self.at, Ok(outcome.clone()))).collect();
        self.apply(Event::PollsEnded(results));
    }

    fn poll(&mut self, tasks: usize, outcome: &Outcome) {
        self.take(tasks);
        self.end_polls(ms(100), outcome);
    }

    /// The session that was started ends well, after `opening` and no time for its work.
    fn end_session(&mut self, opening: Duration) -> (usize, usize) {
        let SessionWork { load, updates, .. } = self.session.take().expect("a session was started");
        let counts = (load.len(), updates.len());
        if !load.is_empty() {
            self.apply(Event::Loaded(load.iter().map(|entry| witness(entry.locator.seq)).collect()));
        }
        let recorded = Ok(Some((vec![true; updates.len()], opening)));
        self.report(SessionReport { updates, results: Vec::new(), recorded, results_error: None });
        counts
    }

    fn fail_session(&mut self, error: StoreError) {
        let SessionWork { updates, results, .. } = self.session.take().expect("a session was started");
        self.report(SessionReport { updates, results, recorded: Err(error), results_error: None });
    }

    fn report(&mut self, report: SessionReport) {
        self.apply(Event::SessionEnded(report));
    }

    fn wait(&mut self, duration: Duration) {
        self.at += duration;
        self.apply(Event::Tick);
    }

    /// The last session ends well. Returns the figures, and why the run failed.
    fn end(mut self) -> (RunRecord, Option<Error>) {
        let FinalWork { record, .. } = self.finish.take().expect("the run finishes");
        self.apply(Event::Finished(FinalReport { recorded: Ok(record), results_error: None }));
        assert!(self.state.has_ended());
        let (summary, error) = self.state.into_result();
        (summary.run, error)
    }
}

/// A task on a host of its own whose last poll succeeded.
fn witness(seq: u64) -> PollTask {
    let status = PollStatus {
        last_run: 1,
        attempts: vec![Attempt { at: 1, class: None, duration_ms: 0 }],
        ..PollStatus::default()
    };
    PollTask { status, ..task(seq, seq) }
}

/// The only address of a host.
fn address(host: HostHash) -> IpAddr {
    Ipv4Addr::from_bits((11 << 24) + u32::try_from(host % (1 << 24)).unwrap()).into()
}

fn entry(task: &PollTask) -> DueEntry {
    let PollTask { locator, host, due, permille_late, .. } = *task;
    DueEntry { locator, host, due, permille_late }
}

fn result(task: PollTask, began: Duration, ended: Duration, outcome: Result<Outcome, Error>) -> PollResult {
    let is_silent = matches!(&outcome, Ok(Err(failure)) if failure.class == FailureClass::Connect);
    let trace = PollTrace { answered: !is_silent, ..PollTrace::default() };
    let (addresses, queued) = ([address(task.host)].into(), Duration::ZERO);
    PollResult {
        task: Arc::new(task),
        site_url: String::new(),
        addresses,
        limit: 4,
        outcome,
        result: None,
        redirect: None,
        trace,
        began,
        queued,
        ended,
    }
}

/// A failure of a class. Only with class `connect` no site answers.
fn failure(class: FailureClass) -> Outcome {
    Err(Failure::new(class, "…"))
}

fn busy() -> StoreError {
    StoreError::Busy { path: "store".into(), waited: secs(30), owner: None }
}

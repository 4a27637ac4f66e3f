//! Outcomes on their way into the store, in groups.

use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::outage::{Guard, Weather};
use super::pool::Polled;
use super::summary::Summary;
use crate::error::{Kind, Result};
use crate::model::UnixTime;
use crate::retry::Policy;
use crate::store::{Candidate, Job, Replacement, Store, Task};

/// An outcome is recorded within about this time.
const INTERVAL: Duration = Duration::from_secs(1);
/// A visit to the store that takes long makes the next one wait this many times as long, so that visits never take more
/// than a twentieth of a run.
const COST: u32 = 20;

/// Gathers outcomes and takes them to the store.
pub(super) struct Recorder<'a> {
    store: &'a Store,
    job: &'a Job,
    policy: &'a Policy,
    now: UnixTime,
    /// The moment at which what is loaded must be due, if it must.
    due_at: Option<UnixTime>,
    pending: Vec<Replacement>,
    guard: Guard,
    /// Failures that may be those of our own network.
    doubtful: Vec<Polled>,
    next_visit: Instant,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(
        store: &'a Store,
        job: &'a Job,
        policy: &'a Policy,
        now: UnixTime,
        due_at: Option<UnixTime>,
    ) -> Self {
        let guard = Guard::new(now, job.outage_since);
        let (pending, doubtful) = (Vec::new(), Vec::new());
        Self { store, job, policy, now, due_at, pending, guard, doubtful, next_visit: Instant::now() }
    }

    /// Takes an outcome. While our own network is in doubt, failures wait to be charged.
    pub(super) fn add(&mut self, polled: Polled, summary: &mut Summary) {
        summary.run.polled += 1;
        let Polled { task, outcome, began } = &polled;
        let (cxn, ms) = (&task.cxn.cxn_id, began.elapsed().as_millis());
        match outcome {
            Ok(()) => debug!(%cxn, ms, "ok"),
            Err(failure) => info!(%cxn, ms, class = %failure.class, "{}", failure.message),
        }
        match self.guard.saw(&task.status, &task.cxn.host(), *began, outcome) {
            Weather::Clear => {
                self.charge_doubtful(summary);
                self.charge(polled, summary);
            }
            Weather::Doubtful => self.doubtful.push(polled),
            Weather::Outage => {
                summary.run.outage = true;
                if outcome.is_ok() { self.charge(polled, summary) } else { self.doubtful.push(polled) }
            }
        }
    }

    /// Charges what waited, since it was not our network.
    fn charge_doubtful(&mut self, summary: &mut Summary) {
        for polled in std::mem::take(&mut self.doubtful) {
            self.charge(polled, summary);
        }
    }

    /// Works out the connection's next state and counts the outcome.
    fn charge(&mut self, Polled { task, outcome, .. }: Polled, summary: &mut Summary) {
        let mut next = task.status.clone();
        self.policy.apply(&mut next, self.now, &outcome);
        summary.count(&outcome, &next);
        self.pending.push(Replacement { place: task.place, selected: task.status, next });
    }

    /// Whether outcomes wait that should be recorded now.
    pub(super) fn is_time(&self) -> bool {
        !self.pending.is_empty() && Instant::now() >= self.next_visit
    }

    /// Visits the store: records what is pending and loads what was selected. Where the store is busy for too long,
    /// `None`: nothing is lost, and the next visit tries again.
    pub(super) fn visit(&mut self, selected: &[Candidate], summary: &mut Summary) -> Result<Option<Vec<Task>>> {
        let began = Instant::now();
        let visited = self.store.session(|session| {
            let recorded = session.record(self.job, &self.pending)?;
            let tasks = session.load(self.job, self.policy, self.due_at, selected)?;
            Ok((recorded, tasks))
        });
        self.next_visit = Instant::now() + INTERVAL.max(began.elapsed() * COST);
        let (recorded, tasks) = match visited {
            Err(error) if error.kind == Kind::Busy => {
                warn!("{}; {} outcomes wait", error.message, self.pending.len());
                return Ok(None);
            }
            visited => visited?,
        };
        self.count(&recorded, summary);
        Ok(Some(tasks))
    }

    /// Records what is left and, if it is to be remembered, what the run did.
    pub(super) fn finish(mut self, summary: &mut Summary, remember: bool) -> Result<()> {
        if summary.run.outage {
            let spared = std::mem::take(&mut self.doubtful).len();
            summary.run.dropped += spared as u64;
            warn!(
                "our own network seems to be down: {spared} failures are not charged, the rest is left to the next run"
            );
        }
        self.charge_doubtful(summary);
        self.store.session(|session| {
            let recorded = session.record(self.job, &self.pending)?;
            self.count(&recorded, summary);
            if remember { session.remember_run(self.job.no, &summary.run) } else { Ok(()) }
        })
    }

    fn count(&mut self, recorded: &[bool], summary: &mut Summary) {
        for (one, recorded) in self.pending.drain(..).zip(recorded) {
            let given_up = |level, last_run| self.policy.next_due(level, last_run).is_none();
            if !recorded {
                info!(no = one.place.no, "an outcome was dropped: the connection was changed while it was polled");
                summary.run.dropped += 1;
            } else if given_up(one.next.level, self.now) && !given_up(one.selected.level, self.now) {
                summary.run.given_up += 1;
            }
        }
    }
}

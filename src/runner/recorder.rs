//! Outcomes on their way into the store, in groups.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat};
use tracing::{info, warn};

use super::FILE_ONLY;
use super::outage::{Guard, Weather, is_reply};
use super::pool::Polled;
use super::queue::Queue;
use super::summary::Summary;
use crate::error::{Kind, Result};
use crate::listener::BY_HAND;
use crate::model::{Outcome, PollStatus, UnixTime};
use crate::retry::Policy;
use crate::store::{Candidate, Job, Limits, Packed, Replacement, Session, Store, Task};

/// An outcome is recorded within about this time.
const INTERVAL: Duration = Duration::from_secs(1);
/// So many are recorded earlier: what is recorded while others are polled needs no time of its own at the end.
const GROUP: usize = 2048;
/// Between two visits lies so many times what opening and closing the store takes, so that this is never more than a
/// twentieth of a run.
const COST: u32 = 20;

/// How long the last visit waits for its turn, at least.
const LAST_WAIT: Duration = Duration::from_secs(30);

/// What is kept goes to its database early where it takes more than so many bytes.
const KEPT_SIZE: usize = 8 << 20;

/// A session, and how long it took beside its work.
pub(super) fn timed<T: Send>(store: &Store, work: impl FnOnce(&Session) -> Result<T> + Send) -> Result<(T, Duration)> {
    let began = Instant::now();
    let (done, worked) = store.session(|session| {
        let began = Instant::now();
        Ok((work(session)?, began.elapsed()))
    })?;
    Ok((done, began.elapsed().saturating_sub(worked)))
}

/// A moment for people.
fn rfc3339(moment: UnixTime) -> String {
    DateTime::from_timestamp(moment, 0)
        .map_or_else(|| moment.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// A poll that has an outcome.
struct Done {
    task: Task,
    outcome: Outcome,
    took_ms: u32,
}

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
    doubtful: Vec<Done>,
    /// What listeners keep.
    kept: Vec<Packed>,
    /// Their size in bytes.
    kept_size: usize,
    limits: Limits,
    last_visit: Instant,
    /// What opening and closing the store takes, where nobody else wants the processor: the least that was seen.
    opening: Duration,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(
        store: &'a Store,
        job: &'a Job,
        policy: &'a Policy,
        now: UnixTime,
        due_at: Option<UnixTime>,
        limits: Limits,
        opening: Duration,
    ) -> Self {
        let guard = Guard::new(now, job.outage_since);
        let (pending, doubtful, kept) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            store,
            job,
            policy,
            now,
            due_at,
            pending,
            guard,
            doubtful,
            kept,
            kept_size: 0,
            limits,
            last_visit: Instant::now(),
            opening,
        }
    }

    /// Takes an outcome. While our own network is in doubt, failures wait to be charged.
    ///
    /// # Errors
    /// Where the poll came to nothing by a fault of ours; nobody is charged.
    pub(super) fn add(&mut self, polled: Polled, summary: &mut Summary) -> Result<()> {
        let Polled { task, outcome, kept, times } = polled;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                summary.run.dropped += 1;
                return Err(error);
            }
        };
        summary.run.polled += 1;
        self.kept_size += kept.as_ref().map_or(0, Packed::size);
        self.kept.extend(kept);
        if self.kept_size > KEPT_SIZE {
            self.keep();
        }
        let ms = u32::try_from((times.end - times.start).as_millis()).unwrap_or(u32::MAX);
        summary.durations.push(ms);
        let cxn = &task.cxn.cxn_id;
        match &outcome {
            Ok(()) => info!(target: FILE_ONLY, %cxn, outcome = "ok", ms, "polled"),
            Err(failure) => info!(%cxn, outcome = %failure.class, ms, "{}", failure.message),
        }
        let weather = self.guard.saw(&task.status, task.host, times.start, &outcome);
        let done = Done { task: Arc::unwrap_or_clone(task), outcome, took_ms: ms };
        if weather == Weather::Clear {
            self.charge_doubtful(summary);
        }
        if weather == Weather::Clear || is_reply(&done.outcome) {
            self.charge(done, summary);
        } else {
            self.doubtful.push(done);
        }
        Ok(())
    }

    /// Whether our own network seems to be down.
    pub(super) fn suspects_outage(&self) -> bool {
        self.guard.weather() == Weather::Suspected
    }

    /// Charges what waited, since it was not our network.
    fn charge_doubtful(&mut self, summary: &mut Summary) {
        for polled in std::mem::take(&mut self.doubtful) {
            self.charge(polled, summary);
        }
    }

    /// Works out the connection's next state and counts the outcome.
    fn charge(&mut self, Done { task, outcome, took_ms }: Done, summary: &mut Summary) {
        let mut next = PollStatus { took_ms, ..task.status.clone() };
        self.policy.apply(&mut next, self.now, &outcome);
        summary.count(&outcome, &next);
        if self.due_at.is_none() {
            let next_due = self.policy.next_due_of_status(&next).map_or("never".to_owned(), rfc3339);
            let outcome = outcome.as_ref().err().map_or("ok".to_owned(), ToString::to_string);
            info!(target: BY_HAND, "{outcome}: level {}, count {}, due again {next_due}", next.level, next.count);
        }
        self.pending.push(Replacement { place: task.place, selected: task.status, next });
    }

    /// Whether outcomes wait that should be recorded now.
    pub(super) fn is_time(&self) -> bool {
        let since = self.last_visit.elapsed();
        let enough = self.pending.len() >= GROUP || since >= INTERVAL && !self.pending.is_empty();
        enough && since >= self.opening * COST
    }

    /// Visits the store: loads what was selected into the queue, so that nobody waits for the rest, and records what is
    /// pending; tells how many tasks were loaded. Where the store is busy for too long, `None`: nothing is lost, and the next
    /// visit tries again.
    pub(super) fn visit(
        &mut self,
        selected: &[Candidate],
        queue: &Queue,
        summary: &mut Summary,
    ) -> Result<Option<usize>> {
        self.keep();
        self.sort();
        let visited = timed(self.store, |session| {
            let tasks = session.load(self.job, self.policy, self.due_at, selected)?;
            let loaded = tasks.len();
            queue.extend(tasks);
            Ok((session.record(self.job, &self.pending)?, loaded))
        });
        self.last_visit = Instant::now();
        let ((recorded, loaded), opening) = match visited {
            Err(error) if error.kind == Kind::Busy => {
                warn!("{}; {} outcomes wait", error.message, self.pending.len());
                return Ok(None);
            }
            visited => visited?,
        };
        self.opening = self.opening.min(opening);
        self.count(&recorded, summary);
        Ok(Some(loaded))
    }

    /// Puts what is pending in the order of the store, where neighbours are found together.
    fn sort(&mut self) {
        self.pending.sort_unstable_by_key(|one| one.place);
    }

    /// Records what is left and, if it is to be remembered, what the run did.
    pub(super) fn finish(mut self, summary: &mut Summary, remember: bool) -> Result<()> {
        summary.run.outage = self.suspects_outage();
        if summary.run.outage {
            let spared = std::mem::take(&mut self.doubtful).len();
            summary.run.dropped += spared as u64;
            warn!(
                "our own network seems to be down: {spared} failures are not charged, the rest is left to the next run"
            );
        }
        self.charge_doubtful(summary);
        self.keep();
        self.sort();
        // What was learnt would be lost.
        self.store.patient(LAST_WAIT).session(|session| {
            let recorded = session.record(self.job, &self.pending)?;
            self.count(&recorded, summary);
            if remember { session.remember_run(self.job.no, &summary.run) } else { Ok(()) }
        })
    }

    /// Takes what is kept to its database. It comes before the outcomes, so that a run that is killed polls again what it
    /// has not kept. Where it can't be kept, the outcomes still count.
    fn keep(&mut self) {
        self.kept_size = 0;
        if let Err(error) = self.store.keep(&std::mem::take(&mut self.kept), &self.limits) {
            warn!("results could not be kept: {error}");
        }
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

//! A run: one execution of `poll`, for one app, job and batch.
//!
//! Select with the store open, poll with the store closed, open it again to record outcomes in groups.

mod lock;
mod metrics;
mod outage;
mod pool;
mod progress;
mod queue;
mod recorder;
mod signals;
mod summary;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use tracing::{info, info_span, warn};

use crate::batch::Batch;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::listener::{Listeners, Phase, RunEvent};
use crate::model::{AppMeta, CxnId, JobName, UnixTime, host_hash};
use crate::retry::Policy;
use crate::site::Client;
use crate::store::{AppNo, Candidate, CxnKey, Job, RunRecord, Session, Store, Task};

use lock::Claim;
use outage::PROBES;
use queue::Queue;
use recorder::{Recorder, timed};

pub(crate) use progress::Progress;
pub use progress::suspended;
pub use signals::Signals;
pub use summary::{Summary, run_json, run_text};

/// What a run is to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The app.
    pub app: AppMeta,
    /// The job.
    pub job: JobName,
    /// The batch.
    pub batch: Batch,
    /// The retry expression.
    pub policy: Policy,
    /// The moment that sites are judged by, and that becomes their lastRun.
    pub now: UnixTime,
    /// Workers, at least 1.
    pub threads: usize,
    /// Polls at a time on one host, at least 1.
    pub per_host: usize,
    /// After this time no new poll starts.
    pub max_runtime: Option<Duration>,
    /// At most so many polls.
    pub limit: Option<usize>,
    /// This connection alone, due or not.
    pub only: Option<CxnId>,
    /// Whether a progress bar is drawn (on a terminal).
    pub progress: bool,
    /// What is called at each visit, and around the run.
    pub listeners: Listeners,
}

/// The target of messages that people are told in another way, or not at all.
pub(crate) const FILE_ONLY: &str = "cxnpoll::file";
/// How long polls that are under way may go on once a run shall end.
const GRACE: Duration = Duration::from_secs(10);
/// At most so many connections are loaded and wait: 4 MiB, and no more visits to the store than recording needs.
const CHUNK: usize = 8192;
/// So many are loaded before the first poll starts; the others while these are polled.
const FIRST: usize = 1024;
/// When no more than so many wait, the next are loaded.
const FEW: usize = CHUNK / 4;
/// How often the coordinator looks at signals and clocks.
const TICK: Duration = Duration::from_millis(50);
/// For how long outcomes gather before they are looked at: to be woken for each of them takes time from those who poll.
const GATHER: Duration = Duration::from_millis(2);

/// What was selected.
struct Selection {
    job: Job,
    due: Vec<Candidate>,
    /// The [`FIRST`] of it, loaded.
    first: Vec<Task>,
    /// How long the session took beside its work.
    opening: Duration,
}

impl Plan {
    /// Hands out what would be polled, without polling or writing anything. Goes in slices, as a run does.
    ///
    /// # Errors
    /// Those of the store and of `emit`; [`Kind::NotFound`] for a connection that isn't there.
    pub fn dry_run(&self, store: &Store, mut emit: impl FnMut(Task) -> Result<()>) -> Result<()> {
        if self.is_off() {
            return Ok(());
        }
        store.in_use(|| {
            let selected = store.session(|session| {
                let Some(app) = session.app(&self.app.app_id)? else { return Ok(None) };
                let job = session.job(app, &self.job)?;
                let mut due = self.select(session, app, job.as_ref())?;
                self.arrange(&mut due, job.as_ref());
                Ok(Some((app, job, due)))
            })?;
            let Some((app, job, due)) = selected else { return Ok(()) };
            for some in due.chunks(CHUNK) {
                let load = |session: &Session| {
                    let load = |one: &Candidate| session.task(app, job.as_ref(), one).transpose();
                    some.iter().filter_map(load).collect::<Result<Vec<_>>>()
                };
                store.session(load)?.into_iter().try_for_each(&mut emit)?;
            }
            Ok(())
        })
    }

    /// Polls what is due and records how it went.
    ///
    /// # Errors
    /// [`Kind::Declined`] where another run covers any of the batch, those of the store, [`Kind::NotFound`] for a
    /// connection that isn't there, and [`Kind::Config`] where a listener before or after the polls fails or a listener
    /// program doesn't work.
    pub fn run(&self, store: &Store, client: &Arc<Client>, config: &Config, signals: &Signals) -> Result<Summary> {
        let began = Instant::now();
        let (app, job, batch) = (self.app.app_id.short(), self.job.as_str(), self.batch.to_string());
        // What is logged from here on tells which run it is about.
        let _run = info_span!("run", run = %random_id(), app, job, batch).entered();
        if self.is_off() {
            return Ok(self.summary());
        }
        let out_of_time = || self.max_runtime.is_some_and(|limit| began.elapsed() >= limit);
        let range = match &self.only {
            None => self.batch.range(),
            Some(cxn_id) => {
                let place = store.session(|session| Ok(find(session, self, cxn_id)?.place))?;
                place.batch_code..=place.batch_code
            }
        };
        let claim = Claim { folder: store.runs(), app_id: self.app.app_id.clone(), job: self.job.clone(), range };
        // Who asks for one connection by hand waits for the run that has it.
        let told = Cell::new(false);
        let wait = || {
            let waits = self.only.is_some() && signals.asked().is_none() && !out_of_time();
            if waits && !told.replace(true) {
                warn!("another runner is at work on this connection's batch: waiting for it");
            }
            waits
        };
        store.in_use(|| claim.hold(wait, || self.run_alone(store, client, config, signals)))
    }

    /// Whether the app is switched off, so that nothing is polled.
    fn is_off(&self) -> bool {
        if self.app.disabled {
            info!("{} is switched off", self.app.app_id);
        }
        self.app.disabled
    }

    /// A summary of nothing yet.
    fn summary(&self) -> Summary {
        Summary {
            app_id: self.app.app_id.clone(),
            job: self.job.clone(),
            run: RunRecord { now: self.now, batch: self.batch.to_string(), ..RunRecord::default() },
            durations: Vec::new(),
            interrupted: None,
        }
    }

    /// The run itself, with its claim held.
    fn run_alone(&self, store: &Store, client: &Arc<Client>, config: &Config, signals: &Signals) -> Result<Summary> {
        let began = Instant::now();
        let mut summary = self.summary();
        if self.only.is_none() && store.nothing_is_due(&self.app.app_id, &self.job, &self.policy, self.now) {
            return Ok(summary);
        }
        let Some(Selection { job, due, first, opening }) = self.prepare(store, signals)? else { return Ok(summary) };
        summary.run.due = due.len() as u64;
        if due.is_empty() {
            return Ok(summary);
        }
        if self.app.app_cert.is_empty() {
            warn!("{} has no certificate: its calls are sent without one", self.app.app_id);
        }
        if let Some(warning) = self.app.tls_warning() {
            warn!("{warning}");
        }

        self.fire(summary.run.due, None)?;
        let limits: HashMap<u32, usize> =
            config.per_host.iter().map(|(host, limit)| (host_hash(host), *limit)).collect();
        let (per_host, threads) = (self.per_host, self.threads.min(due.len()));
        let queue = Arc::new(Queue::new(threads, move |host| limits.get(&host).copied().unwrap_or(per_host)));
        let mut recorder = Recorder::new(store, &job, &self.policy, self.now, self.due_at(), config.results, opening);
        let mut rest = &due[due.len().min(FIRST)..];
        let mut outstanding = first.len();
        queue.extend(first);
        let (workers, polled) = pool::start(self, threads, &queue, client, config.results)?;
        let progress = Progress::begin(due.len(), self.progress);

        let mut stopped: Option<Instant> = None;
        // Since when our own network is under suspicion.
        let mut suspected: Option<Instant> = None;
        let mut broken: Option<Error> = None;
        loop {
            // Where the next must be loaded there is no time to wait.
            let is_short = !rest.is_empty() && queue.waiting() < FEW;
            match polled.recv_timeout(if is_short { GATHER } else { TICK }) {
                Ok(first) => {
                    if outstanding > 1 {
                        std::thread::sleep(GATHER);
                    }
                    for polled in std::iter::once(first).chain(polled.try_iter()) {
                        outstanding -= 1;
                        if let Err(error) = recorder.add(polled, &mut summary) {
                            broken.get_or_insert(error);
                        }
                    }
                    progress.show(&summary, &queue);
                }
                Err(RecvTimeoutError::Timeout) => progress.show(&summary, &queue),
                // The workers are gone.
                Err(RecvTimeoutError::Disconnected) => break,
            }
            match (recorder.suspects_outage(), suspected) {
                (true, None) => {
                    suspected = Some(Instant::now());
                    queue.allow(Some(PROBES));
                }
                (false, Some(_)) => {
                    suspected = None;
                    queue.allow(None);
                }
                _ => {}
            }
            if let Some(since) = suspected {
                let nobody_polls = queue.is_idle() && outstanding == queue.waiting();
                summary.run.outage = nobody_polls || since.elapsed() > GRACE;
            }
            if stopped.is_none() {
                let out_of_time = self.max_runtime.is_some_and(|limit| began.elapsed() >= limit);
                if signals.asked().is_some() || out_of_time || summary.run.outage || broken.is_some() {
                    outstanding -= queue.abandon();
                    rest = &[];
                    stopped = Some(Instant::now());
                    info!(waiting_for = outstanding, "no new poll starts");
                    progress.ending(outstanding);
                }
            }
            if rest.is_empty() && outstanding == 0 || stopped.is_some_and(|since| since.elapsed() > GRACE) {
                break;
            }
            if recorder.is_time() || is_short && !rest.is_empty() {
                outstanding += refill(&mut recorder, &queue, &mut rest, &mut summary)?;
            }
        }
        drop(progress);
        queue.close();
        workers.end(&polled, outstanding > 0);
        summary.interrupted = signals.asked();
        summary.run.elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        // A poll by hand is not the job's last run.
        recorder.finish(&mut summary, self.only.is_none())?;
        let fired = self.fire(summary.run.due, Some(summary.to_json()));
        broken.map_or(fired, Err).map(|()| summary)
    }

    /// Tells listeners of the run's beginning, or with its `summary` of its end.
    fn fire(&self, due: u64, summary: Option<serde_json::Value>) -> Result<()> {
        let phase = if summary.is_some() { Phase::PostPoll } else { Phase::PrePoll };
        let mut event = RunEvent::new(&self.app, &self.job, self.batch, self.now, due, summary);
        self.listeners.of(&self.app.app_id, &self.job, phase).caller().run(&mut event)
    }

    /// Enrols what has no status yet, in slices, and selects; `None` where the app has no connections.
    fn prepare(&self, store: &Store, signals: &Signals) -> Result<Option<Selection>> {
        loop {
            let (selected, opening) = timed(store, |session| {
                let Some(app) = session.app(&self.app.app_id)? else { return Ok(Some(None)) };
                let job = session.ensure_job(app, &self.job)?;
                if !session.enrol(&job)? && signals.asked().is_none() {
                    return Ok(None);
                }
                self.note_retry(session, &job)?;
                // Enrolment may have changed what the job says of itself.
                let job = session.ensure_job(app, &self.job)?;
                let mut due = self.select(session, app, Some(&job))?;
                // Nothing that was polled in the past is due more than some seconds early.
                let ahead = due.iter().filter(|candidate| candidate.due > self.now.saturating_add(60)).count();
                if ahead > 0 {
                    warn!("{ahead} sites were last polled in the future, by a clock that was wrong: they are due now");
                }
                self.arrange(&mut due, Some(&job));
                let first = session.load(&job, &self.policy, self.due_at(), &due[..due.len().min(FIRST)])?;
                Ok(Some(Some((job, due, first))))
            })?;
            if let Some(selected) = selected {
                return Ok(selected.map(|(job, due, first)| Selection { job, due, first, opening }));
            }
        }
    }

    /// The moment at which what is polled must be due; a connection that is polled by hand need not.
    fn due_at(&self) -> Option<UnixTime> {
        self.only.is_none().then_some(self.now)
    }

    /// What is to be polled. For a job that never ran that is everything.
    fn select(&self, session: &Session, app: AppNo, job: Option<&Job>) -> Result<Vec<Candidate>> {
        match (&self.only, job) {
            (Some(cxn_id), _) => {
                Ok(vec![Candidate { place: find(session, self, cxn_id)?.place, host: 0, due: self.now }])
            }
            (None, Some(job)) => session.due(job, &self.policy, &self.batch.range(), self.now),
            (None, None) => session.not_enrolled(app, None, &self.batch.range()),
        }
    }

    /// Puts what is due in its order. After an outage that is another one each time: where it was none, but a hoster that
    /// died, its sites would else be the most overdue from now on, and come first each time.
    fn arrange(&self, due: &mut Vec<Candidate>, job: Option<&Job>) {
        queue::order(due, self.per_host, job.and_then(|job| job.outage_since).map(|_| self.now));
        due.truncate(self.limit.unwrap_or(usize::MAX));
    }

    /// Remembers the expression, and warns where another one than the last time changes who is given up. A poll by hand
    /// changes nothing.
    fn note_retry(&self, session: &Session, job: &Job) -> Result<()> {
        let retry = self.policy.to_string();
        if self.only.is_some() || job.retry.as_ref() == Some(&retry) {
            return Ok(());
        }
        if let Some(before) = job.retry.as_ref().and_then(|before| before.parse::<Policy>().ok()) {
            let [old, new] =
                [&before, &self.policy].map(|policy| u32::try_from(policy.levels().len()).unwrap_or(u32::MAX));
            let affected = session.count_levels(job.no, old.min(new)..old.max(new))?;
            if affected > 0 {
                let effect = if new < old { "gives up" } else { "brings back" };
                warn!("the retry expression '{retry}' {effect} {affected} sites; the last run's was '{before}'");
            }
        }
        session.remember_retry(job.no, &retry)
    }
}

/// Tells the lines of one run in a log from those of others.
fn random_id() -> String {
    let mut bytes = [0; 4];
    // Without random numbers all runs are called the same.
    let _ = getrandom::fill(&mut bytes);
    hex::encode(bytes)
}

/// Puts the next of what is due into the queue and records what is pending; tells how many tasks that was.
fn refill(recorder: &mut Recorder, queue: &Queue, rest: &mut &[Candidate], summary: &mut Summary) -> Result<usize> {
    let room = CHUNK.saturating_sub(queue.waiting()).min(rest.len());
    let (next, later) = rest.split_at(room);
    let Some(loaded) = recorder.visit(next, queue, summary)? else { return Ok(0) };
    *rest = later;
    Ok(loaded)
}

/// The connection that was asked for by its id.
fn find(session: &Session, plan: &Plan, cxn_id: &CxnId) -> Result<CxnKey> {
    let missing = || Error::new(Kind::NotFound, format!("there is no connection {cxn_id}"));
    let key = session.find(cxn_id)?.ok_or_else(missing)?;
    let cxn = session.cxn(key)?.ok_or_else(missing)?;
    if cxn.app_id != plan.app.app_id {
        return Err(Error::new(
            Kind::NotFound,
            format!("{cxn_id} is a connection of {}, not of {}", cxn.app_id, plan.app.app_id),
        ));
    }
    if cxn.disabled {
        return Err(Error::new(Kind::Usage, format!("{cxn_id} is disabled")));
    }
    Ok(key)
}

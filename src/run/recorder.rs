//! Works on the store on a separate thread, so that a run never waits for it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

use tracing::{Span, info};

use super::message::{FinalReport, FinalWork, Message, SessionReport, SessionWork};
use super::poll_run::PollRun;
use super::selection::{self, Past, Selection, timed};
use super::summary::count_recorded;
use crate::store::error::{Error, Result};
use crate::store::{Entry, Frame, Job, Limits, RunProblems, RunRecord, SkipReason, StatusUpdate, Store, WriteSession};
use crate::util::text::panic_message;

/// How long the last session of a run waits for the store at least.
///
/// What it should record would be lost.
const FINAL_STORE_WAIT: Duration = Duration::from_secs(30);

enum Request {
    Select(Past),
    Session(SessionWork),
    Finish(FinalWork),
}

/// The thread that works on the store. It answers each request with messages to the coordinator, and ends when this is
/// dropped and the requests are done.
pub(super) struct Recorder {
    requests: Sender<Request>,
}

impl Recorder {
    /// Starts the thread. Waits for the store end early once the run is to stop, but for that of the last session.
    pub(super) fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        run: &'env PollRun,
        store: &'env Store,
        stop: &Arc<AtomicBool>,
        limits: Limits,
        messages: Sender<Message>,
    ) -> io::Result<Self> {
        let (requests, received) = channel();
        let cancellable = store.clone().with_cancel(Arc::clone(stop));
        let worker = Worker { run, store, cancellable, stop: Arc::clone(stop), limits, job: None, messages };
        let span = Span::current();
        let work = move || {
            let _run = span.enter();
            let messages = worker.messages.clone();
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| worker.serve(&received))) {
                let _ = messages.send(Message::RecorderPanicked(panic_message(&*panic)));
            }
        };
        Builder::new().name("recorder".to_owned()).spawn_scoped(scope, work)?;
        Ok(Self { requests })
    }

    /// Selects what is due: answered with [`Message::Selected`].
    pub(super) fn select(&self, past: Past) {
        self.request(Request::Select(past));
    }

    /// Starts a session: answered with [`Message::Loaded`] and [`Message::SessionEnded`].
    pub(super) fn start_session(&self, work: SessionWork) {
        self.request(Request::Session(work));
    }

    /// Starts the last session: answered with [`Message::Finished`].
    pub(super) fn finish(&self, work: FinalWork) {
        self.request(Request::Finish(work));
    }

    fn request(&self, request: Request) {
        // The thread ends when this is dropped. If it panicked before, it has sent a message about that.
        let _ = self.requests.send(request);
    }
}

struct Worker<'env> {
    run: &'env PollRun,
    store: &'env Store,
    /// The store, for waits that end early.
    cancellable: Store,
    /// Whether the run is to stop.
    stop: Arc<AtomicBool>,
    limits: Limits,
    /// The job, once it was selected.
    job: Option<Job>,
    messages: Sender<Message>,
}

impl Worker<'_> {
    fn serve(mut self, requests: &Receiver<Request>) {
        for request in requests {
            let message = match request {
                Request::Select(past) => Message::Selected(self.select(&past)),
                Request::Session(work) => Message::SessionEnded(self.session(work)),
                Request::Finish(work) => Message::Finished(self.finish(work)),
            };
            if self.messages.send(message).is_err() {
                // The coordinator is gone.
                return;
            }
        }
    }

    fn select(&mut self, past: &Past) -> std::result::Result<Option<Selection>, super::Error> {
        let selection = selection::select(self.run, &self.cancellable, past, &self.stop)?;
        self.job = selection.as_ref().map(|selection| selection.job.clone());
        Ok(selection)
    }

    fn session(&self, work: SessionWork) -> SessionReport {
        let SessionWork { load, results, updates } = work;
        let results_error = match self.cancellable.keep_results(&results, &self.limits) {
            // Results come before outcomes, so both are left to the last session.
            Err(Error::Cancelled) => {
                return SessionReport { updates, results, recorded: Err(Error::Cancelled), results_error: None };
            }
            stored => stored.err(),
        };
        let results = Vec::new();
        if load.is_empty() && updates.is_empty() {
            return SessionReport { updates, results, recorded: Ok(None), results_error };
        }
        let recorded = timed(&self.cancellable, |session| {
            if let Some(job) = self.job.as_ref().filter(|_| !load.is_empty()) {
                let tasks = session.load(job, &self.run.policy, self.run.due_at(), &load)?;
                // Polling goes on while outcomes are recorded.
                let _ = self.messages.send(Message::Loaded(tasks));
            }
            self.record(session, &updates)
        });
        SessionReport { updates, results, recorded: recorded.map(Some), results_error }
    }

    fn finish(&self, work: FinalWork) -> FinalReport {
        let FinalWork { work: SessionWork { results, updates, .. }, mut record, is_last_run } = work;
        let began = Instant::now();
        let results_error = self.store.keep_results(&results, &self.limits).err();
        let recorded = self.store.with_min_timeout(FINAL_STORE_WAIT).write(|session| {
            let waited = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            record.elapsed_ms = record.elapsed_ms.saturating_add(waited);
            let recorded = self.record(session, &updates)?;
            count_recorded(&mut record, &self.run.policy, &updates, &recorded);
            if let Some(job) = self.job.as_ref().filter(|_| is_last_run) {
                let problems = problems_of(&record);
                if problems != job.last_run.as_ref().map(problems_of).unwrap_or_default() {
                    self.add_to_history(session, vec![Entry::RunProblems(problems)])?;
                }
                session.remember_run(job.no, &record)?;
            }
            Ok(record)
        });
        FinalReport { recorded, results_error }
    }

    /// Adds entries of this run to history, before the store records what they are about.
    fn add_to_history(&self, session: &WriteSession, entries: Vec<Entry>) -> Result<()> {
        let job = Some((self.run.app.app_id.clone(), self.run.job.clone()));
        self.store.history().append(session, Frame { at: self.run.now, job, entries })
    }

    fn record(&self, session: &WriteSession, updates: &[StatusUpdate]) -> Result<Vec<bool>> {
        let Some(job) = &self.job else { return Ok(Vec::new()) };
        self.store.history().begin(session, self.run.now)?;
        self.add_to_history(session, session.transitions(job, updates)?)?;
        let of_run = (&self.run.app.app_id, job, self.run.now);
        for moved in session.adopt_site_urls(&self.store.history(), of_run, updates)? {
            info!("{}: permanent redirects are followed: {moved}", moved.cxn_id);
        }
        let recorded = session.record_outcomes(job, updates)?;
        for (update, _) in updates.iter().zip(&recorded).filter(|(_, recorded)| !**recorded) {
            info!(seq = update.locator.seq, "outcome dropped: the connection was changed while it was polled");
        }
        Ok(recorded)
    }
}

/// The problems of a run.
fn problems_of(run: &RunRecord) -> RunProblems {
    let down = run.skipped_hosts_by_sites().into_iter().filter(|host| host.reason == SkipReason::Down);
    RunProblems {
        fault: run.outage_cause.filter(|_| run.outage),
        behind_since: run.behind_since,
        down: down.map(|host| (host.address, host.sites)).collect(),
    }
}

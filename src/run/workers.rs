//! The workers: threads that each draw from the one queue.

use std::any::Any;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tracing::{Span, warn};

use super::Error;
use super::fd_limit::clamp_to_fd_limit;
use super::message::{Message, PollResult};
use super::paused_hosts::PausedHosts;
use super::poll_run::PollRun;
use super::queue::{FailedLookup, MAX_LOOKUPS_AHEAD, Queue, Taken};
use crate::listener::{Dispatcher, ListenerChain, Phase, PollEvent};
use crate::model::{Cxn, Failure, FailureClass, Outcome, PollTrace};
use crate::site::{Api, Client};
use crate::store::{EncodedResult, Limits, StoredResult};
use crate::util::text::{count, panic_message};

/// A worker's stack in bytes: a reply nested as deep as the protocol allows must fit. Only what is used takes memory.
const STACK_BYTES: usize = 4 << 20;
/// Memory that is kept for polls and the store while workers start, in bytes. It is not touched.
const RESERVED_BYTES: usize = 24 << 20;
/// Descriptors of a listener program: its streams, its exit, and the pipe to its guard.
const FILES_PER_PROGRAM: u64 = 5;
/// How long workers get to end their listener programs.
const PROGRAM_EXIT_WAIT: Duration = Duration::from_secs(3);

/// The workers that were started.
pub(super) struct Workers {
    listeners: ListenerChain,
    /// Disconnected once all workers have ended.
    alive: Receiver<()>,
}

impl Workers {
    /// Waits until the workers have ended their listener programs, and kills those that still run.
    ///
    /// With `stuck`, workers hang in polls. They are not waited for, but the programs that they started are killed.
    pub(super) fn end(&self, stuck: bool) {
        if !stuck && self.listeners.has_programs() {
            // No worker ever sends: this waits for the disconnection or the timeout.
            let _ = self.alive.recv_timeout(PROGRAM_EXIT_WAIT);
        }
        self.listeners.kill();
    }
}

/// What the workers share.
pub(super) struct Shared {
    run: PollRun,
    queue: Arc<Queue>,
    client: Arc<Client>,
    paused_hosts: Arc<PausedHosts>,
    listeners: ListenerChain,
    limits: Limits,
    started: Instant,
    span: Span,
    /// How many workers work, once all are started. The others end at once.
    working: OnceLock<usize>,
}

impl Shared {
    /// What the workers of a run share that began at `started`.
    pub(super) fn new(
        run: &PollRun,
        queue: &Arc<Queue>,
        client: &Arc<Client>,
        paused_hosts: &Arc<PausedHosts>,
        limits: Limits,
        started: Instant,
    ) -> Self {
        let listeners = run.listeners.of(&run.app.app_id, &run.job, Phase::Poll);
        Self {
            run: run.clone(),
            queue: Arc::clone(queue),
            client: Arc::clone(client),
            paused_hosts: Arc::clone(paused_hosts),
            listeners,
            limits,
            started,
            span: Span::current(),
            working: OnceLock::new(),
        }
    }
}

/// Starts up to `threads` workers on a queue that is still empty. They end when it is closed and empty.
///
/// If the system does not start all of them, the run goes on with three quarters of those that it starts.
///
/// # Errors
/// [`Error::NoThread`] if the system starts none.
pub(super) fn start(shared: Shared, threads: usize, messages: &Sender<Message>) -> Result<Workers, Error> {
    let files_per_worker = if shared.listeners.has_programs() { FILES_PER_PROGRAM } else { 0 };
    let wanted = threads.max(1);
    let threads = clamp_to_fd_limit(wanted, files_per_worker);
    let (alive, ended) = channel();
    let workers = Workers { listeners: shared.listeners.clone(), alive: ended };
    let shared = Arc::new(shared);
    let start = |index| {
        let (shared, messages, alive) = (Arc::clone(&shared), messages.clone(), Sender::<()>::clone(&alive));
        let work = move || {
            let _alive = alive;
            let work = || shared.work(&messages);
            // A poll whose outcome never arrives would make the run wait for ever.
            if index < *shared.working.wait() && catch_unwind(AssertUnwindSafe(work)).is_err() {
                process::abort();
            }
        };
        thread::Builder::new().name(format!("poll-{index}")).stack_size(STACK_BYTES).spawn(work)
    };
    let mut reserve = Vec::<u8>::new();
    let startable = if reserve.try_reserve_exact(RESERVED_BYTES).is_ok() { threads } else { 1 };
    let mut working = (0..startable).take_while(|index| start(*index).is_ok()).count();
    // Otherwise the compiler may leave out memory that is not used.
    drop(black_box(reserve));
    if working < threads {
        // What other threads, programs and polls need must be left.
        working -= working / 4;
        if working == 0 {
            start(0).map_err(|error| Error::NoThread(error.to_string()))?;
            working = 1;
        }
        let sites = count(working as u64, "site");
        warn!("only {sites} at the same time, not {threads}: the system allows no more threads (ulimit -u, -v)");
    }
    // Each lookup takes a thread and an open file too.
    let max_lookups = if working < wanted { working.min(MAX_LOOKUPS_AHEAD) } else { MAX_LOOKUPS_AHEAD };
    shared.client.set_max_lookups_ahead(max_lookups);
    shared.queue.set_workers(working, max_lookups);
    shared.client.set_max_lookups_ahead(working);
    shared.working.get_or_init(|| working);
    Ok(workers)
}

impl Shared {
    fn work(&self, messages: &Sender<Message>) {
        let _run = self.span.enter();
        let mut dispatcher = self.listeners.dispatcher();
        while let Some(Taken { task, addresses, failed_lookup }) = self.queue.take() {
            if self.paused_hosts.contains(|| addresses.to_vec()) {
                self.queue.done(&task, None);
                if messages.send(Message::PollSkipped).is_err() {
                    return;
                }
                continue;
            }
            let taken = self.started.elapsed();
            let trace = Mutex::default();
            // Any other panic ends the process.
            let polled = catch_unwind(AssertUnwindSafe(|| self.poll(&mut dispatcher, &task.cxn, &trace)));
            let polled = polled.unwrap_or_else(|panic| Ok((Err(panicked(&*panic)), None)));
            let ended = self.started.elapsed();
            let (outcome, result) = match polled {
                Ok((outcome, result)) => (Ok(outcome), result),
                Err(error) => (Err(error), None),
            };
            let trace = trace.into_inner().unwrap_or_else(PoisonError::into_inner);
            self.queue.done(&task, trace.address.filter(|_| trace.replied));
            let (began, queued) = self.beginning(taken, failed_lookup.filter(|_| !trace.answered));
            let polled = PollResult { task, addresses, outcome, result, trace, began, queued, ended };
            let polled = Message::PollEnded(polled);
            if messages.send(polled).is_err() {
                // The run is over.
                return;
            }
        }
    }

    /// When a poll began, and for how long it waited for a worker since then.
    ///
    /// `taken` is when a worker took it. All times are since the run began.
    ///
    /// A poll that fails for its lookup began with the lookup: a reply to a poll that began later shows that the network
    /// worked.
    fn beginning(&self, taken: Duration, failed_lookup: Option<FailedLookup>) -> (Duration, Duration) {
        let Some(FailedLookup { began, ended }) = failed_lookup else { return (taken, Duration::ZERO) };
        let [began, ended] = [began, ended].map(|at| at.saturating_duration_since(self.started));
        (began, taken.saturating_sub(ended))
    }

    /// Polls a connection; returns the outcome and the result that a listener keeps.
    fn poll(
        &self,
        dispatcher: &mut Dispatcher,
        cxn: &Cxn,
        trace: &Mutex<PollTrace>,
    ) -> Result<(Outcome, Option<EncodedResult>), Error> {
        let run = &self.run;
        let api = Api::new(&self.client, cxn, &run.app.app_cert).traced(trace);
        let mut event = PollEvent::new(&run.app, &run.job, cxn, run.now, Some(api), run.only.is_some());
        let outcome = dispatcher.poll(&mut event)?;
        let kept = event.into_kept().filter(|_| self.limits.all > 0);
        let result = kept.map(|value| self.encode(cxn, &outcome, value)).transpose()?;
        Ok((outcome, result))
    }

    /// Encodes what a listener keeps.
    ///
    /// The value itself takes much more memory, and many may wait for the recorder.
    fn encode(&self, cxn: &Cxn, outcome: &Outcome, value: Value) -> Result<EncodedResult, Error> {
        let (cxn_id, app_id, job) = (cxn.cxn_id.clone(), cxn.app_id.clone(), self.run.job.clone());
        let failure = outcome.as_ref().err().cloned();
        let result = StoredResult { cxn_id, app_id, job, at: self.run.now, failure, bytes: 0, value };
        result.encode(&self.limits).map_err(Error::Store)
    }
}

/// The failure of a poll that panicked.
fn panicked(panic: &(dyn Any + Send)) -> Failure {
    Failure::new(FailureClass::Listener, format!("the poll panicked: {}", panic_message(panic)))
}

//! The workers: threads that each draw from the one queue.

use std::any::Any;
use std::hint::black_box;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tracing::{Level, Span, enabled, info, info_span, warn};

use super::Error;
use super::fd_limit::clamp_to_fd_limit;
use super::follow::{MIN_DAYS, follow};
use super::machine::{self, CpuTime, MemoryLimit};
use super::message::{Message, PollResult, Redirect};
use super::poll_run::PollRun;
use super::queue::{FailedLookup, MAX_LOOKUPS_AHEAD, Queue, Taken};
use super::update::FILE_ONLY;
use super::worker_count::{DECISION_INTERVAL, Demand, FIRST_WORKERS, MOST_WORKERS, WorkerCount};
use crate::config::Config;
use crate::listener::{Dispatcher, ListenerChain, Phase, PollEvent};
use crate::model::{Cxn, Failure, FailureClass, Outcome, SeenRedirect, Threads};
use crate::site::{Api, Client, NotFollowed, PollCalls, Redirection, Targets};
use crate::store::{EncodedResult, Limits, PollTask, StoredResult};
use crate::util::text::{count, panic_message, sanitize};

/// A worker's stack in bytes: a reply nested as deep as the protocol allows must fit. Only what is used takes memory.
const STACK_BYTES: usize = 4 << 20;
/// What a worker takes of a limited address space, in bytes. The allocator of the packages has memory for each thread.
const WORKER_BYTES: usize = STACK_BYTES + if cfg!(target_env = "musl") { 4 << 20 } else { 0 };
/// Memory that is kept for polls and the store while workers start, in bytes. It is not touched.
const RESERVED_BYTES: usize = 24 << 20;
/// The stack of the thread that adds workers, in bytes.
const ADDING_STACK_BYTES: usize = 256 << 10;
/// Descriptors of a listener program: its streams, its exit, and the pipe to its guard.
const FILES_PER_PROGRAM: u64 = 5;
/// How long workers get to end their listener programs.
const PROGRAM_EXIT_WAIT: Duration = Duration::from_secs(3);

/// The workers that were started.
pub(super) struct Workers {
    listeners: ListenerChain,
    /// Disconnected once all workers have ended.
    alive: Receiver<()>,
    /// When this is dropped, no worker is added any longer.
    _adding: Sender<()>,
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
    listeners: ListenerChain,
    limits: Limits,
    started: Instant,
    span: Span,
    /// Whether connections are kept for other sites of a host.
    keeps_spare: bool,
    /// Whether sites are followed to the targets of permanent redirects.
    follows: bool,
}

impl Shared {
    /// What the workers of a run share that began at `started`.
    pub(super) fn new(
        run: &PollRun,
        queue: &Arc<Queue>,
        client: &Arc<Client>,
        config: &Config,
        started: Instant,
    ) -> Self {
        let listeners = run.listeners.of(&run.app.app_id, &run.job, Phase::Poll);
        Self {
            run: run.clone(),
            queue: Arc::clone(queue),
            client: Arc::clone(client),
            listeners,
            limits: config.results,
            started,
            span: Span::current(),
            keeps_spare: false,
            follows: config.follow.permanent,
        }
    }
}

/// Starts workers on a queue that is still empty, for a run in which so many sites are due. They end when it is closed and
/// empty.
///
/// If their number is automatic, a thread adds more.
///
/// # Errors
/// [`Error::NoThread`] if the system starts none.
pub(super) fn start(shared: Shared, due: usize, messages: &Sender<Message>) -> Result<Workers, Error> {
    let has_programs = shared.listeners.has_programs();
    let [wanted, most] = bounds(shared.run.threads, has_programs).map(|workers| workers.min(due).max(1));
    let (most, keeps_spare) = clamp_to_fd_limit(most, wanted, if has_programs { FILES_PER_PROGRAM } else { 0 });
    let first = wanted.min(most);
    let memory = MemoryLimit::read();
    let (alive, ended) = channel();
    let listeners = shared.listeners.clone();
    let crew = Crew { shared: Arc::new(Shared { keeps_spare, ..shared }), messages: messages.clone(), alive };
    let mut workers = crew.start(0, first.min(machine::room_in_address_space(WORKER_BYTES)));
    if workers < first {
        if workers == 0 {
            crew.spawn(0, &Arc::new(OnceLock::from(1))).map_err(|error| Error::NoThread(error.to_string()))?;
            workers = 1;
        }
        let sites = count(workers as u64, "site");
        warn!("only {sites} at the same time, not {first}: the system allows no more threads (ulimit -u, -v)");
    }
    // Each lookup takes a thread and an open file too.
    crew.announce(workers, if workers < wanted { workers.min(MAX_LOOKUPS_AHEAD) } else { MAX_LOOKUPS_AHEAD });
    let (adding, end) = channel();
    if workers == first && first < most {
        // If the system starts no thread for it, none is added.
        let builder = thread::Builder::new().name("workers".to_owned()).stack_size(ADDING_STACK_BYTES);
        let _ = builder.spawn(move || crew.add_workers(workers, most, &memory, &end));
    }
    Ok(Workers { listeners, alive: ended, _adding: adding })
}

/// How many workers start, and how many there may be.
///
/// With listener programs none is added, since each worker may keep a process running, whose memory is unknown.
fn bounds(threads: Threads, has_programs: bool) -> [usize; 2] {
    match threads {
        Threads::Fixed(workers) => [workers, workers],
        Threads::Auto if has_programs => [FIRST_WORKERS, FIRST_WORKERS],
        Threads::Auto => [FIRST_WORKERS, MOST_WORKERS],
    }
}

/// What is needed to start a worker.
struct Crew {
    shared: Arc<Shared>,
    messages: Sender<Message>,
    alive: Sender<()>,
}

impl Crew {
    /// Starts workers in addition to `workers`, up to `wanted`; returns how many there are then.
    ///
    /// If the system does not start all of them, three quarters of all remain, but those that there were in any case. What
    /// other threads, programs and polls need must be left.
    fn start(&self, workers: usize, wanted: usize) -> usize {
        let working = Arc::new(OnceLock::new());
        let mut reserve = Vec::<u8>::new();
        let startable = if reserve.try_reserve_exact(RESERVED_BYTES).is_ok() { wanted } else { workers + 1 };
        let started = (workers..startable).take_while(|index| self.spawn(*index, &working).is_ok()).count();
        // Otherwise the compiler may leave out memory that is not used.
        drop(black_box(reserve));
        let total = workers + started;
        *working.get_or_init(|| if total < wanted { workers.max(total - total / 4) } else { total })
    }

    /// Starts a worker, which works if its index is less than `working`.
    fn spawn(&self, index: usize, working: &Arc<OnceLock<usize>>) -> io::Result<()> {
        let (shared, messages, alive) = (Arc::clone(&self.shared), self.messages.clone(), self.alive.clone());
        let working = Arc::clone(working);
        let work = move || {
            let _alive = alive;
            let work = || shared.work(&messages);
            // A poll whose outcome never arrives would make the run wait for ever.
            if index < *working.wait() && catch_unwind(AssertUnwindSafe(work)).is_err() {
                process::abort();
            }
        };
        thread::Builder::new().name(format!("poll-{index}")).stack_size(STACK_BYTES).spawn(work).map(drop)
    }

    /// Passes the number of workers on, and how many names may be looked up at a time.
    fn announce(&self, workers: usize, max_lookups: usize) {
        self.shared.queue.set_workers(workers, max_lookups);
        // Without a receiver the run is over.
        let _ = self.messages.send(Message::Workers(workers));
    }

    /// Adds workers to `workers` while it pays, up to `most`, until the run ends.
    fn add_workers(&self, mut workers: usize, most: usize, memory: &MemoryLimit, end: &Receiver<()>) {
        let _run = self.shared.span.enter();
        let processors = machine::processors();
        let cpu = || CpuTime::read(self.shared.started.elapsed(), processors);
        let mut rule = WorkerCount::new(processors, cpu());
        while workers < most && end.recv_timeout(DECISION_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            let Some((ready, polling)) = self.shared.queue.demand() else { return };
            let room = || memory.room(workers, WORKER_BYTES).min(most - workers);
            let more = rule.more(self.shared.started.elapsed(), Demand { workers, polling, ready }, cpu, room);
            if more > 0 {
                let wanted = workers + more;
                workers = self.start(workers, wanted);
                info!(target: FILE_ONLY, "{workers} sites at a time");
                self.announce(workers, MAX_LOOKUPS_AHEAD);
                if workers < wanted {
                    // The system allows no more threads.
                    return;
                }
            }
        }
    }
}

impl Shared {
    fn work(&self, messages: &Sender<Message>) {
        let _run = self.span.enter();
        let mut dispatcher = self.listeners.dispatcher();
        while let Some(Taken { task, addresses, limit, failed_lookup }) = self.queue.take() {
            let taken = self.started.elapsed();
            let is_awaited = || self.keeps_spare && self.queue.is_awaited(&task);
            // The built-in listener makes one call.
            let calls = PollCalls::new(!self.listeners.is_empty() || is_awaited());
            let logs = enabled!(Level::INFO);
            let site_url = if logs { sanitize(&task.cxn.site_url.without_query()) } else { String::new() };
            // What listeners log names the connection.
            let named = info_span!("poll", cxn = %task.cxn.cxn_id, siteUrl = %site_url);
            // Any other panic ends the process.
            let polled = catch_unwind(AssertUnwindSafe(|| {
                named.in_scope(|| self.poll_and_follow(&mut dispatcher, &task, &calls))
            }));
            let polled = polled.unwrap_or_else(|panic| Ok((Err(panicked(&*panic)), None, None)));
            let ended = self.started.elapsed();
            let (outcome, result, redirect) = match polled {
                Ok((outcome, result, redirect)) => (Ok(outcome), result, redirect),
                Err(error) => (Err(error), None, None),
            };
            let trace = self.client.end_poll(calls, is_awaited);
            let (began, queued) = self.beginning(taken, failed_lookup.filter(|_| !trace.answered));
            let polled =
                PollResult { task, site_url, addresses, limit, outcome, result, redirect, trace, began, queued, ended };
            if !polled.may_hold_host() {
                self.queue.done(&polled.task, polled.good());
            }
            if messages.send(Message::PollEnded(polled)).is_err() {
                // The run is over.
                return;
            }
        }
        self.client.close_connections();
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

    /// Polls a connection, and follows its redirect if that was met on enough days.
    ///
    /// A target that is not adopted is tried once a day. If it was followed, the outcome and the result are those of the poll at
    /// its new siteUrl.
    fn poll_and_follow(
        &self,
        dispatcher: &mut Dispatcher,
        task: &PollTask,
        calls: &PollCalls,
    ) -> Result<(Outcome, Option<EncodedResult>, Option<Redirect>), Error> {
        let PollTask { cxn, status, .. } = task;
        let (outcome, result) = self.poll(dispatcher, cxn, calls)?;
        // Redirects do not use a viaPort.
        if !self.follows || cxn.via_port.is_some() {
            return Ok((outcome, result, None));
        }
        let may_be_adopted = |to: &Redirection| to.adopted(&cxn.site_url, Targets::SameDomain).is_ok();
        let Some(first) = calls.redirection().filter(may_be_adopted) else { return Ok((outcome, result, None)) };
        let seen = SeenRedirect::again(status.redirect, first.fingerprint(&cxn.site_url), self.run.now);
        let was_met_today = status.redirect.is_some_and(|before| before.last_day == seen.last_day);
        if seen.days < MIN_DAYS || was_met_today {
            return Ok((outcome, result, Some(Redirect { seen, adopted: None })));
        }
        let followed = follow(cxn, first, Targets::SameDomain, |cxn| {
            let calls = PollCalls::default();
            let (outcome, result) = self.poll(dispatcher, cxn, &calls)?;
            Ok((outcome, result, calls.redirection()))
        });
        Ok(match followed? {
            Ok((site_url, result)) => (Ok(()), result, Some(Redirect { seen, adopted: Some(site_url) })),
            Err(reason) => {
                let reason = match reason {
                    NotFollowed::Failed { failure, .. } => failure.to_string(),
                    _ => "it redirects elsewhere".to_owned(),
                };
                info!("the target of a permanent redirect is not followed, and is tried again tomorrow: {reason}");
                (outcome, result, Some(Redirect { seen, adopted: None }))
            }
        })
    }

    /// Polls a connection; returns the outcome and the result that a listener keeps.
    fn poll(
        &self,
        dispatcher: &mut Dispatcher,
        cxn: &Cxn,
        calls: &PollCalls,
    ) -> Result<(Outcome, Option<EncodedResult>), Error> {
        let run = &self.run;
        let api = Api::new(&self.client, cxn, &run.app.app_cert).in_poll(calls);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_with_programs_are_not_added() {
        for (threads, has_programs, expected) in [
            (Threads::Auto, false, [32, 1024]),
            (Threads::Auto, true, [32, 32]),
            (Threads::Fixed(7), false, [7, 7]),
            (Threads::Fixed(500), true, [500, 500]),
        ] {
            assert_eq!(bounds(threads, has_programs), expected, "{threads}");
        }
    }
}

//! The workers: a pool of their own, each drawing from one queue.

use std::ops::Range;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rayon::ThreadPoolBuilder;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use tracing::{Span, warn};

use super::Plan;
use super::queue::Queue;
use crate::error::{Error, Kind, Result};
use crate::listener::{Chain, Phase, PollEvent};
use crate::model::{Cxn, Outcome};
use crate::site::{Api, Client, LOOK_UPS};
use crate::store::{Kept, Limits, Packed, Task};

/// A poll that is over.
pub(super) struct Polled {
    pub(super) task: Arc<Task>,
    /// An error is our own fault: the poll is not charged.
    pub(super) outcome: Result<Outcome>,
    /// What a listener keeps of it.
    pub(super) kept: Option<Packed>,
    pub(super) times: Range<Instant>,
}

/// A worker's stack: a reply that is nested as deep as the protocol allows must fit. Only what is used takes memory: 32 KiB as a
/// rule, as much as its buffers. With what the allocator keeps, a worker takes some 100 KiB, whatever the size of the stack.
const STACK: usize = 4 << 20;

/// Descriptors that the process needs beside those of its workers: standard streams, logs, locks, the database.
const OTHER_FILES: u64 = 64;
/// Descriptors of a program that listens: its three streams.
const PROGRAM_FILES: u64 = 3;

/// How long workers that have no more to do get for saying farewell to their programs.
const FAREWELL: Duration = Duration::from_secs(3);

/// The workers that were started.
pub(super) struct Workers(Chain);

impl Workers {
    /// Waits until all workers are gone, which is at once where no programs must end first. With `stuck`, some may hang in
    /// their last poll: those are not waited for, but what they started is killed.
    pub(super) fn end(&self, polled: &Receiver<Polled>, stuck: bool) {
        let until = Instant::now() + FAREWELL;
        while !stuck && self.0.has_programs() {
            match polled.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        self.0.kill();
    }
}

/// Starts up to `threads` workers.
///
/// Each does its whole work in the handler that the pool calls when a thread starts, and the pool itself never gets a
/// task: its workers would search each other for tasks, which at 1,000 threads took four fifths of the processor.
pub(super) fn start(
    plan: &Plan,
    threads: usize,
    queue: &Arc<Queue>,
    client: &Arc<Client>,
    limits: Limits,
) -> Result<(Workers, Receiver<Polled>)> {
    let (tell, polled) = channel();
    let (queue, client, plan) = (Arc::clone(queue), Arc::clone(client), plan.clone());
    let listeners = plan.listeners.of(&plan.app.app_id, &plan.job, Phase::Poll);
    let threads = affordable(threads.max(1), if listeners.has_programs() { PROGRAM_FILES } else { 0 });
    let workers = Workers(listeners.clone());
    let tell = Mutex::new(tell);
    let span = Span::current();
    let work = move |_| {
        let _run = span.enter();
        // Nothing panics while it holds the lock.
        let tell = tell.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut caller = listeners.caller();
        while let Some(task) = queue.take() {
            let began = Instant::now();
            let cxn = &task.cxn;
            let api = Api::new(&client, cxn, &plan.app.app_cert);
            let by_hand = plan.only.is_some();
            let mut event = PollEvent::new(&plan.app, &plan.job, cxn, plan.now, Some(api), by_hand);
            let outcome = caller.poll(&mut event);
            let times = began..Instant::now();
            let kept = event.into_kept().filter(|_| limits.all > 0);
            let packed = match (&outcome, kept) {
                (Ok(outcome), Some(value)) => pack(&plan, cxn, outcome, value, &limits).map(Some),
                _ => Ok(None),
            };
            let (outcome, kept) = match packed {
                Ok(kept) => (outcome, kept),
                Err(error) => (Err(error), None),
            };
            queue.done(&task);
            if tell.send(Polled { task, outcome, kept, times }).is_err() {
                // The run is over and nobody listens.
                return;
            }
        }
    };
    // The pool goes out of scope, and its threads with it when their work is done.
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .stack_size(STACK)
        .thread_name(|index| format!("poll-{index}"))
        .start_handler(work)
        .build()
        .map_err(|error| {
            Error::new(Kind::Internal, format!("can't start {threads} threads: {error}")).hint("--threads sets fewer")
        })?;
    Ok((workers, polled))
}

/// What is kept of a poll, packed: a value takes much more memory, and many may wait for the recorder.
fn pack(plan: &Plan, cxn: &Cxn, outcome: &Outcome, value: Value, limits: &Limits) -> Result<Packed> {
    let (cxn_id, app_id, job) = (cxn.cxn_id.clone(), cxn.app_id.clone(), plan.job.clone());
    let failure = outcome.as_ref().err().cloned();
    Kept { cxn_id, app_id, job, at: plan.now, failure, bytes: 0, value }.pack(limits)
}

/// How many workers may have a connection open at the same time, and `more` files each. The limit of open files is raised
/// as far as that is allowed; what it doesn't allow would be a failure of ours that sites are charged for.
fn affordable(threads: usize, more: u64) -> usize {
    let wanted = OTHER_FILES + LOOK_UPS as u64 + threads as u64 * (1 + more);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        // Where it can't be raised, it stays what it was.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit });
    }
    let allowed = match getrlimit(Resource::Nofile).current {
        // A worker has a connection, and may have left behind a look-up that hangs.
        Some(limit) if limit < wanted => limit.saturating_sub(OTHER_FILES) / (2 + more),
        _ => return threads,
    };
    let allowed = usize::try_from(allowed).unwrap_or(usize::MAX).clamp(1, threads);
    if allowed < threads {
        warn!("only {allowed} sites at the same time, not {threads}: more open files are not allowed (ulimit -n)");
    }
    allowed
}

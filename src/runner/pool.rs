//! The workers: a pool of their own, each drawing from one queue.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rayon::ThreadPoolBuilder;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use super::queue::Queue;
use crate::error::{Error, Kind, Result};
use crate::listener::{PollEvent, dispatch};
use crate::model::{AppMeta, JobName, Outcome};
use crate::site::{Api, Client};
use crate::store::Task;

/// A poll that is over.
pub(super) struct Polled {
    pub(super) task: Task,
    pub(super) outcome: Outcome,
    pub(super) began: Instant,
}

/// A worker's stack: a reply that is nested as deep as the protocol allows must fit. Only what is used takes memory.
const STACK: usize = 4 << 20;

/// Descriptors that the process needs beside one for each worker: standard streams, logs, locks, the database.
const OTHER_FILES: u64 = 64;

/// Starts up to `threads` workers.
///
/// Each does its whole work in the handler that the pool calls when a thread starts, and the pool itself never gets a
/// task: its workers would search each other for tasks, which at 1,000 threads took four fifths of the processor.
pub(super) fn start(
    threads: usize,
    queue: &Arc<Queue>,
    client: &Arc<Client>,
    app: &AppMeta,
    job: &JobName,
) -> Result<Receiver<Polled>> {
    let threads = affordable(threads.max(1));
    let (tell, polled) = channel();
    let (queue, client, app, job) = (Arc::clone(queue), Arc::clone(client), app.clone(), job.clone());
    let tell = Mutex::new(tell);
    let work = move |_| {
        // Nothing panics while it holds the lock.
        let tell = tell.lock().unwrap_or_else(PoisonError::into_inner).clone();
        while let Some(turn) = queue.take() {
            let began = Instant::now();
            let cxn = &turn.task.cxn;
            let api = Api::new(&client, cxn, &app.app_cert);
            let outcome = dispatch(&PollEvent { app: &app, job: &job, cxn, api });
            let task = queue.done(turn);
            if tell.send(Polled { task, outcome, began }).is_err() {
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
    Ok(polled)
}

/// How many workers may have a connection open at the same time. The limit of open files is raised as far as that is
/// allowed; what it doesn't allow would be a failure of ours that sites are charged for.
fn affordable(threads: usize) -> usize {
    let wanted = threads as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        // Where it can't be raised, it stays what it was.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit });
    }
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(wanted).saturating_sub(OTHER_FILES).max(1);
    if allowed < threads as u64 {
        warn!("only {allowed} sites at the same time, not {threads}: more open files are not allowed (ulimit -n)");
    }
    usize::try_from(allowed).unwrap_or(usize::MAX).min(threads)
}

//! Looks up the addresses of names.
//!
//! A lookup blocks and cannot be cancelled, so it runs on a separate thread. Callers wait with their own limit,
//! and a name server that does not answer blocks a bounded number of threads.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};

use super::failure::Phase;
use super::name_servers::{MAX_CHECK, NameServers};
use super::shortage::shortage;
use crate::model::{Cause, Failure, FailureClass, Fault};
use crate::util::text::count;

/// How many lookups may run at a time. Each may hold one open file.
pub const MAX_LOOKUPS: usize = 256;

/// How many answers are cached.
///
/// Beyond that all are dropped. This bounds the memory of a run over a million hosts, and costs a second lookup for
/// hosts with many sites.
const MAX_CACHED: usize = 50_000;

/// A function that looks a name up.
pub(super) type Lookup = dyn Fn(&str) -> Result<Vec<IpAddr>, Failure> + Send + Sync;

/// The addresses of a name, at least one, or why there are none.
type Answer = Result<Arc<[IpAddr]>, Failure>;

/// Looks each name up once and caches the answer, also a failure. Callers that need the same name share one lookup.
#[derive(Clone)]
pub(super) struct Resolver(Arc<Shared>);

struct Shared {
    lookup: Box<Lookup>,
    /// Checked when a lookup fails as if they did not answer; `None` if the lookup does not use them.
    servers: Option<NameServers>,
    max_lookups: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    names: HashMap<Arc<str>, Arc<Name>>,
    queue: VecDeque<(Arc<str>, Arc<Name>)>,
    /// The number of threads that are alive. Each of them empties the queue before it ends.
    threads: usize,
}

#[derive(Default)]
struct Name {
    progress: Mutex<Progress>,
    answered: Condvar,
}

#[derive(Default)]
enum Progress {
    #[default]
    Queued,
    InFlight,
    Answered(Answer),
}

impl Resolver {
    /// Makes a resolver that looks names up with the system's.
    pub(super) fn system() -> Self {
        Self::with(Box::new(look_up), Some(NameServers::default()), MAX_LOOKUPS)
    }

    /// Makes a resolver that looks names up with a function.
    #[cfg(test)]
    pub(super) fn new(lookup: Box<Lookup>) -> Self {
        Self::with(lookup, None, MAX_LOOKUPS)
    }

    fn with(lookup: Box<Lookup>, servers: Option<NameServers>, max_lookups: usize) -> Self {
        Self(Arc::new(Shared { lookup, servers, max_lookups, state: Mutex::default() }))
    }

    /// Returns the addresses of a host, and waits for them at most for `limit`.
    ///
    /// # Errors
    /// Class `dns` where the name has no address, class `timeout` where no answer came in time, and class `local` where no
    /// name server of this machine answers.
    pub(super) fn resolve(&self, host: &str, limit: Duration) -> Answer {
        let (began, name) = (Instant::now(), self.name(host));
        // If there is no answer, the name servers are checked within the limit.
        let check = MAX_CHECK.min(limit / 4);
        name.wait(limit.saturating_sub(check)).unwrap_or_else(|_| {
            let fault = self.0.fault_of_servers(check);
            let answer = name.wait(limit.saturating_sub(began.elapsed()));
            answer.unwrap_or_else(|is_queued| Err(fault.unwrap_or_else(|| self.timed_out(is_queued))))
        })
    }

    /// The failure of a lookup without an answer. One that is queued has not begun.
    fn timed_out(&self, is_queued: bool) -> Failure {
        let mut failure = Phase::Resolving.timed_out();
        failure.cause = Cause::NameServer;
        if is_queued {
            failure.message += ", behind ";
            failure.message += &count(self.0.max_lookups as u64, "other lookup");
        }
        failure
    }

    /// Looks names up again that have no address yet, also those that are being looked up.
    pub(super) fn forget_failures(&self) {
        let has_address = |name: &Arc<Name>| matches!(*lock(&name.progress), Progress::Answered(Ok(_)));
        lock(&self.0.state).names.retain(|_, name| has_address(name));
        self.0.servers.iter().for_each(NameServers::clear);
    }

    /// Returns the entry of a host's name, and queues a name that is new.
    fn name(&self, host: &str) -> Arc<Name> {
        let mut state = lock(&self.0.state);
        if let Some(name) = state.names.get(host) {
            return Arc::clone(name);
        }
        if state.names.len() >= MAX_CACHED {
            state.names.retain(|_, name| !matches!(*lock(&name.progress), Progress::Answered(_)));
        }
        if state.threads < self.0.max_lookups {
            let shared = Arc::clone(&self.0);
            let started = thread::Builder::new().name("resolver".into()).spawn(move || shared.serve());
            state.threads += usize::from(started.is_ok());
        }
        let (host, name) = (Arc::<str>::from(host), Arc::<Name>::default());
        state.names.insert(Arc::clone(&host), Arc::clone(&name));
        if state.threads > 0 {
            state.queue.push_back((host, Arc::clone(&name)));
        } else {
            // The system starts no thread. That is not the site's fault, so the caller goes without a limit of time.
            drop(state);
            self.0.look_up(&host, &name);
        }
        name
    }
}

impl Name {
    /// Waits for the answer. The error is whether the lookup is still queued.
    fn wait(&self, limit: Duration) -> Result<Answer, bool> {
        let waiting = |progress: &mut Progress| !matches!(progress, Progress::Answered(_));
        let (progress, _) = self
            .answered
            .wait_timeout_while(lock(&self.progress), limit, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        match &*progress {
            Progress::Answered(answer) => Ok(answer.clone()),
            Progress::InFlight => Err(false),
            Progress::Queued => Err(true),
        }
    }
}

impl Shared {
    /// Looks names up until the queue is empty.
    fn serve(&self) {
        loop {
            let (host, name) = {
                let mut state = lock(&self.state);
                let Some(next) = state.queue.pop_front() else {
                    state.threads -= 1;
                    return;
                };
                next
            };
            self.look_up(&host, &name);
        }
    }

    fn look_up(&self, host: &str, name: &Name) {
        *lock(&name.progress) = Progress::InFlight;
        let answer = self.answer(host);
        if answer.as_ref().is_err_and(|failure| failure.class == FailureClass::Local) {
            // The name may have an address as soon as this machine is not short of something.
            lock(&self.state).names.remove(host);
        }
        *lock(&name.progress) = Progress::Answered(answer);
        name.answered.notify_all();
    }

    fn answer(&self, host: &str) -> Answer {
        match (self.lookup)(host) {
            Ok(addresses) if addresses.is_empty() => Err(no_address(host, Cause::NoSuchName, "the answer is empty")),
            Ok(addresses) => Ok(addresses.into()),
            Err(failure) if failure.cause == Cause::NameServer => {
                Err(self.fault_of_servers(MAX_CHECK).unwrap_or(failure))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Why the name servers cannot be used; `None` if one can.
    fn fault_of_servers(&self, limit: Duration) -> Option<Failure> {
        self.servers.as_ref()?.failure(limit)
    }
}

/// Looks a name up with the system's resolver.
fn look_up(host: &str) -> Result<Vec<IpAddr>, Failure> {
    // Otherwise each address is there once per type of socket.
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let answer = getaddrinfo(Some(host), None, Some(hints)).map_err(|error| failed(host, error))?;
    Ok(answer.flatten().map(|entry| entry.sockaddr.ip()).collect())
}

/// The failure of an error of the system's resolver.
fn failed(host: &str, error: LookupError) -> Failure {
    let (kind, error) = (error.kind(), io::Error::from(error));
    let cause = match kind {
        LookupErrorKind::NoName | LookupErrorKind::NoData => Cause::NoSuchName,
        LookupErrorKind::Again | LookupErrorKind::Fail => Cause::NameServer,
        LookupErrorKind::Memory => {
            return Failure::local(Fault::Memory, "this machine has not enough memory to look up a name");
        }
        _ => Cause::Message,
    };
    let reason = error.to_string();
    let reason = reason.trim_start_matches("failed to lookup address information: ");
    shortage(&error).unwrap_or_else(|| no_address(host, cause, reason))
}

fn no_address(host: &str, cause: Cause, reason: &str) -> Failure {
    let message = format!("no address for {host}: {reason}");
    Failure { cause, ..Failure::new(FailureClass::Dns, message) }
}

/// Locks a mutex. No code panics while it holds one of these, so a poisoned mutex is consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

#[cfg(test)]
mod tests;

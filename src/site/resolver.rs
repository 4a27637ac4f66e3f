//! Looks up the addresses of names.
//!
//! A lookup blocks and cannot be cancelled, so it runs on a separate thread. Callers wait with their own limit or not at all,
//! and a name server that does not answer blocks a bounded number of threads.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
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
pub(super) type Answer = Result<Arc<[IpAddr]>, Failure>;

/// A function that is called with the answer of a lookup, on the caller's thread or on another one.
pub(super) type OnAnswer = Box<dyn FnOnce(&Answer) + Send>;

/// Looks each name up once and caches the answer, also a failure. Callers that need the same name share one lookup.
#[derive(Clone)]
pub(super) struct Resolver(Arc<Shared>);

struct Shared {
    lookup: Box<Lookup>,
    /// Checked when a lookup fails as if they did not answer; `None` if the lookup does not use them.
    servers: Option<NameServers>,
    /// How long a lookup may take from when its name was first waited for.
    limit: Duration,
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
    /// When a caller first waited for the answer, or the lookup began.
    waited_since: OnceLock<Instant>,
}

enum Progress {
    Queued(Vec<OnAnswer>),
    InFlight(Vec<OnAnswer>),
    Answered(Answer),
}

impl Default for Progress {
    fn default() -> Self {
        Self::Queued(Vec::new())
    }
}

impl Resolver {
    /// Makes a resolver that looks names up with the system's, each within a limit.
    pub(super) fn system(limit: Duration) -> Self {
        Self::with(Box::new(look_up), Some(NameServers::default()), limit, MAX_LOOKUPS)
    }

    /// Makes a resolver that looks names up with a function.
    #[cfg(test)]
    pub(super) fn new(lookup: Box<Lookup>, limit: Duration) -> Self {
        Self::with(lookup, None, limit, MAX_LOOKUPS)
    }

    fn with(lookup: Box<Lookup>, servers: Option<NameServers>, limit: Duration, max_lookups: usize) -> Self {
        Self(Arc::new(Shared { lookup, servers, limit, max_lookups, state: Mutex::default() }))
    }

    /// How long a lookup may take.
    pub(super) fn limit(&self) -> Duration {
        self.0.limit
    }

    /// Returns the addresses of a host, and waits for them at most for `limit`.
    ///
    /// The limit of the lookup counts from when its name was first waited for, so that its later callers do not wait as long
    /// again.
    ///
    /// # Errors
    /// Class `dns` where the name has no address, class `timeout` where no answer came in time, and class `local` where no
    /// name server of this machine answers.
    pub(super) fn resolve(&self, host: &str, limit: Duration) -> Answer {
        let began = Instant::now();
        // If the system starts no thread, that is not the site's fault, so the caller goes without a limit of time.
        let name = self.known_or_queued(host).unwrap_or_else(|| self.look_up_here(host));
        let age = name.waited_since.get_or_init(Instant::now).elapsed();
        // If there is no answer, the name servers are checked, within the limit unless it is over.
        let check = MAX_CHECK.min(limit.min(self.0.limit) / 4);
        let limit = limit.min(self.0.limit.saturating_sub(age));
        name.wait(limit.saturating_sub(check)).unwrap_or_else(|_| {
            let fault = self.0.fault_of_servers(check);
            let answer = name.wait(limit.saturating_sub(began.elapsed()));
            answer.unwrap_or_else(|is_queued| Err(fault.unwrap_or_else(|| self.timed_out(is_queued))))
        })
    }

    /// Calls a function with the addresses of a host, at once where they are known.
    ///
    /// The answer is a failure if they are not known and the system starts no thread.
    pub(super) fn look_up(&self, host: &str, on_answer: OnAnswer) {
        let Some(name) = self.known_or_queued(host) else { return on_answer(&Err(self.timed_out(true))) };
        let answer = match &mut *lock(&name.progress) {
            Progress::Queued(waiting) | Progress::InFlight(waiting) => return waiting.push(on_answer),
            Progress::Answered(answer) => answer.clone(),
        };
        on_answer(&answer);
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
    ///
    /// `None` for a new name if the system starts no thread.
    fn known_or_queued(&self, host: &str) -> Option<Arc<Name>> {
        let mut state = lock(&self.0.state);
        if let Some(name) = state.names.get(host) {
            return Some(Arc::clone(name));
        }
        if state.threads < self.0.max_lookups {
            let shared = Arc::clone(&self.0);
            let started = thread::Builder::new().name("resolver".into()).spawn(move || shared.serve());
            state.threads += usize::from(started.is_ok());
        }
        if state.threads == 0 {
            return None;
        }
        let (host, name) = state.insert(host);
        state.queue.push_back((host, Arc::clone(&name)));
        Some(name)
    }

    /// Looks a name up on this thread, and returns its entry.
    fn look_up_here(&self, host: &str) -> Arc<Name> {
        let (host, name) = lock(&self.0.state).insert(host);
        self.0.look_up(&host, &name);
        name
    }
}

impl State {
    /// Adds a name.
    fn insert(&mut self, host: &str) -> (Arc<str>, Arc<Name>) {
        if self.names.len() >= MAX_CACHED {
            self.names.retain(|_, name| !matches!(*lock(&name.progress), Progress::Answered(_)));
        }
        let (host, name) = (Arc::<str>::from(host), Arc::<Name>::default());
        self.names.insert(Arc::clone(&host), Arc::clone(&name));
        (host, name)
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
            Progress::InFlight(_) => Err(false),
            Progress::Queued(_) => Err(true),
        }
    }

    /// Begins the lookup.
    fn begin(&self) {
        let mut progress = lock(&self.progress);
        if let Progress::Queued(waiting) = &mut *progress {
            *progress = Progress::InFlight(mem::take(waiting));
        }
        self.waited_since.get_or_init(Instant::now);
    }

    /// Ends the lookup.
    fn end(&self, answer: &Answer) {
        let progress = mem::replace(&mut *lock(&self.progress), Progress::Answered(answer.clone()));
        self.answered.notify_all();
        if let Progress::InFlight(waiting) = progress {
            for on_answer in waiting {
                on_answer(answer);
            }
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
        name.begin();
        let answer = self.answer(host);
        if answer.as_ref().is_err_and(|failure| failure.class == FailureClass::Local) {
            // The name may have an address as soon as this machine is not short of something.
            lock(&self.state).names.remove(host);
        }
        name.end(&answer);
    }

    fn answer(&self, host: &str) -> Answer {
        match (self.lookup)(host) {
            Ok(addresses) if addresses.is_empty() => Err(no_address(host, Cause::NoSuchName, "the answer is empty")),
            Ok(addresses) => Ok(interleaved(&addresses).into()),
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

/// Puts addresses into the order in which they are tried (RFC 8305, section 4).
///
/// Each is there once, an IPv4 address that is written as an IPv6 address as the former. The first one stays the first, and then
/// IPv6 and IPv4 take turns.
fn interleaved(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut seen = HashSet::new();
    let mut each_once = addresses.iter().map(IpAddr::to_canonical).filter(|address| seen.insert(*address)).peekable();
    let starts_with_ipv6 = each_once.peek().is_some_and(IpAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = each_once.partition(|address| address.is_ipv6() == starts_with_ipv6);
    let in_turn = (0..first.len().max(second.len())).flat_map(|at| [first.get(at), second.get(at)]);
    in_turn.flatten().copied().collect()
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

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
    /// Asked whether they answer when a lookup fails for that reason; `None` if the lookup does not use them.
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
        let fault = || self.0.servers.as_ref().and_then(|servers| servers.failure(check));
        let answer = name.wait(limit - check).or_else(|_| {
            fault();
            name.wait(limit.saturating_sub(began.elapsed()))
        });
        match answer.unwrap_or_else(|is_queued| Err(self.timed_out(is_queued))) {
            Err(failure) if failure.cause == Cause::NameServer => Err(fault().unwrap_or(failure)),
            answer => answer,
        }
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
        self.0.servers.iter().for_each(NameServers::forget);
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
        match (self.lookup)(host)? {
            addresses if addresses.is_empty() => Err(no_address(host, Cause::NoSuchName, "the answer is empty")),
            addresses => Ok(addresses.into()),
        }
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
    Failure { cause, ..Phase::Resolving.failure(FailureClass::Dns, message) }
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
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(30);

    fn no_name(host: &str) -> Failure {
        no_address(host, Cause::NoSuchName, "Name or service not known")
    }

    /// A resolver whose lookups are counted. The lookup of the host `hang` blocks until the sender is dropped.
    fn counting(max_lookups: usize) -> (Resolver, Arc<AtomicUsize>, mpsc::Sender<()>) {
        let lookups = Arc::new(AtomicUsize::new(0));
        let (release, hang) = mpsc::channel::<()>();
        let (count, hang) = (Arc::clone(&lookups), Mutex::new(hang));
        let lookup = move |host: &str| {
            count.fetch_add(1, Ordering::SeqCst);
            match host {
                "hang" => {
                    let _ = lock(&hang).recv();
                    Ok(vec![ADDRESS])
                }
                "empty" => Ok(vec![]),
                "bad" => Err(no_name("bad")),
                "short" => Err(Failure::local(Fault::OpenFiles, "too many")),
                _ => Ok(vec![ADDRESS]),
            }
        };
        (Resolver::with(Box::new(lookup), None, max_lookups), lookups, release)
    }

    #[test]
    fn callers_of_one_name_share_a_lookup() {
        let (resolver, lookups, _release) = counting(8);
        thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| assert_eq!(*resolver.resolve("good", LONG).unwrap(), [ADDRESS]));
            }
        });
        assert_eq!(lookups.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn failures_are_cached() {
        let (resolver, lookups, _release) = counting(8);
        for _ in 0..2 {
            let failure = resolver.resolve("bad", LONG).unwrap_err();
            assert_eq!(failure.to_string(), "dns: no address for bad: Name or service not known");
            assert_eq!(resolver.resolve("empty", LONG).unwrap_err().class, FailureClass::Dns);
        }
        assert_eq!(lookups.load(Ordering::SeqCst), 2);
        // Not what this machine is short of, which may soon change.
        for lookup in 3..5 {
            assert_eq!(resolver.resolve("short", LONG).unwrap_err().class, FailureClass::Local);
            assert_eq!(lookups.load(Ordering::SeqCst), lookup);
        }
    }

    #[test]
    fn errors_of_the_system_have_a_cause() {
        for (code, class, cause) in [
            (libc::EAI_NONAME, FailureClass::Dns, Cause::NoSuchName),
            (libc::EAI_NODATA, FailureClass::Dns, Cause::NoSuchName),
            (libc::EAI_AGAIN, FailureClass::Dns, Cause::NameServer),
            (libc::EAI_FAIL, FailureClass::Dns, Cause::NameServer),
            (libc::EAI_FAMILY, FailureClass::Dns, Cause::Message),
            (libc::EAI_MEMORY, FailureClass::Local, Cause::Local(Fault::Memory)),
        ] {
            let failure = failed("a.example", LookupError::new(code));
            assert_eq!((failure.class, failure.cause), (class, cause), "{code}");
        }
        let too_many = LookupError::from(io::Error::from(rustix::io::Errno::MFILE));
        assert_eq!(failed("a.example", too_many).cause, Cause::Local(Fault::OpenFiles));
        let failure = failed("a.example", LookupError::new(libc::EAI_NONAME));
        assert_eq!(failure.to_string(), "dns: no address for a.example: Name or service not known");
    }

    #[test]
    fn name_servers_are_asked_where_they_may_be_the_cause() {
        let servers = || Some(NameServers::known(Some(Failure::local(Fault::NameServers, "none answers"))));
        for (cause, class) in [(Cause::NameServer, FailureClass::Local), (Cause::NoSuchName, FailureClass::Dns)] {
            let resolver =
                Resolver::with(Box::new(move |host| Err(no_address(host, cause.clone(), "x"))), servers(), 1);
            assert_eq!(resolver.resolve("bad", LONG).unwrap_err().class, class);
        }
        let slow = || {
            thread::sleep(2 * SHORT);
            Ok(vec![ADDRESS])
        };
        let resolver = Resolver::with(Box::new(move |_| slow()), servers(), 1);
        assert_eq!(resolver.resolve("slow", SHORT).unwrap_err().class, FailureClass::Local);
        let resolver = Resolver::with(Box::new(move |_| slow()), Some(NameServers::known(None)), 1);
        assert_eq!(resolver.resolve("slow", SHORT).unwrap_err().cause, Cause::NameServer);
        assert!(resolver.resolve("slow", LONG).is_ok());
    }

    #[test]
    fn failures_and_lookups_under_way_are_forgotten() {
        let (resolver, lookups, release) = counting(8);
        assert!(resolver.resolve("bad", LONG).is_err() && resolver.resolve("good", LONG).is_ok());
        assert!(resolver.resolve("hang", SHORT).is_err());
        resolver.forget_failures();
        drop(release);
        assert!(resolver.resolve("bad", LONG).is_err() && resolver.resolve("good", LONG).is_ok());
        assert!(resolver.resolve("hang", LONG).is_ok());
        assert_eq!(lookups.load(Ordering::SeqCst), 5);
    }

    #[test]
    fn a_lookup_that_hangs_does_not_delay_others() {
        let (resolver, lookups, release) = counting(2);
        for _ in 0..3 {
            assert_eq!(resolver.resolve("hang", SHORT), Err(resolver.timed_out(false)));
        }
        assert!(resolver.resolve("good", LONG).is_ok());
        assert_eq!(lookups.load(Ordering::SeqCst), 2);
        drop(release);
        assert!(resolver.resolve("hang", LONG).is_ok());
    }

    #[test]
    fn lookups_are_bounded_and_a_queued_one_reports_it() {
        let (resolver, _, release) = counting(1);
        assert_eq!(resolver.resolve("hang", SHORT), Err(resolver.timed_out(false)));
        let failure = resolver.resolve("good", SHORT).unwrap_err();
        assert_eq!(failure.to_string(), "timeout: timed out while resolving the host's name, behind 1 other lookup");
        assert_eq!(lock(&resolver.0.state).threads, 1);
        drop(release);
        assert!(resolver.resolve("good", LONG).is_ok());
    }

    #[test]
    fn a_name_is_looked_up_without_a_thread_if_none_can_be_started() {
        let (resolver, lookups, _release) = counting(0);
        assert_eq!(*resolver.resolve("good", SHORT).unwrap(), [ADDRESS]);
        assert_eq!((lookups.load(Ordering::SeqCst), lock(&resolver.0.state).threads), (1, 0));
    }

    #[test]
    fn the_cache_is_bounded() {
        let (resolver, _, _release) = counting(8);
        for number in 0..=MAX_CACHED {
            let name = Name { progress: Progress::Answered(Ok([ADDRESS].into())).into(), ..Name::default() };
            lock(&resolver.0.state).names.insert(number.to_string().into(), name.into());
        }
        assert!(resolver.resolve("good", LONG).is_ok());
        assert_eq!(lock(&resolver.0.state).names.len(), 1);
    }
}

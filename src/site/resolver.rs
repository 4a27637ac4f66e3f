//! Names to addresses. Looking a name up blocks and can't be stopped, so it happens on threads of its own: a caller
//! waits no longer than it wants to, and a name server that hangs costs a bounded number of threads.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::failure::Phase;
use crate::model::{Failure, FailureClass};

/// How many names are looked up at a time.
pub(super) const THREADS: usize = 256;

/// How many answers are remembered. Beyond that all are dropped, which costs a second look-up for hosts with many
/// sites and bounds the memory of a run over a million hosts.
const REMEMBERED: usize = 50_000;

/// How a name is looked up: the system's way, or a test's.
pub(super) type LookUp = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// What is known of a name: its addresses, at least one, or why there are none.
type Answer = Result<Arc<[IpAddr]>, Failure>;

/// Asks for each name once and remembers the answer, also a failure; callers who want the same name share one look-up.
pub(super) struct Resolver(Arc<Shared>);

struct Shared {
    look_up: Box<LookUp>,
    threads: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    names: HashMap<Arc<str>, Arc<Name>>,
    queue: VecDeque<(Arc<str>, Arc<Name>)>,
    /// Threads that are alive, each of which empties the queue before it ends.
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
    Asked,
    Answered(Answer),
}

impl Resolver {
    /// A resolver that asks with `look_up`.
    pub(super) fn new(look_up: Box<LookUp>) -> Self {
        Self::with_threads(look_up, THREADS)
    }

    fn with_threads(look_up: Box<LookUp>, threads: usize) -> Self {
        Self(Arc::new(Shared { look_up, threads, state: Mutex::default() }))
    }

    /// The addresses of a host, asked for at most for `limit`.
    ///
    /// # Errors
    /// Class `dns` where the name has no address, class `timeout` where no answer came in time.
    pub(super) fn resolve(&self, host: &str, limit: Duration) -> Answer {
        let name = self.name(host)?;
        let waiting = |progress: &mut Progress| !matches!(progress, Progress::Answered(_));
        let (progress, _) = name
            .answered
            .wait_timeout_while(lock(&name.progress), limit, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        match &*progress {
            Progress::Answered(answer) => answer.clone(),
            Progress::Asked => Err(Phase::Resolving.timed_out()),
            Progress::Queued => {
                let timed_out = Phase::Resolving.timed_out();
                let message = format!("{}: {} other look-ups hang", timed_out.message, self.0.threads);
                Err(Failure { message, ..timed_out })
            }
        }
    }

    /// The name of a host, which is queued when it is seen for the first time.
    fn name(&self, host: &str) -> Result<Arc<Name>, Failure> {
        let mut state = lock(&self.0.state);
        if let Some(name) = state.names.get(host) {
            return Ok(Arc::clone(name));
        }
        if state.names.len() >= REMEMBERED {
            state.names.retain(|_, name| !matches!(*lock(&name.progress), Progress::Answered(_)));
        }
        if state.threads < self.0.threads {
            let shared = Arc::clone(&self.0);
            match thread::Builder::new().name("resolver".into()).spawn(move || shared.serve()) {
                Ok(_) => state.threads += 1,
                // A thread that is alive gets to it later; without any, nobody would.
                Err(error) if state.threads == 0 => {
                    return Err(
                        Phase::Resolving.failure(FailureClass::Dns, format!("no thread to look a name up: {error}"))
                    );
                }
                Err(_) => {}
            }
        }
        let (host, name) = (Arc::<str>::from(host), Arc::<Name>::default());
        state.names.insert(Arc::clone(&host), Arc::clone(&name));
        state.queue.push_back((host, Arc::clone(&name)));
        Ok(name)
    }
}

impl Shared {
    /// Looks up what is queued, until nothing is.
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
            *lock(&name.progress) = Progress::Asked;
            let answer = self.ask(&host);
            *lock(&name.progress) = Progress::Answered(answer);
            name.answered.notify_all();
        }
    }

    fn ask(&self, host: &str) -> Answer {
        let reason = match (self.look_up)(host) {
            Ok(addresses) if addresses.is_empty() => "nothing was answered".to_owned(),
            Ok(addresses) => return Ok(addresses.into()),
            Err(error) => error.to_string(),
        };
        let reason = reason.trim_start_matches("failed to lookup address information: ");
        Err(Phase::Resolving.failure(FailureClass::Dns, format!("no address for {host}: {reason}")))
    }
}

/// Asks the system, as `/etc/nsswitch.conf` and `/etc/resolv.conf` say.
pub(super) fn system(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

/// Nothing that holds one of these locks can panic half way, so that poison means nothing.
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

    /// A look-up that counts, and hangs for a host called `hang` until the sender is dropped.
    fn counting(threads: usize) -> (Resolver, Arc<AtomicUsize>, mpsc::Sender<()>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let (release, hang) = mpsc::channel::<()>();
        let (count, hang) = (Arc::clone(&asked), Mutex::new(hang));
        let look_up = move |host: &str| {
            count.fetch_add(1, Ordering::SeqCst);
            match host {
                "hang" => {
                    let _ = lock(&hang).recv();
                    Ok(vec![ADDRESS])
                }
                "empty" => Ok(vec![]),
                "bad" => Err(io::Error::other("failed to lookup address information: Name or service not known")),
                _ => Ok(vec![ADDRESS]),
            }
        };
        (Resolver::with_threads(Box::new(look_up), threads), asked, release)
    }

    #[test]
    fn a_name_is_asked_for_once_by_many() {
        let (resolver, asked, _release) = counting(8);
        thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| assert_eq!(*resolver.resolve("good", LONG).unwrap(), [ADDRESS]));
            }
        });
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn failures_are_remembered() {
        let (resolver, asked, _release) = counting(8);
        for _ in 0..2 {
            let failure = resolver.resolve("bad", LONG).unwrap_err();
            assert_eq!(failure.to_string(), "dns: no address for bad: Name or service not known");
            assert_eq!(resolver.resolve("empty", LONG).unwrap_err().class, FailureClass::Dns);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_look_up_that_hangs_holds_up_nobody_else() {
        let (resolver, asked, release) = counting(2);
        for _ in 0..3 {
            assert_eq!(resolver.resolve("hang", SHORT), Err(Phase::Resolving.timed_out()));
        }
        assert!(resolver.resolve("good", LONG).is_ok());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        drop(release);
        assert!(resolver.resolve("hang", LONG).is_ok());
    }

    #[test]
    fn threads_are_bounded_and_what_waits_for_one_says_so() {
        let (resolver, _, release) = counting(1);
        assert_eq!(resolver.resolve("hang", SHORT), Err(Phase::Resolving.timed_out()));
        let failure = resolver.resolve("good", SHORT).unwrap_err();
        assert_eq!(failure.to_string(), "timeout: timed out while resolving the host's name: 1 other look-ups hang");
        assert_eq!(lock(&resolver.0.state).threads, 1);
        drop(release);
        assert!(resolver.resolve("good", LONG).is_ok());
    }

    #[test]
    fn memory_is_bounded() {
        let (resolver, _, _release) = counting(8);
        for number in 0..=REMEMBERED {
            let name = Name { progress: Progress::Answered(Ok([ADDRESS].into())).into(), ..Name::default() };
            lock(&resolver.0.state).names.insert(number.to_string().into(), name.into());
        }
        assert!(resolver.resolve("good", LONG).is_ok());
        assert_eq!(lock(&resolver.0.state).names.len(), 1);
    }
}

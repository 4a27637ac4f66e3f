//! Lookups of names, with functions in place of the system's resolver.

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
    (Resolver::with(Box::new(lookup), None, LONG, max_lookups), lookups, release)
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
            Resolver::with(Box::new(move |host| Err(no_address(host, cause.clone(), "x"))), servers(), LONG, 1);
        assert_eq!(resolver.resolve("bad", LONG).unwrap_err().class, class);
    }
    let slow = || {
        thread::sleep(2 * SHORT);
        Ok(vec![ADDRESS])
    };
    let resolver = Resolver::with(Box::new(move |_| slow()), servers(), LONG, 1);
    assert_eq!(resolver.resolve("slow", SHORT).unwrap_err().class, FailureClass::Local);
    let resolver = Resolver::with(Box::new(move |_| slow()), Some(NameServers::known(None)), LONG, 1);
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
fn the_limit_of_a_lookup_counts_from_when_it_was_first_waited_for() {
    let (resolver, lookups, _release) = counting(8);
    let limit = Duration::from_millis(200);
    let resolver = Resolver(Arc::new(Shared { limit, ..Arc::into_inner(resolver.0).unwrap() }));
    let waits = |limit: Duration| {
        let began = Instant::now();
        assert!(resolver.resolve("hang", limit).is_err());
        began.elapsed()
    };
    assert!(waits(LONG) >= limit);
    assert!(waits(LONG) < limit);
    resolver.forget_failures();
    assert!(waits(LONG) >= limit);
    assert_eq!(lookups.load(Ordering::SeqCst), 2);
}

#[test]
fn an_answer_is_passed_on_at_once_or_when_it_arrives() {
    let (resolver, lookups, release) = counting(8);
    let (answers, answered) = mpsc::channel();
    let look_up = |host: &'static str| {
        let answers = answers.clone();
        resolver.look_up(host, Box::new(move |answer| answers.send((host, answer.is_ok())).unwrap()));
    };
    for (host, is_ok) in [("good", true), ("bad", false), ("short", false)] {
        look_up(host);
        assert_eq!(answered.recv(), Ok((host, is_ok)));
    }
    look_up("good");
    assert_eq!(answered.try_recv(), Ok(("good", true)));
    look_up("hang");
    look_up("hang");
    assert!(answered.recv_timeout(SHORT).is_err());
    drop(release);
    assert_eq!([answered.recv(), answered.recv()], [Ok(("hang", true)); 2]);
    assert_eq!(lookups.load(Ordering::SeqCst), 4);
    let (resolver, ..) = counting(0);
    resolver.look_up("good", Box::new(move |answer| answers.send(("none", answer.is_ok())).unwrap()));
    assert_eq!(answered.try_recv(), Ok(("none", false)));
}

#[test]
fn families_are_tried_in_turn_and_each_address_once() {
    for (found, expected) in [
        ("1.0.0.1", "1.0.0.1"),
        ("1.0.0.1 1.0.0.1 1.0.0.2 1.0.0.1", "1.0.0.1 1.0.0.2"),
        ("a::1 a::2 a::3 1.0.0.1", "a::1 1.0.0.1 a::2 a::3"),
        ("1.0.0.1 1.0.0.2 1.0.0.3 a::1 a::2", "1.0.0.1 a::1 1.0.0.2 a::2 1.0.0.3"),
        ("a::1 1.0.0.1 a::1 1.0.0.2 1.0.0.3", "a::1 1.0.0.1 1.0.0.2 1.0.0.3"),
        ("::ffff:1.0.0.1 1.0.0.1 1.0.0.2 a::1", "1.0.0.1 a::1 1.0.0.2"),
    ] {
        let addresses = |text: &str| text.split(' ').map(|address| address.parse().unwrap()).collect::<Vec<_>>();
        assert_eq!(interleaved(&addresses(found)), addresses(expected), "{found}");
    }
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

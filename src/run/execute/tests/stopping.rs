//! Runs that a signal or the maximum runtime ends.

use super::*;
use crate::store::WhichResults;

/// Asserts that one of a few attempts returns a short delay. A busy machine may hold up any of them.
fn assert_prompt(mut attempt: impl FnMut() -> Duration) {
    let mut delays = Vec::new();
    while delays.len() < 5 {
        delays.push(attempt());
        if delays.last() < Some(&Duration::from_millis(100)) {
            return;
        }
    }
    panic!("{delays:?}");
}

#[test]
fn a_signal_is_acknowledged_although_another_process_holds_the_store() {
    assert_prompt(|| {
        let mut fixture = Fixture::new(200, |number| {
            thread::sleep(Duration::from_millis(if number < 4 { 50 } else { 300 }));
            Ok(())
        });
        let mut lock = FileLock::open(&fixture.store.path().join("store.lock")).unwrap();
        let signals = fixture.signals.clone();
        let (mut locked, mut signalled, mut acknowledged) = (false, None, None);
        let summary = fixture.run_observed(|update| match update {
            // The store is locked once the first session is over.
            Update::Polling { summary, .. } if summary.run.polled >= 4 && !std::mem::replace(&mut locked, true) => {
                assert!(lock.acquire(Mode::Exclusive, &mut Backoff::new(Duration::from_secs(20))).unwrap());
            }
            // These polls take more than a second, so the recorder waits for the store by now.
            Update::Polling { summary, .. } if summary.run.polled >= 24 && signalled.is_none() => {
                signalled = Some(Instant::now());
                signals.raise(exit::SIGTERM);
            }
            Update::Stopping { .. } => acknowledged = Some(Instant::now()),
            Update::PollingEnded => lock.release(),
            _ => {}
        });
        // The wait for the store, which would go on for 30 seconds, ended.
        assert!(signalled.unwrap().elapsed() < Duration::from_secs(20));
        let summary = summary.unwrap();
        assert_eq!(summary.interrupted, Some(exit::SIGTERM));
        assert_eq!(fixture.recorded() as u64, summary.run.polled);
        assert!((24..200).contains(&summary.run.polled), "{}", summary.run.polled);
        fixture.assert_no_program_runs();
        acknowledged.unwrap() - signalled.unwrap()
    });
}

#[test]
fn a_signal_ends_the_wait_for_the_store_before_anything_is_polled() {
    assert_prompt(|| {
        let mut fixture = Fixture::new(4, |_| Ok(()));
        let mut lock = FileLock::open(&fixture.store.path().join("store.lock")).unwrap();
        assert!(lock.try_acquire(Mode::Exclusive).unwrap());
        let signals = fixture.signals.clone();
        let raise = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            signals.raise(exit::SIGINT);
            Instant::now()
        });
        let summary = fixture.run().unwrap();
        assert_eq!((summary.interrupted, summary.run.polled), (Some(exit::SIGINT), 0));
        assert!(fixture.events().is_empty());
        raise.join().unwrap().elapsed()
    });
}

#[test]
fn the_maximum_runtime_is_kept_although_another_process_holds_the_store() {
    let mut fixture = Fixture::new(4, |_| Ok(()));
    fixture.run.max_runtime = Some(Duration::from_millis(200));
    let mut lock = FileLock::open(&fixture.store.path().join("store.lock")).unwrap();
    assert!(lock.try_acquire(Mode::Exclusive).unwrap());
    let began = Instant::now();
    // Nothing was polled, so this is no success.
    assert!(matches!(fixture.run(), Err(Error::OutOfTime)));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(fixture.events().is_empty());
}

#[test]
fn a_program_that_hangs_is_killed_with_the_grace_period() {
    let hang = Arc::new(AtomicBool::new(true));
    let hangs = Arc::clone(&hang);
    let mut fixture = Fixture::new(4, move |number| {
        if number == 0 {
            wait_until(|| !hangs.load(Ordering::Relaxed));
        }
        Ok(())
    });
    let signals = fixture.signals.clone();
    let summary = fixture.run_observed(|update| match update {
        Update::Polling { summary, .. } if summary.run.polled == 3 => signals.raise(exit::SIGTERM),
        _ => {}
    });
    hang.store(false, Ordering::Relaxed);
    assert_eq!((summary.unwrap().run.polled, fixture.recorded()), (3, 3));
    assert_eq!(fixture.events(), ["pre-poll", "post-poll"]);
    fixture.assert_no_program_runs();
}

/// The first process answers once and ends at the second event; all others hang.
#[test]
fn a_program_that_was_killed_is_not_started_again() {
    let mut fixture = Fixture::new(3, |_| Ok(()));
    let script = "echo $$ >> pids; read -r event; if [ -e first ]; then sleep 600; fi; touch first; \
                  echo '{\"ok\": true}'; read -r event; sleep 600";
    let hanging =
        Program { command: ["sh", "-c", script].map(str::to_owned).into(), ..program(fixture.directory.path()) };
    fixture.run.listeners = Listeners::default();
    fixture.add("civi_cxn.poll", 0, Action::Program(hanging));
    fixture.run.threads = Threads::Fixed(1);
    let signals = fixture.signals.clone();
    let summary = fixture.run_observed(|update| match update {
        Update::Polling { summary, .. } if summary.run.polled == 1 => signals.raise(exit::SIGTERM),
        _ => {}
    });
    assert_eq!((summary.unwrap().run.polled, fixture.recorded()), (1, 1));
    // A worker that was stuck would start it about now.
    thread::sleep(Duration::from_millis(300));
    fixture.assert_no_program_runs();
}

#[test]
fn a_signal_loses_no_result_while_another_process_holds_the_results() {
    let mut fixture = Fixture::new(40, |_| Ok(()));
    fixture.run.listeners = Listeners::default();
    let keep = |event: &mut PollEvent<'_>| {
        thread::sleep(Duration::from_millis(200));
        event.keep(serde_json::json!({"a": 1}));
        Ok(())
    };
    fixture.add("civi_cxn.poll", 0, Action::Poll(Box::new(keep)));
    let signals = fixture.signals.clone();
    let mut lock = FileLock::open(&fixture.store.path().join("results.lock")).unwrap();
    assert!(lock.try_acquire(Mode::Exclusive).unwrap());
    let summary = fixture.run_observed(|update| match update {
        // The first session waits for the results by now.
        Update::Polling { summary, .. } if summary.run.polled >= 32 => signals.raise(exit::SIGTERM),
        Update::PollingEnded => lock.release(),
        _ => {}
    });
    let mut results = 0;
    let count = |_| -> crate::store::error::Result<()> {
        results += 1;
        Ok(())
    };
    fixture.store.for_each_result(None, None, WhichResults::All, count).unwrap();
    let polled = summary.unwrap().run.polled;
    assert_eq!((results, fixture.recorded() as u64), (polled, polled));
    assert!(fixture.warnings.is_empty(), "{:?}", fixture.warnings);
}

/// Raises a signal while a program hangs in an event around a run.
fn run_with_signal_in(event: &str) -> (Fixture, Result<Summary, Error>) {
    let mut fixture = Fixture::new(2, |_| Ok(()));
    fixture.let_programs_end();
    let script = "echo $$ >> pids; touch begun; sleep 600";
    let hanging =
        Program { command: ["sh", "-c", script].map(str::to_owned).into(), ..program(fixture.directory.path()) };
    fixture.add(event, 9, Action::Program(Program { timeout: Duration::from_secs(600), ..hanging }));
    let (signals, begun) = (fixture.signals.clone(), fixture.directory.path().join("begun"));
    let raise = thread::spawn(move || {
        wait_until(|| begun.exists());
        signals.raise(exit::SIGTERM);
    });
    let done = fixture.run();
    raise.join().unwrap();
    fixture.assert_no_program_runs();
    (fixture, done)
}

#[test]
fn a_signal_while_a_program_hangs_before_the_run_ends_it() {
    let (fixture, done) = run_with_signal_in("civi_cxn.pre-poll");
    assert_eq!(done.unwrap().interrupted, Some(exit::SIGTERM));
    assert_eq!(fixture.recorded(), 0);
}

#[test]
fn a_signal_while_a_program_hangs_after_the_run_ends_it() {
    let (fixture, done) = run_with_signal_in("civi_cxn.post-poll");
    let summary = done.unwrap();
    assert_eq!((summary.interrupted, summary.run.polled, fixture.recorded()), (Some(exit::SIGTERM), 2, 2));
}

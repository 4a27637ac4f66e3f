//! Runs in which a listener, the store or the program itself fails.

use super::*;

#[test]
fn a_listener_that_fails_before_the_run_prevents_it() {
    let mut fixture = Fixture::new(4, |_| Ok(()));
    fixture.fail_at("civi_cxn.pre-poll");
    assert!(matches!(fixture.run(), Err(Error::Listener(_))));
    assert_eq!((fixture.recorded(), fixture.events().len()), (0, 0));
}

#[test]
fn a_listener_that_fails_after_the_run_loses_no_outcome() {
    let mut fixture = Fixture::new(4, |_| Ok(()));
    fixture.fail_at("civi_cxn.post-poll");
    assert!(matches!(fixture.run(), Err(Error::Listener(_))));
    assert_eq!(fixture.recorded(), 4);
    fixture.assert_no_program_runs();
}

#[test]
fn a_program_that_cannot_be_started_ends_the_run() {
    let mut fixture = Fixture::new(8, |_| Ok(()));
    let program = Program { command: vec!["./no-such-program".to_owned()], ..program(fixture.directory.path()) };
    // It comes last, so that the other program runs already.
    fixture.add("civi_cxn.poll", -9, Action::Program(program));
    assert!(matches!(fixture.run(), Err(Error::Listener(_))));
    assert_eq!(fixture.recorded(), 0, "no outcome was won");
    assert_eq!(fixture.events(), ["pre-poll", "post-poll"]);
    fixture.assert_no_program_runs();
}

#[test]
fn a_panic_in_a_poll_fails_only_that_poll() {
    let mut fixture =
        Fixture::new(6, |number| if number == 2 { panic!("a panic that the test causes") } else { Ok(()) });
    let summary = fixture.run().unwrap();
    assert_eq!((summary.run.ok, summary.run.failed, fixture.recorded()), (5, 1, 6));
    assert_eq!(summary.run.failures().collect::<Vec<_>>(), [(crate::model::FailureClass::Listener, 1)]);
    fixture.assert_no_program_runs();
}

/// The store fails while connection 1 is polled, and works again before that poll ends.
///
/// On a slow machine the run may end before a worker takes the last site.
#[test]
fn a_store_that_fails_for_a_while_ends_the_run_and_loses_no_outcome() {
    let (paths, stopping) = (Arc::new(Mutex::new(PathBuf::new())), Arc::new(AtomicBool::new(false)));
    let (moved, observed) = (Arc::clone(&paths), Arc::clone(&stopping));
    let (polled, first_began) = (Arc::new(AtomicUsize::new(0)), AtomicBool::new(false));
    let count = Arc::clone(&polled);
    let mut fixture = Fixture::new(8, move |number| {
        let current = moved.lock().unwrap().clone();
        let hidden = current.with_extension("hidden");
        count.fetch_add(1, Ordering::Relaxed);
        match number {
            0 => {
                wait_until(|| first_began.load(Ordering::Relaxed));
                fs::rename(&current, &hidden).unwrap();
            }
            1 => {
                first_began.store(true, Ordering::Relaxed);
                wait_until(|| observed.load(Ordering::Relaxed));
                fs::rename(&hidden, &current).unwrap();
            }
            _ => {}
        }
        Ok(())
    });
    *paths.lock().unwrap() = fixture.current();
    let done = fixture.run_observed(|update| {
        if let Update::Stopping { .. } = update {
            stopping.store(true, Ordering::Relaxed);
        }
    });
    assert!(matches!(done, Err(Error::Store(StoreError::NoStore { .. }))), "{done:?}");
    assert_eq!(fixture.recorded(), polled.load(Ordering::Relaxed));
    assert_eq!(fixture.events(), ["pre-poll", "post-poll"]);
    fixture.assert_no_program_runs();
}

/// The store is away when the last session starts. An earlier session may have recorded some outcomes on a slow machine.
#[test]
fn a_store_that_stays_away_is_an_error_that_counts_the_lost_outcomes() {
    let mut fixture = Fixture::new(4, |_| Ok(()));
    let (current, hidden) = (fixture.current(), fixture.current().with_extension("hidden"));
    let done = fixture.run_observed(|update| {
        if let Update::PollingEnded = update {
            fs::rename(&current, &hidden).unwrap();
        }
    });
    let Err(Error::NotRecorded { outcomes, error: StoreError::NoStore { .. } }) = done else { panic!("{done:?}") };
    assert_eq!(fixture.events(), ["pre-poll", "post-poll"]);
    fixture.assert_no_program_runs();
    fs::rename(&hidden, &current).unwrap();
    assert!(outcomes > 0);
    assert_eq!(outcomes + fixture.recorded(), 4);
}

/// All polls but the first go on until the store was reported to be busy.
#[test]
fn a_store_that_is_busy_for_a_while_only_delays_outcomes() {
    let reported = Arc::new(AtomicBool::new(false));
    let (observed, is_later) = (Arc::clone(&reported), AtomicBool::new(false));
    let mut fixture = Fixture::new(12, move |_| {
        if is_later.swap(true, Ordering::Relaxed) {
            wait_until(|| observed.load(Ordering::Relaxed));
        }
        Ok(())
    });
    fixture.let_programs_end();
    fixture.store = Store::open(fixture.store.path(), Duration::from_millis(100)).unwrap();
    let mut lock = FileLock::open(&fixture.store.path().join("store.lock")).unwrap();
    let mut locked = false;
    let summary = fixture.run_observed(|update| match update {
        Update::Polling { summary, .. } if summary.run.polled >= 1 && !std::mem::replace(&mut locked, true) => {
            assert!(lock.acquire(Mode::Exclusive, &mut Backoff::new(Duration::from_secs(20))).unwrap());
        }
        Update::Warning(Warning::StoreBusy { outcomes, .. }) => {
            assert!(*outcomes >= 1);
            lock.release();
            reported.store(true, Ordering::Relaxed);
        }
        _ => {}
    });
    assert_eq!((summary.unwrap().run.ok, fixture.recorded()), (12, 12));
    assert!(matches!(fixture.warnings[..], [Warning::StoreBusy { .. }]), "{:?}", fixture.warnings);
}

#[test]
fn a_panic_of_the_observer_loses_no_outcome() {
    let (polled, panics) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (began, count, observed) = (AtomicUsize::new(0), Arc::clone(&polled), Arc::clone(&panics));
    let mut fixture = Fixture::new(100, move |_| {
        if began.fetch_add(1, Ordering::Relaxed) >= 4 {
            wait_until(|| observed.load(Ordering::Relaxed));
            thread::sleep(Duration::from_millis(50));
        }
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        fixture.run_observed(|update| {
            if let Update::Polling { summary, .. } = update
                && summary.run.polled >= 2
            {
                panics.store(true, Ordering::Relaxed);
                panic!("a panic that the test causes");
            }
        })
    }));
    assert!(panicked.is_err());
    let polled = polled.load(Ordering::Relaxed);
    assert!((2..100).contains(&polled), "no poll starts after the panic, but {polled} did");
    assert_eq!(fixture.recorded(), polled);
    assert_eq!(fixture.events(), ["pre-poll", "post-poll"]);
    fixture.assert_no_program_runs();
}

#[test]
fn a_listener_that_fails_after_an_interrupted_run_is_reported() {
    let mut fixture = Fixture::new(2, |_| Ok(()));
    fixture.fail_at("civi_cxn.post-poll");
    let signals = fixture.signals.clone();
    let done = fixture.run_observed(|update| {
        if let Update::Started { .. } = update {
            signals.raise(exit::SIGTERM);
        }
    });
    assert!(matches!(done, Err(Error::Listener(_))), "{done:?}");
    assert_eq!(fixture.recorded(), 0, "the signal came before the first poll");
}

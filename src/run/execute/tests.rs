//! Every way out of a run: the outcomes that were won are recorded, listener programs have ended, and the event after the
//! run is emitted if the event before it was.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::*;
use crate::batch::Batch;
use crate::exit;
use crate::listener::{Action, Listener, Listeners, PollEvent, Program};
use crate::model::{AppId, AppMeta, JobName, Outcome, Secret, Tls};
use crate::run::update::Warning;
use crate::site::Options;
use crate::transfer;
use crate::util::lock::{FileLock, Mode};
use tempfile::TempDir;

const NOW: UnixTime = 1_767_225_600;

/// A store with connections, and listeners that count what they are called for.
struct Fixture {
    directory: TempDir,
    store: Store,
    run: PollRun,
    signals: Signals,
    events: Arc<Mutex<Vec<&'static str>>>,
    warnings: Vec<Warning>,
}

impl Fixture {
    /// Connections on hosts of their own. Each is polled by a program that serves many events and by `poll`.
    fn new(cxns: u32, poll: impl Fn(u64) -> Outcome + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(&directory.path().join("store"), Duration::from_secs(30)).unwrap();
        let patches: Vec<_> = (0..cxns).map(|number| transfer::parse(&line(number)).unwrap()).collect();
        store.write(|session| session.upsert(&patches, false)).unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let mut listeners = Listeners::default();
        let mut add = |event: &str, action| {
            listeners.add(Listener { event: event.parse().unwrap(), priority: 0, stop: false, action });
        };
        for (name, event) in [("pre-poll", "civi_cxn.pre-poll"), ("post-poll", "civi_cxn.post-poll")] {
            let events = Arc::clone(&events);
            let record = move |_: &mut crate::listener::RunEvent<'_>| {
                events.lock().unwrap().push(name);
                Ok(())
            };
            add(event, Action::Run(Box::new(record)));
        }
        add("civi_cxn.poll", Action::Program(program(directory.path())));
        let number = |event: &PollEvent<'_>| event.cxn.cxn_id.as_str().trim_start_matches("cxn:").parse().unwrap();
        add("civi_cxn.poll", Action::Poll(Box::new(move |event| poll(number(event)))));
        let run = PollRun {
            app: app(),
            job: JobName::default(),
            batch: Batch::default(),
            policy: "1 hour (x3)".parse().unwrap(),
            now: NOW,
            threads: 4,
            per_host: 4,
            max_runtime: None,
            limit: None,
            only: None,
            listeners,
        };
        Self { directory, store, run, signals: Signals::default(), events, warnings: Vec::new() }
    }

    fn run(&mut self) -> Result<Summary, Error> {
        self.run_observed(|_| ())
    }

    fn run_observed(&mut self, mut on_update: impl FnMut(&Update<'_>)) -> Result<Summary, Error> {
        let (client, config) = (Arc::new(Client::new(Options::default())), Config::default());
        let warnings = &mut self.warnings;
        let mut observe = |update: Update<'_>| {
            on_update(&update);
            if let Update::Warning(warning) = update {
                warnings.push(warning);
            }
        };
        self.run.run(&self.store, &client, &config, &self.signals, &mut observe)
    }

    /// How many connections have a recorded outcome of this run.
    fn recorded(&self) -> usize {
        let mut recorded = 0;
        self.store
            .for_each_cxn(|_, _, statuses| -> crate::store::error::Result<()> {
                recorded += usize::from(statuses.iter().any(|(_, status)| status.last_run == NOW));
                Ok(())
            })
            .unwrap();
        recorded
    }

    fn events(&self) -> Vec<&'static str> {
        self.events.lock().unwrap().clone()
    }

    /// Asserts that the programs that were started have ended.
    fn assert_no_program_runs(&self) {
        let pids = fs::read_to_string(self.directory.path().join("pids")).unwrap_or_default();
        for pid in pids.lines() {
            // A zombie, which its parent has yet to wait for, has no command line.
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            assert!(command.is_empty(), "process {pid} still runs");
        }
    }

    fn current(&self) -> PathBuf {
        self.store.path().join("CURRENT")
    }
}

fn app() -> AppMeta {
    let app_id: AppId = "app:org.example.myapp".parse().unwrap();
    let app_cert = "certificate".to_owned();
    AppMeta { app_id, app_cert, disabled: false, tls: Tls::Verify, metadata: serde_json::Value::Null }
}

fn line(number: u32) -> String {
    let secret = Secret::from_bytes([7; 32]).to_base64();
    format!(
        r#"{{"cxnId":"cxn:{number}","secret":"{secret}","appId":"app:org.example.myapp","appUrl":"https://app.example/","siteUrl":"https://site{number}.example/"}}"#
    )
}

/// A program that writes down its process id, answers every event, and does not end by itself.
fn program(directory: &Path) -> Program {
    let script = "echo $$ >> pids; while read -r event; do echo '{\"ok\": true}'; done; sleep 600";
    Program {
        command: ["sh", "-c", script].map(str::to_owned).into(),
        directory: directory.to_owned(),
        reuse: true,
        timeout: Duration::from_secs(30),
        ..Program::default()
    }
}

/// Waits until something holds, for 20 seconds at most.
fn wait_until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_run_to_its_end_records_everything() {
    let mut fixture = Fixture::new(20, |_| Ok(()));
    let summary = fixture.run().unwrap();
    assert_eq!((summary.run.due, summary.run.ok, fixture.recorded()), (20, 20, 20));
    assert_eq!(fixture.events(), ["pre-poll", "post-poll"]);
    fixture.assert_no_program_runs();
    assert_eq!(fixture.run().unwrap().run.due, 0, "nothing is due any longer");
    assert_eq!(fixture.events().len(), 2, "a run that polls nothing emits nothing");
}

#[test]
fn a_listener_that_fails_before_the_run_prevents_it() {
    let mut fixture = Fixture::new(4, |_| Ok(()));
    let fail = |_: &mut crate::listener::RunEvent<'_>| Err("no".into());
    let event = "civi_cxn.pre-poll".parse().unwrap();
    fixture.run.listeners.add(Listener { event, priority: 9, stop: false, action: Action::Run(Box::new(fail)) });
    assert!(matches!(fixture.run(), Err(Error::Listener(_))));
    assert_eq!((fixture.recorded(), fixture.events().len()), (0, 0));
}

#[test]
fn a_listener_that_fails_after_the_run_loses_no_outcome() {
    let mut fixture = Fixture::new(4, |_| Ok(()));
    let fail = |_: &mut crate::listener::RunEvent<'_>| Err("no".into());
    let event = "civi_cxn.post-poll".parse().unwrap();
    fixture.run.listeners.add(Listener { event, priority: 9, stop: false, action: Action::Run(Box::new(fail)) });
    assert!(matches!(fixture.run(), Err(Error::Listener(_))));
    assert_eq!(fixture.recorded(), 4);
    fixture.assert_no_program_runs();
}

#[test]
fn a_program_that_cannot_be_started_ends_the_run() {
    let mut fixture = Fixture::new(8, |_| Ok(()));
    let program = Program { command: vec!["./no-such-program".to_owned()], ..program(fixture.directory.path()) };
    let event = "civi_cxn.poll".parse().unwrap();
    // It comes last, so that the other program runs already.
    fixture.run.listeners.add(Listener { event, priority: -9, stop: false, action: Action::Program(program) });
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

/// A store that fails while connection 0 is polled, and works again when the poll of connection 1 ends.
#[test]
fn a_store_that_fails_for_a_while_ends_the_run_and_loses_no_outcome() {
    let paths = Arc::new(Mutex::new(PathBuf::new()));
    let moved = Arc::clone(&paths);
    let mut fixture = Fixture::new(8, move |number| {
        let current = moved.lock().unwrap().clone();
        let hidden = current.with_extension("hidden");
        match number {
            0 => fs::rename(&current, &hidden).unwrap(),
            1 => {
                // Outcomes are to be recorded meanwhile.
                thread::sleep(Duration::from_millis(1800));
                fs::rename(&hidden, &current).unwrap();
            }
            _ => {}
        }
        Ok(())
    });
    *paths.lock().unwrap() = fixture.current();
    assert!(matches!(fixture.run(), Err(Error::Store(StoreError::NoStore { .. }))));
    assert_eq!(fixture.recorded(), 8);
    assert_eq!(fixture.events(), ["pre-poll", "post-poll"]);
    fixture.assert_no_program_runs();
}

#[test]
fn a_store_that_stays_away_is_an_error_that_counts_the_lost_outcomes() {
    let path = Arc::new(Mutex::new(PathBuf::new()));
    let removed = Arc::clone(&path);
    let mut fixture = Fixture::new(4, move |number| {
        if number == 0 {
            let current = removed.lock().unwrap().clone();
            fs::rename(&current, current.with_extension("hidden")).unwrap();
        }
        Ok(())
    });
    *path.lock().unwrap() = fixture.current();
    assert!(matches!(fixture.run(), Err(Error::NotRecorded { outcomes: 4, .. })));
    assert_eq!(fixture.events(), ["pre-poll", "post-poll"]);
    fixture.assert_no_program_runs();
}

#[test]
fn a_panic_in_the_middle_of_a_run_loses_no_outcome() {
    let mut fixture = Fixture::new(8, |number| {
        thread::sleep(Duration::from_millis(number * 20));
        Ok(())
    });
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        fixture.run_observed(|update| {
            if let Update::Polling { summary, .. } = update {
                assert!(summary.run.polled < 4, "a panic that the test causes");
            }
        })
    }));
    assert!(panicked.is_err());
    assert!((4..=8).contains(&fixture.recorded()), "{}", fixture.recorded());
    assert_eq!(fixture.events(), ["pre-poll", "post-poll"]);
    fixture.assert_no_program_runs();
}

#[test]
fn a_signal_ends_the_run_although_another_process_holds_the_store() {
    let mut fixture = Fixture::new(200, |number| {
        thread::sleep(Duration::from_millis(if number < 4 { 50 } else { 300 }));
        Ok(())
    });
    let mut lock = FileLock::open(&fixture.store.path().join("store.lock")).unwrap();
    let signals = fixture.signals.clone();
    let (mut signalled, mut acknowledged) = (None, None);
    let summary = fixture
        .run_observed(|update| match update {
            // The store is locked once the first session is over, and the signal comes while outcomes wait for it.
            Update::Polling { summary, .. } if summary.run.polled >= 4 && signalled.is_none() => {
                assert!(lock.acquire(Mode::Exclusive, &mut Backoff::new(Duration::from_secs(20))).unwrap());
                signalled = Some(Instant::now());
                signals.raise(exit::SIGTERM);
            }
            Update::Stopping { .. } => acknowledged = Some(Instant::now()),
            Update::PollingEnded => lock.release(),
            _ => {}
        })
        .unwrap();
    let delay = acknowledged.unwrap() - signalled.unwrap();
    assert!(delay < Duration::from_millis(500), "acknowledged after {delay:?}");
    assert_eq!(summary.interrupted, Some(exit::SIGTERM));
    assert_eq!(fixture.recorded() as u64, summary.run.polled);
    assert!(summary.run.polled < 200);
    fixture.assert_no_program_runs();
}

#[test]
fn a_signal_ends_the_wait_for_the_store_before_anything_is_polled() {
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
    let delay = raise.join().unwrap().elapsed();
    assert!(delay < Duration::from_millis(500), "ended after {delay:?}");
    assert_eq!((summary.interrupted, summary.run.polled), (Some(exit::SIGINT), 0));
    assert!(fixture.events().is_empty());
}

#[test]
fn the_maximum_runtime_is_kept_although_another_process_holds_the_store() {
    let mut fixture = Fixture::new(4, |_| Ok(()));
    fixture.run.max_runtime = Some(Duration::from_millis(200));
    let mut lock = FileLock::open(&fixture.store.path().join("store.lock")).unwrap();
    assert!(lock.try_acquire(Mode::Exclusive).unwrap());
    let began = Instant::now();
    let summary = fixture.run().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!((summary.interrupted, summary.run.polled), (None, 0));
}

#[test]
fn a_store_that_is_busy_for_a_while_only_delays_outcomes() {
    let mut fixture = Fixture::new(12, |number| {
        thread::sleep(Duration::from_millis(100 + number * 250));
        Ok(())
    });
    fixture.store = Store::open(fixture.store.path(), Duration::from_millis(100)).unwrap();
    let lock = Mutex::new(FileLock::open(&fixture.store.path().join("store.lock")).unwrap());
    thread::scope(|scope| {
        let mut locked = false;
        let summary = fixture.run_observed(|update| {
            if let Update::Polling { summary, .. } = update
                && summary.run.polled >= 1
                && !std::mem::replace(&mut locked, true)
            {
                assert!(lock.lock().unwrap().try_acquire(Mode::Exclusive).unwrap());
                scope.spawn(|| {
                    thread::sleep(Duration::from_millis(1700));
                    lock.lock().unwrap().release();
                });
            }
        });
        assert_eq!(summary.unwrap().run.ok, 12);
    });
    assert_eq!(fixture.recorded(), 12);
    let busy = fixture.warnings.iter().filter(|warning| matches!(warning, Warning::StoreBusy { .. }));
    assert!((1..4).contains(&busy.count()), "{:?}", fixture.warnings);
}

#[test]
fn an_overlapping_run_is_declined_and_a_poll_by_hand_waits_for_it() {
    let mut fixture = Fixture::new(2, |_| Ok(()));
    let (store, run) = (fixture.store.clone(), fixture.run.clone());
    let range = Batch::default().range();
    let lock = RunLock { directory: store.runs(), app_id: run.app.app_id.clone(), job: run.job.clone(), range };
    let mut held = lock.acquire(&mut Backoff::new(Duration::ZERO), || ()).unwrap();
    assert!(matches!(fixture.run(), Err(Error::Declined { .. })));
    fixture.run.only = Some("cxn:1".parse().unwrap());
    let release = thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        held.take();
    });
    assert_eq!(fixture.run().unwrap().run.ok, 1);
    release.join().unwrap();
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

//! Every way out of a run.
//!
//! The outcomes that were received are recorded, listener programs have ended, and the event after the run is emitted if
//! the event before it was.

mod failing;
mod schedule;
mod spread;
mod stopping;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use super::*;
use crate::batch::Batch;
use crate::exit;
use crate::listener::{Action, Listener, Listeners, PollEvent, Program};
use crate::model::{AppId, AppMeta, JobName, Outcome, Secret, Threads, Tls};
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
            threads: Threads::Fixed(4),
            per_host: 4,
            max_runtime: None,
            limit: None,
            only: None,
            listeners,
        };
        Self { directory, store, run, signals: Signals::default(), events, warnings: Vec::new() }
    }

    /// Adds a listener that fails, which comes first.
    fn fail_at(&mut self, event: &str) {
        let action = Action::Run(Box::new(|_: &mut crate::listener::RunEvent<'_>| Err("no".into())));
        self.add(event, 9, action);
    }

    fn add(&mut self, event: &str, priority: i32, action: Action) {
        self.run.listeners.add(Listener { event: event.parse().unwrap(), priority, stop: false, action });
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

    /// Makes programs end by themselves, for runs that need not prove that programs are killed.
    fn let_programs_end(&self) {
        fs::write(self.directory.path().join("end"), "").unwrap();
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

/// A connection whose site has an address of its own, which needs no name server.
fn line(number: u32) -> String {
    let secret = Secret::from_bytes([7; 32]).to_base64();
    let host = format!("127.{}.{}.1", number / 256, number % 256);
    format!(
        r#"{{"cxnId":"cxn:{number}","secret":"{secret}","appId":"app:org.example.myapp","appUrl":"https://app.example/","siteUrl":"https://{host}/"}}"#
    )
}

/// A program that answers every event, and ends by itself only where a file `end` exists.
///
/// It adds its process id to a file.
fn program(directory: &Path) -> Program {
    let script = "echo $$ >> pids; while read -r event; do echo '{\"ok\": true}'; done; [ -e end ] || sleep 600";
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
fn a_completed_run_records_every_outcome() {
    let mut fixture = Fixture::new(20, |_| Ok(()));
    let summary = fixture.run().unwrap();
    assert_eq!((summary.run.due, summary.run.ok, fixture.recorded()), (20, 20, 20));
    assert_eq!(fixture.events(), ["pre-poll", "post-poll"]);
    fixture.assert_no_program_runs();
    assert_eq!(fixture.run().unwrap().run.due, 0, "nothing is due any longer");
    assert_eq!(fixture.events().len(), 2, "a run that polls nothing emits nothing");
}

#[test]
fn an_overlapping_run_is_declined_and_a_poll_by_hand_waits_for_it() {
    let mut fixture = Fixture::new(2, |_| Ok(()));
    fixture.let_programs_end();
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
fn the_wait_for_the_last_session_is_time_of_the_run() {
    let mut fixture = Fixture::new(2, |_| Ok(()));
    fixture.let_programs_end();
    let mut lock = FileLock::open(&fixture.store.path().join("store.lock")).unwrap();
    let mut release = None;
    let summary = fixture.run_observed(|update| {
        if let Update::PollingEnded = update {
            assert!(lock.acquire(Mode::Exclusive, &mut Backoff::new(Duration::from_secs(20))).unwrap());
            let mut held = std::mem::replace(&mut lock, FileLock::new(tempfile::tempfile().unwrap()));
            release = Some(thread::spawn(move || {
                thread::sleep(Duration::from_millis(300));
                held.release();
            }));
        }
    });
    release.unwrap().join().unwrap();
    let elapsed = summary.unwrap().run.elapsed_ms;
    assert!((300..20_000).contains(&elapsed), "{elapsed}");
}

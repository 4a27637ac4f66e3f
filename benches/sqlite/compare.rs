//! The store against SQLite: the same connections, the same questions, in one run.
//!
//! ```sh
//! cargo bench --manifest-path benches/sqlite/Cargo.toml
//! CXNPOLL_SIZES=10000,100000 cargo bench --manifest-path benches/sqlite/Cargo.toml
//! ```
//!
//! `select` finds what is due and loads what polling the first 8192 of it takes, with nothing, one in a hundred or all due, or
//! one in a hundred new. `opened` begins and ends with a closed database, as a process does that cron starts: ours doesn't open
//! it where the outlook beside it says that nothing can be due. `open` is measured within an open one. `record` writes a group of 1,000 outcomes, and `import` 10,000 connections, both durably and
//! from closed to closed. At the end stands a table of SQLite's time divided by ours: above 1 we are faster.
//!
//! SQLite selects twice: as well as it can, where each connection has got its status with the import, and after it has
//! looked for connections without one by a join, as cxnapp does.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, mem};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode};
use cxnpoll::batch::Batch;
use cxnpoll::model::{Attempt, JobName, PollStatus, Secret};
use cxnpoll::retry::Policy;
use cxnpoll::store::{CxnLine, Job, Replacement, Session, Store};
use cxnpoll_sqlite::{Row, Sqlite};
use tempfile::TempDir;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// 2026-01-01T00:00:00Z
const MIDNIGHT: i64 = 1_767_225_600;
const HOUR: i64 = 3600;
const RETRY: &str = "1 hour (x48); 1 day (x90)";
const APP: &str = "app:org.example.myapp";
/// How many connections a run loads before it begins.
const CHUNK: usize = 8192;
/// How many outcomes are recorded at a time.
const GROUP: usize = 1000;
/// How many connections an import writes at a time.
const SLICE: usize = 4096;
/// How many connections the import is measured with.
const IMPORTED: u32 = 10_000;
const OURS: &str = "cxnpoll";
const THEIRS: &str = "SQLite";
const JOINING: &str = "SQLite by join";

fn main() -> Result<()> {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let measures = env::args().any(|arg| arg == "--bench");
    let sizes = env::var("CXNPOLL_SIZES").unwrap_or_else(|_| "10000,100000,1000000".to_owned());
    let sizes = if measures { sizes.as_str() } else { "1000" };

    for size in sizes.split(',') {
        let world = World::new(size.trim().parse()?)?;
        let (some, all) = (world.size / 100, world.size);
        for (name, now, expected) in [
            ("1 % new", MIDNIGHT, some),
            ("1 % new and 1 % due", MIDNIGHT + HOUR, 2 * some),
            ("all due", MIDNIGHT + 2 * HOUR, all),
            ("none due", MIDNIGHT, 0),
        ] {
            if expected == 0 {
                world.poll_the_new()?;
            }
            let mut group = criterion.benchmark_group(format!("select, {name}"));
            world.select(now, expected, group.sampling_mode(SamplingMode::Flat))?;
            group.finish();
        }
        let mut group = criterion.benchmark_group("record 1,000");
        world.record(group.sampling_mode(SamplingMode::Flat))?;
        group.finish();
    }
    let mut group = criterion.benchmark_group("import 10,000");
    import(group.sampling_mode(SamplingMode::Flat))?;
    group.finish();
    criterion.final_summary();
    if measures { print_table(Path::new("target/criterion")) } else { Ok(()) }
}

/// The same connections in both stores.
struct World {
    size: u32,
    folder: TempDir,
    store: Store,
    policy: Policy,
}

impl World {
    fn new(size: u32) -> Result<Self> {
        let (folder, policy) = (tempfile::tempdir()?, RETRY.parse::<Policy>()?);
        let store = Store::create(&folder.path().join("store"), Duration::from_secs(60))?;
        fill(&store, 0..size)?;
        // As the first run of the job does it.
        while !store.session(|session| session.enrol(&job(session)?))? {}
        store.session(|session| session.remember_retry(job(session)?.no, &policy.to_string()))?;
        fill_sqlite(&folder.path().join("sqlite"), 0..size)?;
        Ok(Self { size, folder, store, policy })
    }

    /// Gives the new ones the status of those that were polled half an hour after midnight.
    fn poll_the_new(&self) -> Result<()> {
        let polled = MIDNIGHT + HOUR / 2;
        self.store.session(|session| {
            let job = job(session)?;
            let new = session.due(&job, &self.policy, &Batch::default().range(), MIDNIGHT)?;
            let tasks = session.load(&job, &self.policy, None, &new)?.into_iter();
            let next = |status: &PollStatus| PollStatus { last_run: polled, ..status.clone() };
            let polled =
                tasks.map(|task| Replacement { place: task.place, next: next(&task.status), selected: task.status });
            session.record(&job, &polled.collect::<Vec<_>>())
        })?;
        let new = self.sqlite().select(&[0], usize::MAX)?.1;
        let rows: Vec<_> = new.into_iter().map(|row| (row.clone(), Row { last_run: polled, ..row })).collect();
        self.sqlite().record(&rows)?;
        Ok(())
    }

    fn sqlite(&self) -> Sqlite {
        Sqlite::open(&self.folder.path().join("sqlite")).expect("SQLite opens its database")
    }

    /// From closed to closed, as a run does it.
    fn opened(&self, now: i64) -> cxnpoll::error::Result<(usize, usize)> {
        let app = APP.parse().expect("an appId");
        if self.store.nothing_is_due(&app, &JobName::default(), &self.policy, now) {
            return Ok((0, 0));
        }
        self.store.session(|session| self.ours(session, now))
    }

    fn ours(&self, session: &Session, now: i64) -> cxnpoll::error::Result<(usize, usize)> {
        let job = job(session)?;
        session.enrol(&job)?;
        let due = session.due(&job, &self.policy, &Batch::default().range(), now)?;
        let loaded = session.load(&job, &self.policy, Some(now), &due[..due.len().min(CHUNK)])?;
        Ok((due.len(), loaded.len()))
    }

    fn theirs(&self, sqlite: &Sqlite, now: i64) -> (usize, usize) {
        let latest: Vec<i64> = (0..2).map(|level| self.policy.scan_bounds(level, now).map_or(-1, |b| b.past)).collect();
        let (due, loaded) = sqlite.select(&latest, CHUNK).expect("SQLite selects");
        (due, loaded.len())
    }

    /// One in a hundred was polled at midnight, one in a hundred is new, the others were polled half an hour later.
    fn select(&self, now: i64, expected: u32, group: &mut BenchmarkGroup<WallTime>) -> Result<()> {
        let expected = usize::try_from(expected)?;
        let expected = (expected, expected.min(CHUNK));
        let found = [self.opened(now)?, self.theirs(&self.sqlite(), now)];
        if found != [expected; 2] {
            return Err(format!("at {now} of {}: found {found:?}, not {expected:?}", self.size).into());
        }
        let id = |who: &str, how: &str| BenchmarkId::new(format!("{who}, {how}"), self.size);
        group.bench_function(id(OURS, "opened"), |bencher| {
            bencher.iter(|| self.opened(now).expect("the store can be read"));
        });
        group.bench_function(id(THEIRS, "opened"), |bencher| bencher.iter(|| self.theirs(&self.sqlite(), now)));
        group.bench_function(id(OURS, "open"), |bencher| {
            bencher.iter_custom(|times| {
                let measure = |session: &Session| {
                    let began = Instant::now();
                    for _ in 0..times {
                        self.ours(session, now)?;
                    }
                    Ok(began.elapsed())
                };
                self.store.session(measure).expect("the store can be read")
            });
        });
        let sqlite = self.sqlite();
        group.bench_function(id(THEIRS, "open"), |bencher| bencher.iter(|| self.theirs(&sqlite, now)));
        let join_and_select = |sqlite: &Sqlite| {
            assert_eq!(sqlite.take_in().expect("SQLite looks for new ones"), 0);
            self.theirs(sqlite, now)
        };
        group.bench_function(id(JOINING, "opened"), |bencher| bencher.iter(|| join_and_select(&self.sqlite())));
        group.bench_function(id(JOINING, "open"), |bencher| bencher.iter(|| join_and_select(&sqlite)));
        Ok(())
    }

    /// Records outcomes of the same connections again and again: every other time with the clock set back.
    fn record(&self, group: &mut BenchmarkGroup<WallTime>) -> Result<()> {
        let now = MIDNIGHT + 2 * HOUR;
        let job = self.store.session(job)?;
        let due = self.store.session(|session| session.due(&job, &self.policy, &Batch::default().range(), now))?;
        let due = &due[..due.len().min(GROUP)];
        let tasks = self.store.session(|session| session.load(&job, &self.policy, Some(now), due))?;
        let mut ours: Vec<_> = tasks
            .into_iter()
            .map(|task| {
                let mut next = task.status.clone();
                self.policy.apply(&mut next, now, &Ok(()));
                Replacement { place: task.place, selected: task.status, next }
            })
            .collect();
        let latest = [now - HOUR, now - 24 * HOUR];
        let selected = self.sqlite().select(&latest, GROUP)?.1;
        let mut theirs: Vec<_> = selected.into_iter().map(|row| (row.clone(), Row { last_run: now, ..row })).collect();
        group.bench_function(BenchmarkId::new(format!("{OURS}, opened"), self.size), |bencher| {
            bencher.iter(|| {
                let recorded = self.store.session(|session| session.record(&job, &ours)).expect("the store is written");
                assert!(recorded.into_iter().all(|recorded| recorded));
                for one in &mut ours {
                    mem::swap(&mut one.selected, &mut one.next);
                }
            });
        });
        group.bench_function(BenchmarkId::new(format!("{THEIRS}, opened"), self.size), |bencher| {
            bencher.iter(|| {
                let recorded = self.sqlite().record(&theirs).expect("SQLite records");
                assert_eq!(recorded, theirs.len());
                for (selected, next) in &mut theirs {
                    mem::swap(selected, next);
                }
            });
        });
        Ok(())
    }
}

fn import(group: &mut BenchmarkGroup<WallTime>) -> Result<()> {
    let ours = |path: PathBuf| -> Result<()> {
        let store = Store::create(&path, Duration::from_secs(60))?;
        fill(&store, 0..IMPORTED)
    };
    let folder = tempfile::tempdir()?;
    let mut number = 0;
    let mut fresh = || {
        number += 1;
        folder.path().join(number.to_string())
    };
    group.bench_function(BenchmarkId::new(format!("{OURS}, opened"), IMPORTED), |bencher| {
        bencher.iter(|| ours(fresh()).expect("the store is written"));
    });
    group.bench_function(BenchmarkId::new(format!("{THEIRS}, opened"), IMPORTED), |bencher| {
        bencher.iter(|| fill_sqlite(&fresh(), 0..IMPORTED).expect("SQLite imports"));
    });
    Ok(())
}

fn fill(store: &Store, numbers: std::ops::Range<u32>) -> Result<()> {
    let numbers: Vec<u32> = numbers.collect();
    for slice in numbers.chunks(SLICE) {
        let lines = slice.iter().map(|number| line(*number)).collect::<Result<Vec<_>>>()?;
        store.session(|session| session.put(&lines, false))?;
    }
    Ok(())
}

fn fill_sqlite(path: &Path, numbers: std::ops::Range<u32>) -> Result<()> {
    let numbers: Vec<u32> = numbers.collect();
    for slice in numbers.chunks(SLICE) {
        // Opened and closed for each slice, as ours is.
        Sqlite::open(path)?.import(&slice.iter().map(|number| row(*number)).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// The one job of the store.
fn job(session: &Session) -> cxnpoll::error::Result<Job> {
    let app = session.app(&APP.parse().expect("an appId"))?.expect("the app has connections");
    session.ensure_job(app, &JobName::default())
}

fn last_run(number: u32) -> i64 {
    match number % 100 {
        0 => MIDNIGHT,
        1 => 0,
        _ => MIDNIGHT + HOUR / 2,
    }
}

fn batch_code(number: u32) -> u16 {
    // A multiplicative hash, so that neighbours are far apart, as with random codes.
    u16::try_from(u64::from(number) * 2_654_435_761 % 10_001).expect("a remainder by 10001")
}

fn cxn_id(number: u32) -> String {
    format!("cxn:{:016x}{number:016x}", u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A connection with the history of a site that has answered for a while; the new ones have none.
fn line(number: u32) -> Result<CxnLine> {
    let last_run = last_run(number);
    let mut status = PollStatus { last_run, ..PollStatus::default() };
    if last_run > 0 {
        status.last_success = Some(last_run);
        status.attempts = (0..10).rev().map(|ago| Attempt { at: last_run - ago * HOUR, class: None }).collect();
    }
    let mut secret = [0; 32];
    secret[..4].copy_from_slice(&number.to_be_bytes());
    Ok(CxnLine {
        cxn_id: cxn_id(number).parse()?,
        secret: Secret::from_bytes(secret),
        app_id: APP.parse()?,
        app_url: "https://myapp.example.org/cxn".to_owned(),
        site_url: site_url(number),
        perm: None,
        via_port: None,
        batch_code: Some(batch_code(number).try_into()?),
        disabled: None,
        poll_status: vec![(JobName::default(), status)],
    })
}

fn site_url(number: u32) -> String {
    format!("https://site-{number}.example.org/civicrm/cxn/api")
}

fn row(number: u32) -> Row {
    let mut secret = [0; 32];
    secret[..4].copy_from_slice(&number.to_be_bytes());
    // As many bytes as ours takes for ten attempts and a last success.
    let history = if last_run(number) > 0 { vec![7; 70] } else { Vec::new() };
    Row {
        no: number.into(),
        cxn_id: cxn_id(number),
        batch_code: batch_code(number),
        secret,
        site_url: site_url(number),
        level: 0,
        count: 0,
        last_run: last_run(number),
        history,
    }
}

/// Reads what criterion has measured, and prints the ratios.
fn print_table(folder: &Path) -> Result<()> {
    // By what was done and how, and by size: the medians of all, in nanoseconds.
    let mut medians: BTreeMap<(String, u64), [f64; 3]> = BTreeMap::new();
    for group in fs::read_dir(folder)? {
        let group = group?;
        let what = group.file_name().to_string_lossy().into_owned();
        for function in fs::read_dir(group.path())?.filter_map(Result::ok) {
            let name = function.file_name().to_string_lossy().into_owned();
            let Some((who, how)) = name.split_once(", ") else { continue };
            for size in fs::read_dir(function.path())?.filter_map(Result::ok) {
                let Ok(number) = size.file_name().to_string_lossy().parse() else { continue };
                let estimates: serde_json::Value =
                    serde_json::from_slice(&fs::read(size.path().join("new/estimates.json"))?)?;
                let median = estimates["median"]["point_estimate"].as_f64().ok_or("criterion tells no median")?;
                let column = [OURS, THEIRS, JOINING].iter().position(|one| *one == who).ok_or("an unknown column")?;
                medians.entry((format!("{what}, {how}"), number)).or_default()[column] = median;
            }
        }
    }
    println!("\n| what | connections | cxnpoll, ms | SQLite, ms | ratio | by join, ms | ratio |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for ((what, size), [ours, theirs, joining]) in medians {
        let cells = [theirs, joining].map(|other| match other {
            0.0 => "| | ".to_owned(),
            other => format!("| {:.2} | {:.2} ", other / 1e6, other / ours),
        });
        println!("| {what} | {size} | {:.2} {}|", ours / 1e6, cells.concat());
    }
    Ok(())
}

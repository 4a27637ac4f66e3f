//! The store compared with SQLite: the same connections and the same operations, in one run.
//!
//! ```sh
//! cargo bench --manifest-path benches/sqlite/Cargo.toml
//! CXNPOLL_SIZES=10000,100000 cargo bench --manifest-path benches/sqlite/Cargo.toml
//! ```
//!
//! `select` finds the connections that are due and loads the first 8192 of them, as a run does before it polls. It is
//! measured when nothing, one percent or everything is due, and when one percent is new. `cold` includes opening and
//! closing the database, as in a process started by cron; the store skips both if its `outlook` file proves that nothing is
//! due. `warm` works on an open database. `record` writes 1,000 outcomes and `import` 10,000 connections, both durably and
//! cold. The table at the end shows SQLite's time divided by that of the store: above 1 the store is faster.
//!
//! SQLite selects in two ways. In the first, each connection gets its status with the import, which is the fastest that
//! we know. In the second, a join finds connections without a status before each selection, as cxnapp does.

#[path = "../common/mod.rs"]
mod common;
mod data;
#[path = "../common/outcomes.rs"]
mod outcomes;
#[path = "../common/settings.rs"]
mod settings;
mod table;

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, mem};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode};
use cxnpoll::batch::Batch;
use cxnpoll::model::{JobName, PollStatus};
use cxnpoll::retry::Policy;
use cxnpoll::store::{Job, StatusUpdate, Store, WriteSession};
use cxnpoll_sqlite::{Row, Sqlite};
use tempfile::TempDir;

use common::{APP, HOUR, IMPORT_GROUP, MIDNIGHT, Result};
use data::{cxn, row};
use table::{SQLITE, SQLITE_JOIN, STORE};

const DEFAULT_SIZES: &str = "10000,100000,1000000";
/// The size that is tried without `--bench`.
const TRIAL_SIZE: &str = "1000";
const RETRY: &str = "1 hour (x48); 1 day (x90)";
/// The number of connections that a run loads before it polls.
const LOADED: usize = 8192;
/// The number of outcomes that are recorded in a session.
const RECORDED: usize = 1000;
/// The number of connections in the benchmark of the import.
const IMPORTED: u32 = 10_000;
const STORE_WAIT: Duration = Duration::from_secs(60);

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn main() -> Result<()> {
    let mut criterion = settings::criterion();
    let sizes = env::var("CXNPOLL_SIZES").unwrap_or_else(|_| DEFAULT_SIZES.to_owned());
    let sizes = if common::is_measuring() { sizes.as_str() } else { TRIAL_SIZE };
    for size in sizes.split(',') {
        compare(&mut criterion, size.trim().parse()?)?;
    }
    let mut group = criterion.benchmark_group("import 10,000");
    import(group.sampling_mode(SamplingMode::Flat))?;
    group.finish();
    criterion.final_summary();
    if common::is_measuring() { table::print(Path::new("target/criterion")) } else { Ok(()) }
}

/// Compares selecting and recording at one size.
fn compare(criterion: &mut Criterion, size: u32) -> Result<()> {
    let setup = Setup::new(size)?;
    let percent = size / 100;
    let mut select = |name: &str, now: i64, expected: u32| {
        let mut group = criterion.benchmark_group(format!("select, {name}"));
        setup.select(now, expected, group.sampling_mode(SamplingMode::Flat))?;
        group.finish();
        Ok::<(), Box<dyn std::error::Error>>(())
    };
    select("1 % new", MIDNIGHT + HOUR / 2, percent)?;
    select("1 % new and 1 % due", MIDNIGHT + HOUR, 2 * percent)?;
    select("all due", MIDNIGHT + 2 * HOUR, size)?;
    setup.poll_new()?;
    select("none due", MIDNIGHT + HOUR / 2, 0)?;

    let mut group = criterion.benchmark_group("record 1,000");
    setup.record(group.sampling_mode(SamplingMode::Flat))?;
    group.finish();
    Ok(())
}

/// The same connections in a store and in SQLite.
///
/// One percent was polled at midnight, one percent is new, and the others were polled half an hour later.
struct Setup {
    size: u32,
    dir: TempDir,
    store: Store,
    policy: Policy,
}

impl Setup {
    fn new(size: u32) -> Result<Self> {
        let (dir, policy) = (tempfile::tempdir()?, RETRY.parse::<Policy>()?);
        let store = Store::create(&dir.path().join("store"), STORE_WAIT)?;
        common::import(&store, (0..size).map(cxn))?;
        // The first run of a job does the same.
        while !store.write(|session| session.backfill(&job(session)?))? {}
        store.write(|session| session.remember_retry(job(session)?.no, &policy.to_string()))?;
        import_sqlite(&dir.path().join("sqlite"), 0..size)?;
        Ok(Self { size, dir, store, policy })
    }

    /// Gives new connections the status of those that were polled half an hour after midnight.
    fn poll_new(&self) -> Result<()> {
        let last_run = MIDNIGHT + HOUR / 2;
        self.store.write(|session| {
            let job = job(session)?;
            let new = session.due(&job, &self.policy, &Batch::default().range(), last_run)?;
            let tasks = session.load(&job, &self.policy, None, &new)?;
            let polled = |status: &PollStatus| PollStatus { last_run, ..status.clone() };
            let outcomes = tasks.into_iter().map(|task| StatusUpdate {
                locator: task.locator,
                next: polled(&task.status),
                expected: task.status,
                transition: None,
                moved: None,
            });
            session.record_outcomes(&job, &outcomes.collect::<Vec<_>>())
        })?;
        let new = self.open_sqlite().select(&[0], usize::MAX)?.1;
        self.open_sqlite().record(&polled_rows(new, last_run))?;
        Ok(())
    }

    fn open_sqlite(&self) -> Sqlite {
        Sqlite::open(&self.dir.path().join("sqlite")).expect("SQLite opens its database")
    }

    /// Selects from a closed store, as a run does.
    ///
    /// Returns how many connections are due and how many were loaded, as the other selections do.
    fn select_cold(&self, now: i64) -> cxnpoll::store::error::Result<(usize, usize)> {
        let app = APP.parse().expect("a valid appId");
        if self.store.is_certainly_idle(&app, &JobName::default(), &self.policy, now) {
            return Ok((0, 0));
        }
        self.store.write(|session| self.select_warm(session, now))
    }

    fn select_warm(&self, session: &WriteSession, now: i64) -> cxnpoll::store::error::Result<(usize, usize)> {
        let job = job(session)?;
        session.backfill(&job)?;
        let due = session.due(&job, &self.policy, &Batch::default().range(), now)?;
        let loaded = session.load(&job, &self.policy, Some(now), &due[..due.len().min(LOADED)])?;
        Ok((due.len(), loaded.len()))
    }

    fn select_sqlite(&self, sqlite: &Sqlite, now: i64) -> (usize, usize) {
        let latest: Vec<i64> = (0..2).map(|level| self.policy.scan_bounds(level, now).map_or(-1, |b| b.past)).collect();
        let (due, loaded) = sqlite.select(&latest, LOADED).expect("SQLite selects");
        (due, loaded.len())
    }

    fn select_sqlite_join(&self, sqlite: &Sqlite, now: i64) -> (usize, usize) {
        assert_eq!(sqlite.backfill().expect("SQLite finds connections without a status"), 0);
        self.select_sqlite(sqlite, now)
    }

    /// Measures all ways to select at `now`, when `expected` connections are due.
    fn select(&self, now: i64, expected: u32, group: &mut Group) -> Result<()> {
        let due = usize::try_from(expected)?;
        let expected = (due, due.min(LOADED));
        let found = [self.select_cold(now)?, self.select_sqlite(&self.open_sqlite(), now)];
        if found != [expected; 2] {
            return Err(
                format!("at {now}, of {} connections: expected {expected:?}, found {found:?}", self.size).into()
            );
        }
        let id = |column: &str, how: &str| BenchmarkId::new(format!("{column}, {how}"), self.size);

        group.bench_function(id(STORE, "cold"), |bencher| {
            bencher.iter(|| self.select_cold(now).expect("the store is readable"));
        });
        group.bench_function(id(SQLITE, "cold"), |bencher| {
            bencher.iter(|| self.select_sqlite(&self.open_sqlite(), now));
        });
        group.bench_function(id(SQLITE_JOIN, "cold"), |bencher| {
            bencher.iter(|| self.select_sqlite_join(&self.open_sqlite(), now));
        });

        group.bench_function(id(STORE, "warm"), |bencher| {
            bencher.iter_custom(|iterations| {
                let measure = |session: &WriteSession| {
                    let start = Instant::now();
                    for _ in 0..iterations {
                        self.select_warm(session, now)?;
                    }
                    Ok(start.elapsed())
                };
                self.store.write(measure).expect("the store is readable")
            });
        });
        let sqlite = self.open_sqlite();
        group.bench_function(id(SQLITE, "warm"), |bencher| bencher.iter(|| self.select_sqlite(&sqlite, now)));
        group.bench_function(id(SQLITE_JOIN, "warm"), |bencher| bencher.iter(|| self.select_sqlite_join(&sqlite, now)));
        Ok(())
    }

    /// Measures recording outcomes of the same connections, which every other iteration reverts.
    fn record(&self, group: &mut Group) -> Result<()> {
        let now = MIDNIGHT + 2 * HOUR;
        let job = self.store.write(job)?;
        let mut outcomes = outcomes::successes(&self.store, &job, &self.policy, now, RECORDED)?;
        group.bench_function(BenchmarkId::new(format!("{STORE}, cold"), self.size), |bencher| {
            bencher.iter(|| {
                let recorded = self.store.write(|session| session.record_outcomes(&job, &outcomes));
                assert!(recorded.expect("the store is writable").into_iter().all(|recorded| recorded));
                outcomes::revert(&mut outcomes);
            });
        });

        let latest = [now - HOUR, now - 24 * HOUR];
        let mut rows = polled_rows(self.open_sqlite().select(&latest, RECORDED)?.1, now);
        group.bench_function(BenchmarkId::new(format!("{SQLITE}, cold"), self.size), |bencher| {
            bencher.iter(|| {
                let recorded = self.open_sqlite().record(&rows).expect("SQLite records");
                assert_eq!(recorded, rows.len());
                for (selected, next) in &mut rows {
                    mem::swap(selected, next);
                }
            });
        });
        Ok(())
    }
}

/// Pairs each row with what it becomes by a poll at `last_run`.
fn polled_rows(rows: Vec<Row>, last_run: i64) -> Vec<(Row, Row)> {
    rows.into_iter().map(|row| (row.clone(), Row { last_run, ..row })).collect()
}

/// Measures an import into a new store and into a new SQLite database.
fn import(group: &mut Group) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut number = 0;
    let mut new_path = || {
        number += 1;
        dir.path().join(number.to_string())
    };
    group.bench_function(BenchmarkId::new(format!("{STORE}, cold"), IMPORTED), |bencher| {
        bencher.iter(|| import_store(&new_path()).expect("the store is writable"));
    });
    group.bench_function(BenchmarkId::new(format!("{SQLITE}, cold"), IMPORTED), |bencher| {
        bencher.iter(|| import_sqlite(&new_path(), 0..IMPORTED).expect("SQLite imports"));
    });
    Ok(())
}

fn import_store(path: &Path) -> Result<()> {
    let store = Store::create(path, STORE_WAIT)?;
    common::import(&store, (0..IMPORTED).map(cxn))
}

fn import_sqlite(path: &Path, numbers: Range<u32>) -> Result<()> {
    let numbers: Vec<u32> = numbers.collect();
    for group in numbers.chunks(IMPORT_GROUP) {
        // Opened and closed for each group, as the store is.
        Sqlite::open(path)?.import(&group.iter().map(|number| row(*number)).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Returns the only job of the store.
fn job(session: &WriteSession) -> cxnpoll::store::error::Result<Job> {
    let app = session.app_no(&APP.parse().expect("a valid appId"))?.expect("the app has connections");
    session.ensure_job(app, &JobName::default())
}

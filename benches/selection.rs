//! The cost of store sessions: selecting what is due, and recording a group of outcomes.
//!
//! `cargo bench --bench selection`
//!
//! Most runs started by cron find little or nothing due. They must cost next to nothing, however many connections there
//! are. `select` is a whole session that finds the due connections of one job, from acquiring the lock to closing the
//! store. `record` is a session that writes a thousand outcomes durably. Results are comparable only within one output.

mod common;
#[path = "common/cxn.rs"]
mod cxn;
#[path = "common/outcomes.rs"]
mod outcomes;
#[path = "common/settings.rs"]
mod settings;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use civisite::{Behaviour, Site};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, SamplingMode, Throughput};
use cxnpoll::batch::Batch;
use cxnpoll::model::JobName;
use cxnpoll::retry::Policy;
use cxnpoll::store::{CxnPatch, DueEntry, Job, Store, WriteSession};
use tempfile::TempDir;

use common::{APP, HOUR, MIDNIGHT, Result};
use cxn::cxn_of;

const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
const RETRY: &str = "1 hour (x48); 1 day (x90)";
/// Every hundredth connection was polled at midnight, the others [`LATER`].
const EARLY_STEP: u32 = 100;
/// The time after midnight at which most connections were polled.
const LATER: i64 = HOUR / 2;
/// The number of outcomes per session.
const RECORDED: usize = 1000;

fn main() -> Result<()> {
    let mut criterion = settings::criterion();
    let sizes = if common::is_measuring() { &SIZES[..] } else { &SIZES[..1] };
    let setups = sizes.iter().map(|size| Setup::new(*size)).collect::<Result<Vec<_>>>()?;

    let mut group = criterion.benchmark_group("select");
    group.sampling_mode(SamplingMode::Flat);
    setups.iter().try_for_each(|setup| setup.select(&mut group))?;
    group.finish();

    let mut group = criterion.benchmark_group("record");
    group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(RECORDED as u64));
    setups.iter().try_for_each(|setup| setup.record(&mut group))?;
    group.finish();

    criterion.final_summary();
    Ok(())
}

/// A store in which all connections are healthy.
struct Setup {
    size: u32,
    store: Store,
    policy: Policy,
    _dir: TempDir,
}

impl Setup {
    fn new(size: u32) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(30))?;
        common::import(&store, (0..size).map(healthy_cxn))?;
        // The first run of a job does the same.
        while !store.write(|session| session.backfill(&job(session)?))? {}
        Ok(Self { size, store, policy: RETRY.parse()?, _dir: dir })
    }

    /// Measures selecting at times when nothing, one percent or everything is due.
    fn select(&self, group: &mut BenchmarkGroup<WallTime>) -> Result<()> {
        let cases = [
            ("none due", MIDNIGHT + LATER, 0),
            ("1 % due", MIDNIGHT + HOUR, self.size / EARLY_STEP),
            ("all due", MIDNIGHT + HOUR + LATER, self.size),
        ];
        for (name, now, expected) in cases {
            let found = self.due(now)?.len();
            if found != usize::try_from(expected)? {
                return Err(format!("expected {expected} due connections of {}, found {found}", self.size).into());
            }
            group.bench_function(BenchmarkId::new(name, self.size), |bencher| {
                bencher.iter(|| self.due(now).expect("the store is readable"));
            });
        }
        Ok(())
    }

    fn due(&self, now: i64) -> cxnpoll::store::error::Result<Vec<DueEntry>> {
        self.store.write(|session| session.due(&job(session)?, &self.policy, &Batch::default().range(), now))
    }

    /// Measures recording outcomes of the same connections, which every other iteration reverts.
    fn record(&self, group: &mut BenchmarkGroup<WallTime>) -> Result<()> {
        let now = MIDNIGHT + HOUR + LATER;
        let job = self.store.write(job)?;
        let mut outcomes = outcomes::successes(&self.store, &job, &self.policy, now, RECORDED)?;
        group.bench_function(BenchmarkId::from_parameter(self.size), |bencher| {
            bencher.iter(|| {
                let recorded = self.store.write(|session| session.record_outcomes(&job, &outcomes));
                assert_eq!(recorded.expect("the store is writable"), [true; RECORDED]);
                outcomes::revert(&mut outcomes);
            });
        });
        Ok(())
    }
}

/// Returns the only job of the store.
fn job(session: &WriteSession) -> cxnpoll::store::error::Result<Job> {
    let app = session.app_no(&APP.parse().expect("a valid appId"))?.expect("the app has connections");
    Ok(session.job(app, &JobName::default())?.expect("the import has created the job"))
}

fn healthy_cxn(number: u32) -> Result<CxnPatch> {
    let last_run = if number.is_multiple_of(EARLY_STEP) { MIDNIGHT } else { MIDNIGHT + LATER };
    let site = Site::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 80)), number, Behaviour::Ok);
    Ok(CxnPatch { poll_status: vec![(JobName::default(), outcomes::healthy(last_run))], ..cxn_of(&site)? })
}

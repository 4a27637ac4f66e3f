//! What a run costs that finds little to do: opening the store and selecting, and recording a group of outcomes.
//!
//! `cargo bench --bench selection`
//!
//! Cron starts a run every few minutes, and most find next to nothing due: that must cost next to nothing, however many
//! connections there are. `select` is a session of its own, from the lock to the closed store, which finds the due
//! connections of one job; `record` is one that writes a group of a thousand outcomes and syncs them to the disk. Compare
//! the lines of one output, not those of two machines.

mod common;

use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use civisite::{Behaviour, Site};
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use cxnpoll::batch::Batch;
use cxnpoll::model::{Attempt, JobName, PollStatus, UnixTime};
use cxnpoll::retry::Policy;
use cxnpoll::store::{Candidate, CxnLine, Job, Replacement, Session, Store};
use tempfile::TempDir;

use common::{APP, MIDNIGHT, Result};

const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
const RETRY: &str = "1 hour (x48); 1 day (x90)";
const HOUR: UnixTime = 3600;
/// One in so many connections was polled at midnight, the others [`LATER`].
const EARLY: u32 = 100;
const LATER: UnixTime = HOUR / 2;
/// How many outcomes are recorded at a time.
const GROUP: usize = 1000;

fn main() -> Result<()> {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    // cargo says `--bench`, unless it only tests.
    let sizes = if std::env::args().any(|arg| arg == "--bench") { &SIZES[..] } else { &SIZES[..1] };
    let worlds = sizes.iter().map(|size| World::new(*size)).collect::<Result<Vec<_>>>()?;

    let mut group = criterion.benchmark_group("select");
    group.sampling_mode(SamplingMode::Flat);
    worlds.iter().try_for_each(|world| world.select(&mut group))?;
    group.finish();

    let mut group = criterion.benchmark_group("record");
    group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(GROUP as u64));
    worlds.iter().try_for_each(|world| world.record(&mut group))?;
    group.finish();

    criterion.final_summary();
    Ok(())
}

type Group<'a> = BenchmarkGroup<'a, criterion::measurement::WallTime>;

/// A store of so many connections, all of them healthy.
struct World {
    size: u32,
    store: Store,
    policy: Policy,
    _folder: TempDir,
}

impl World {
    fn new(size: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = Store::create(&folder.path().join("store"), Duration::from_secs(30))?;
        common::put(&store, &(0..size).map(line).collect::<Result<Vec<_>>>()?)?;
        // As the first run of the job does it.
        while !store.session(|session| session.enrol(&job(session)?))? {}
        Ok(Self { size, store, policy: RETRY.parse()?, _folder: folder })
    }

    /// Finds what is due at moments at which that is nothing, one in a hundred, or all.
    fn select(&self, group: &mut Group) -> Result<()> {
        let moments = [
            ("none due", MIDNIGHT, 0),
            ("1 % due", MIDNIGHT + HOUR, self.size / EARLY),
            ("all due", MIDNIGHT + HOUR + LATER, self.size),
        ];
        for (name, now, expected) in moments {
            let found = self.due(now)?.len();
            if found != usize::try_from(expected)? {
                return Err(format!("{found} of {} are due, not {expected}", self.size).into());
            }
            group.bench_function(BenchmarkId::new(name, self.size), |bencher| {
                bencher.iter(|| self.due(now).expect("the store can be read"));
            });
        }
        Ok(())
    }

    fn due(&self, now: UnixTime) -> cxnpoll::error::Result<Vec<Candidate>> {
        self.store.session(|session| session.due(&job(session)?, &self.policy, &Batch::default().range(), now))
    }

    /// Records outcomes of the same connections again and again: every other time with the clock set back.
    fn record(&self, group: &mut Group) -> Result<()> {
        let now = MIDNIGHT + HOUR + LATER;
        let mut due = self.due(now)?;
        due.truncate(GROUP);
        let job = self.store.session(job)?;
        let tasks = self.store.session(|session| session.load(&job, &self.policy, Some(now), &due))?;
        let mut outcomes: Vec<_> = tasks
            .into_iter()
            .map(|task| {
                let mut next = task.status.clone();
                self.policy.apply(&mut next, now, &Ok(()));
                Replacement { place: task.place, selected: task.status, next }
            })
            .collect();
        group.bench_function(BenchmarkId::from_parameter(self.size), |bencher| {
            bencher.iter(|| {
                let recorded = self.store.session(|session| session.record(&job, &outcomes));
                assert_eq!(recorded.expect("the store can be written"), [true; GROUP]);
                for outcome in &mut outcomes {
                    mem::swap(&mut outcome.selected, &mut outcome.next);
                }
            });
        });
        Ok(())
    }
}

/// The one job of the store.
fn job(session: &Session) -> cxnpoll::error::Result<Job> {
    let app = session.app(&APP.parse().expect("an appId"))?.expect("the app has connections");
    Ok(session.job(app, &JobName::default())?.expect("the import brought the job"))
}

/// A connection with the history of a site that has answered for a while.
fn line(number: u32) -> Result<CxnLine> {
    let last_run = if number.is_multiple_of(EARLY) { MIDNIGHT } else { MIDNIGHT + LATER };
    let attempts = (0..PollStatus::ATTEMPTS).rev().map(|ago| {
        let ago = UnixTime::try_from(ago).expect("ten is a small number");
        Attempt { at: last_run - ago * HOUR, class: None }
    });
    let status =
        PollStatus { last_run, last_success: Some(last_run), attempts: attempts.collect(), ..PollStatus::default() };
    let site = Site::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 80)), number, Behaviour::Ok);
    Ok(CxnLine { poll_status: vec![(JobName::default(), status)], ..common::line(&site)? })
}

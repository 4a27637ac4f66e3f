//! What a run costs beside its polls: whole runs of the library against a bare loop, round after round.
//!
//! `cargo bench --bench polling [-- rates | threads | slow | SITES LATENCY_MS THREADS]`
//!
//! The bare loop is as many plain threads, which draw from one shared index and make the same calls with the same
//! client, and no store, no queue, no recording. A round is one run of each, and the ratio is that of their rates: the
//! median of several rounds, since one machine is never equally busy for long. Selecting, loading, recording and the
//! summary are all part of a run. CPU time is that of this process alone: the sites are a process of their own, on the
//! same machine, and every site is a host of its own.
//!
//! `of ideal` is how near a run comes to `sites * latency / threads`, which no number of cores can beat.
//!
//! `threads` polls the same sites with more and more threads: CPU per poll must not grow.
//!
//! `slow` measures runs among sites of which some hang, or that answer after times with a heavy tail, against the shortest
//! time that any schedule could need: all waiting shared evenly, or the longest polls one after the other where there are
//! more of them than threads. A second run, an hour later by its clock, knows who hung in the first.

mod common;
#[path = "common/sites.rs"]
mod sites;

use std::env;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use civisite::{Behaviour, Site};
use cxnpoll::batch::Batch;
use cxnpoll::config::Config;
use cxnpoll::listener::Listeners;
use cxnpoll::model::{AppMeta, Cxn, JobName, Tls};
use cxnpoll::runner::{Plan, Signals};
use cxnpoll::site::{Api, Client, Options, Timeouts};
use cxnpoll::store::Store;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value};
use tempfile::TempDir;

use common::{APP, MIDNIGHT, Result};
use sites::Sites;

/// What is measured when nothing else is asked for.
const CASES: [Case; 4] = [
    Case { sites: 10_000, latency: Duration::ZERO, threads: 64 },
    Case { sites: 2_000, latency: Duration::from_millis(100), threads: 64 },
    Case { sites: 5_000, latency: Duration::from_millis(100), threads: 256 },
    Case { sites: 10_000, latency: Duration::from_millis(100), threads: 1000 },
];
/// What `cargo test` tries, so that this file can't rot.
const TRIAL: Case = Case { sites: 20, latency: Duration::ZERO, threads: 4 };
const ROUNDS: usize = 5;
/// A limit for calls that none reaches.
const CALL: Duration = Duration::from_secs(60);
/// Every site is due again after an hour of the pretended clock.
const RETRY: &str = "1 hour (x2)";
const HOUR: i64 = 3600;
/// How many threads are tried on the same sites, and those.
const THREADS: [usize; 6] = [2, 8, 32, 64, 256, 1000];
const AMONG: (u32, Duration) = (2_000, Duration::from_millis(10));
const ROUNDS_OF_THREADS: usize = 3;
/// Threads and the limit of a call in runs among slow sites.
const AMONG_SLOW: (u32, Duration) = (64, Duration::from_secs(5));

#[derive(Clone, Copy)]
struct Case {
    sites: u32,
    latency: Duration,
    threads: usize,
}

fn main() -> Result<()> {
    if sites::serve()? {
        return Ok(());
    }
    let sites = Sites::start()?;
    let args: Vec<String> = env::args().skip(1).collect();
    // cargo says `--bench`, unless it only tests.
    if !args.iter().any(|arg| arg == "--bench") {
        return rates(&sites, &[TRIAL], 1);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).filter(|arg| !arg.starts_with("--")).collect();
    let (count, latency) = AMONG;
    let more_and_more = THREADS.map(|threads| Case { sites: count, latency, threads });
    match args[..] {
        [] => {
            rates(&sites, &CASES, ROUNDS)?;
            rates(&sites, &more_and_more, ROUNDS_OF_THREADS)?;
            slow(&sites)
        }
        ["rates"] => rates(&sites, &CASES, ROUNDS),
        ["threads"] => rates(&sites, &more_and_more, ROUNDS_OF_THREADS),
        ["slow"] => slow(&sites),
        [count, ms, threads] => {
            let latency = Duration::from_millis(ms.parse()?);
            rates(&sites, &[Case { sites: count.parse()?, latency, threads: threads.parse()? }], ROUNDS)
        }
        _ => Err("name rates, threads or slow, or all of SITES LATENCY_MS THREADS".into()),
    }
}

/// Prints a table of cases.
fn rates(sites: &Sites, cases: &[Case], rounds: usize) -> Result<()> {
    println!("\n| sites | latency | threads | bare loop | cxnpoll | of the bare loop's rate | of ideal |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    cases.iter().try_for_each(|case| measure(sites, *case, rounds))
}

/// Prints one line: a round that is not counted, then the median of those that are.
fn measure(sites: &Sites, case: Case, rounds: usize) -> Result<()> {
    let bench = Bench::new(sites, case)?;
    let mut rounds = (0..=rounds).map(|round| bench.round(round)).collect::<Result<Vec<Round>>>()?.split_off(1);
    rounds.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let (least, median, most) = (&rounds[0], &rounds[rounds.len() / 2], &rounds[rounds.len() - 1]);
    let ratios = format!("{:.3} ({:.3} to {:.3})", median.ratio(), least.ratio(), most.ratio());
    let ideal = case.latency.mul_f64(f64::from(case.sites)).div_f64(f64::from(u32::try_from(case.threads)?));
    let of_ideal = match ideal {
        Duration::ZERO => "-".to_owned(),
        ideal => format!("{:.3}", ideal.div_duration_f64(median.library.wall)),
    };
    println!(
        "| {} | {} ms | {} | {} | {} | {ratios} | {of_ideal} |",
        case.sites,
        case.latency.as_millis(),
        case.threads,
        median.bare,
        median.library,
    );
    Ok(())
}

/// The latency of a site: a Pareto distribution of shape 1.5 from 100 ms on, cut at 4 s, spread evenly over the numbers by the
/// golden ratio, so that every run has the same.
fn heavy_tailed(number: u32) -> Duration {
    let share = (f64::from(number) * 0.618_033_988_749_894_9 + 0.5).fract();
    Duration::from_secs_f64((0.1 * (1.0 - share).powf(-1.0 / 1.5)).min(4.0))
}

/// Prints how long runs among slow sites take.
fn slow(sites: &Sites) -> Result<()> {
    println!("\n| sites | hang | run | took | best possible | of best | threads wait for sites |");
    println!("| --- | ---: | --- | ---: | ---: | ---: | ---: |");
    among_slow(sites, "at once", 2_000, |number| number.is_multiple_of(10), |_| Duration::ZERO)?;
    among_slow(sites, "heavy tail", 5_000, |number| number % 100 < 3, heavy_tailed)
}

/// Prints how long two runs among the same sites take, of which some hang and the others answer after a `latency`.
fn among_slow(
    sites: &Sites,
    how: &str,
    count: u32,
    hangs: impl Fn(u32) -> bool,
    latency: impl Fn(u32) -> Duration,
) -> Result<()> {
    let (threads, limit) = AMONG_SLOW;
    let case = Case { sites: count, latency: Duration::ZERO, threads: usize::try_from(threads)? };
    let site = |number| {
        let behaviour = if hangs(number) { Behaviour::Hang } else { Behaviour::Ok };
        sites.site(number, behaviour, latency(number))
    };
    let bench = Bench::of(case, (0..count).map(site))?;
    let client = Arc::new(client(limit)?);
    let hung = u32::try_from((0..count).filter(|number| hangs(*number)).count())?;
    let waiting: Duration = (0..count).map(|number| if hangs(number) { limit } else { latency(number) }).sum();
    // No latency is above the limit, so that the longest polls are those that hang.
    let best = (waiting / threads).max(limit * hung.div_ceil(threads));
    for (round, name) in ["first", "second"].into_iter().enumerate() {
        let began = Instant::now();
        let run = bench.plan(round)?.run(&bench.store, &client, &Config::default(), &Signals::default())?.run;
        let wall = began.elapsed();
        if (run.ok, run.failed) != (u64::from(count - hung), u64::from(hung)) {
            return Err(format!("{} went well and {} failed", run.ok, run.failed).into());
        }
        println!(
            "| {count}, {how} | {hung} | {name} | {:.2} s | {:.2} s | {:.3} | {:.1} % |",
            wall.as_secs_f64(),
            best.as_secs_f64(),
            wall.div_duration_f64(best),
            waiting.div_duration_f64(wall * threads) * 100.0
        );
    }
    Ok(())
}

/// Both ways, one after the other.
struct Round {
    bare: Cost,
    library: Cost,
}

impl Round {
    /// The library's rate in terms of the bare loop's.
    fn ratio(&self) -> f64 {
        self.bare.wall.div_duration_f64(self.library.wall)
    }
}

/// What some polls took of this process.
struct Cost {
    polls: u32,
    wall: Duration,
    cpu: Duration,
}

impl Cost {
    /// What `polls` take. Every one of them must succeed: failures come at another price.
    fn of(polls: u32, poll: impl FnOnce() -> Result<u64>) -> Result<Self> {
        let (began, cpu) = (Instant::now(), cpu_time()?);
        let succeeded = poll()?;
        let cost = Self { polls, wall: began.elapsed(), cpu: cpu_time()?.saturating_sub(cpu) };
        if succeeded == u64::from(polls) {
            Ok(cost)
        } else {
            Err(format!("{succeeded} of {polls} polls went well").into())
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let polls = f64::from(self.polls);
        write!(f, "{:.0}/s, {:.0} µs CPU", polls / self.wall.as_secs_f64(), self.cpu.as_secs_f64() * 1e6 / polls)
    }
}

/// User and system time of this process.
fn cpu_time() -> Result<Duration> {
    Ok(Duration::try_from(clock_gettime(ClockId::ProcessCPUTime))?)
}

/// A store with the sites of a case, and the same connections in memory.
struct Bench {
    case: Case,
    app: AppMeta,
    store: Store,
    cxns: Vec<Cxn>,
    _folder: TempDir,
}

impl Bench {
    fn new(sites: &Sites, case: Case) -> Result<Self> {
        Self::of(case, (0..case.sites).map(|number| sites.site(number, Behaviour::Ok, case.latency)))
    }

    fn of(case: Case, sites: impl Iterator<Item = Site>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = Store::create(&folder.path().join("store"), Duration::from_secs(30))?;
        common::put(&store, &sites.map(|site| common::line(&site)).collect::<Result<Vec<_>>>()?)?;
        let app_cert = String::new();
        let app = AppMeta { app_id: APP.parse()?, app_cert, disabled: false, tls: Tls::Verify, metadata: Value::Null };
        let mut bench = Self { case, app, store, cxns: Vec::new(), _folder: folder };
        let mut cxns = Vec::new();
        bench.plan(0)?.dry_run(&bench.store, |task| {
            cxns.push(task.cxn);
            Ok(())
        })?;
        bench.cxns = cxns;
        Ok(bench)
    }

    /// Whoever comes first profits from nothing: the order changes with every round.
    fn round(&self, round: usize) -> Result<Round> {
        let bare = || Cost::of(self.case.sites, || self.bare_loop());
        let library = || Cost::of(self.case.sites, || self.run(round));
        if round.is_multiple_of(2) {
            let bare = bare()?;
            Ok(Round { bare, library: library()? })
        } else {
            let library = library()?;
            Ok(Round { bare: bare()?, library })
        }
    }

    fn run(&self, round: usize) -> Result<u64> {
        let summary =
            self.plan(round)?.run(&self.store, &Arc::new(client(CALL)?), &Config::default(), &Signals::default())?;
        Ok(summary.run.ok)
    }

    fn plan(&self, round: usize) -> Result<Plan> {
        Ok(Plan {
            app: self.app.clone(),
            job: JobName::default(),
            batch: Batch::default(),
            policy: RETRY.parse()?,
            now: MIDNIGHT + i64::try_from(round)? * HOUR,
            threads: self.case.threads,
            per_host: 4,
            max_runtime: None,
            limit: None,
            only: None,
            progress: false,
            listeners: Listeners::default(),
        })
    }

    fn bare_loop(&self) -> Result<u64> {
        let client = client(CALL)?;
        let next = AtomicUsize::new(0);
        let work = || {
            let mut succeeded = 0;
            while let Some(cxn) = self.cxns.get(next.fetch_add(1, Ordering::Relaxed)) {
                let reply = Api::new(&client, cxn, &self.app.app_cert).call("System", "get", Map::new());
                succeeded += u64::from(reply.is_ok());
            }
            succeeded
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.case.threads).map(|_| scope.spawn(work)).collect();
            workers.into_iter().map(|worker| worker.join().map_err(|_| "a worker panicked".into())).sum()
        })
    }
}

fn client(call: Duration) -> Result<Client> {
    let timeouts = Timeouts { call, ..Timeouts::default() };
    Ok(Client::new(Options { allow_net: vec!["127.0.0.0/8".parse()?], timeouts, ..Options::default() }))
}

//! What a run costs beside its polls: whole runs of the library against a bare loop, round after round.
//!
//! `cargo bench --bench polling [-- SITES LATENCY_MS THREADS]`
//!
//! The bare loop is as many plain threads, which draw from one shared index and make the same calls with the same
//! client, and no store, no queue, no recording. A round is one run of each, and the ratio is that of their rates: the
//! median of several rounds, since one machine is never equally busy for long. Selecting, loading, recording and the
//! summary are all part of a run. CPU time is that of this process alone: the sites are a process of their own, on the
//! same machine, and every site is a host of its own.
//!
//! `of ideal` is how near a run comes to `sites * latency / threads`, which no number of cores can beat.
//!
//! `cargo bench --bench polling -- hanging` measures one run among sites of which a tenth never answer, against the time that
//! those alone take: somebody must wait for them to the limit, one after the other.
//!
//! `cargo bench --bench polling -- threads` measures the same sites with more and more threads: CPU per poll must not grow.
//!
//! `cargo bench --bench polling -- tail` measures one run among sites with a heavy tail of latencies, of which some hang, against
//! the shortest time that any schedule could need: all waiting, shared evenly, or the longest poll.

mod common;

use std::env;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use civisite::{Behaviour, Server, Site};
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
/// The run among sites that hang: how many, how many threads, and the limit of a call.
const HANGING: (u32, u32, Duration) = (2_000, 64, Duration::from_secs(5));
/// Every so many-th of them hangs.
const HANGS: u32 = 10;
/// How many threads are tried on the same sites, and those.
const THREADS: [usize; 6] = [2, 8, 32, 64, 256, 1000];
const AMONG: (u32, Duration) = (2_000, Duration::from_millis(10));
const ROUNDS_OF_THREADS: usize = 3;
/// The run with the heavy tail: how many sites, how many threads, the limit of a call, and how many of 100 hang.
const TAIL: (u32, u32, Duration, u32) = (5_000, 64, Duration::from_secs(5), 3);
/// The argument that makes this program the sites' process.
const SERVE: &str = "serve";

#[derive(Clone, Copy)]
struct Case {
    sites: u32,
    latency: Duration,
    threads: usize,
}

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.iter().any(|arg| arg == SERVE) {
        return serve();
    }
    let sites = Sites::start()?;
    println!(
        "{:>6} {:>8} {:>8} | {:>22} | {:>22} | {:>22} | of ideal",
        "sites", "latency", "threads", "bare loop", "library", "library / bare loop"
    );
    // cargo says `--bench`, unless it only tests.
    if !args.iter().any(|arg| arg == "--bench") {
        return measure(&sites, TRIAL, 1);
    }
    if args.iter().any(|arg| arg == "hanging") {
        return hanging(&sites);
    }
    if args.iter().any(|arg| arg == "tail") {
        return tail(&sites);
    }
    if args.iter().any(|arg| arg == "threads") {
        let (count, latency) = AMONG;
        let cases = THREADS.map(|threads| Case { sites: count, latency, threads });
        return cases.into_iter().try_for_each(|case| measure(&sites, case, ROUNDS_OF_THREADS));
    }
    let numbers =
        args.iter().filter(|arg| !arg.starts_with("--")).map(|arg| arg.parse()).collect::<Result<Vec<u32>, _>>()?;
    match numbers[..] {
        [] => CASES.into_iter().try_for_each(|case| measure(&sites, case, ROUNDS)).and_then(|()| hanging(&sites)),
        [count, ms, threads] => {
            let latency = Duration::from_millis(ms.into());
            measure(&sites, Case { sites: count, latency, threads: usize::try_from(threads)? }, ROUNDS)
        }
        _ => Err("name all of SITES LATENCY_MS THREADS, or none".into()),
    }
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
        "{:>6} {:>5} ms {:>8} | {:>22} | {:>22} | {ratios:>22} | {of_ideal}",
        case.sites,
        case.latency.as_millis(),
        case.threads,
        median.bare.to_string(),
        median.library.to_string(),
    );
    Ok(())
}

/// Prints how long a run among sites that hang takes, in terms of the shortest time in which it can be done.
fn hanging(sites: &Sites) -> Result<()> {
    let (count, threads, limit) = HANGING;
    let case = Case { sites: count, latency: Duration::ZERO, threads: usize::try_from(threads)? };
    let behaviour = |number: u32| if number.is_multiple_of(HANGS) { Behaviour::Hang } else { Behaviour::Ok };
    let bench = Bench::of(case, (0..count).map(|number| sites.site(number, behaviour(number), Duration::ZERO)))?;
    let client = client(limit)?;
    let began = Instant::now();
    let summary = bench.plan(0)?.run(&bench.store, &Arc::new(client), &Config::default(), &Signals::default())?;
    let (wall, hung) = (began.elapsed(), count / HANGS);
    if (summary.run.ok, summary.run.failed) != (u64::from(count - hung), u64::from(hung)) {
        return Err(format!("{} went well and {} failed", summary.run.ok, summary.run.failed).into());
    }
    let ideal = limit * hung.div_ceil(threads);
    println!(
        "{count} sites, {hung} of them hang, {threads} threads, limit {limit:?}: {wall:.2?}, {:.3} of {ideal:?}",
        wall.div_duration_f64(ideal)
    );
    Ok(())
}

/// The latency of a site: a Pareto distribution of shape 1.5 from 100 ms on, cut at 4 s, spread evenly over the numbers by the
/// golden ratio, so that every run has the same.
fn heavy_tailed(number: u32) -> Duration {
    let share = (f64::from(number) * 0.618_033_988_749_894_9 + 0.5).fract();
    Duration::from_secs_f64((0.1 * (1.0 - share).powf(-1.0 / 1.5)).min(4.0))
}

/// Prints how long a run among sites with a heavy tail takes, and how much of its threads' time they wait for sites.
fn tail(sites: &Sites) -> Result<()> {
    let (count, threads, limit, hanging) = TAIL;
    let case = Case { sites: count, latency: Duration::ZERO, threads: usize::try_from(threads)? };
    let hangs = |number: u32| number % 100 < hanging;
    let latency = |number| if hangs(number) { limit } else { heavy_tailed(number) };
    let site = |number| {
        let (behaviour, latency) =
            if hangs(number) { (Behaviour::Hang, Duration::ZERO) } else { (Behaviour::Ok, latency(number)) };
        sites.site(number, behaviour, latency)
    };
    let bench = Bench::of(case, (0..count).map(site))?;
    let client = client(limit)?;
    let began = Instant::now();
    let summary = bench.plan(0)?.run(&bench.store, &Arc::new(client), &Config::default(), &Signals::default())?;
    let wall = began.elapsed();
    let hung = (0..count).filter(|number| hangs(*number)).count() as u64;
    if (summary.run.ok, summary.run.failed) != (u64::from(count) - hung, hung) {
        return Err(format!("{} went well and {} failed", summary.run.ok, summary.run.failed).into());
    }
    let waiting: Duration = (0..count).map(latency).sum();
    // No latency is above the limit, so that the longest poll is one that hangs.
    let best = (waiting / threads).max(limit);
    println!(
        "{count} sites, {hung} of them hang, {threads} threads, limit {limit:?}: {wall:.2?}, {:.3} of the best possible {best:.2?}; \
         threads wait for sites {:.1} % of the time",
        wall.div_duration_f64(best),
        waiting.div_duration_f64(wall * threads) * 100.0
    );
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

/// The simulated sites, in a process of their own.
struct Sites {
    process: Child,
    port: u16,
}

impl Sites {
    fn start() -> Result<Self> {
        let mut process =
            Command::new(env::current_exe()?).arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut port = String::new();
        BufReader::new(process.stdout.take().ok_or("the sites have no output")?).read_line(&mut port)?;
        Ok(Self { process, port: port.trim().parse()? })
    }

    /// A site on a host of its own.
    fn site(&self, number: u32, behaviour: Behaviour, latency: Duration) -> Site {
        let host = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + number);
        let mut site = Site::new(SocketAddr::from((host, self.port)), number, behaviour);
        site.site_url = format!("{}?ms={}", site.site_url, latency.as_millis());
        site
    }
}

impl Drop for Sites {
    fn drop(&mut self) {
        // It goes when its input is closed.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Serves until standard input is closed: by the bench, or by its death.
fn serve() -> Result<()> {
    let server = Server::bind((Ipv4Addr::UNSPECIFIED, 0).into())?;
    println!("{}", server.port());
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

//! The overhead of a run: whole runs of the library compared with a bare loop, in alternating rounds.
//!
//! `cargo bench --bench polling [-- rates | threads | slow | SITES LATENCY_MS THREADS]`
//!
//! The bare loop uses the same number of plain threads. They take connections from one shared index and make the same
//! calls with the same client, without store, queue or recording. A run includes selecting, loading, recording and the
//! summary. A round is one run of each, and its ratio is that of the two rates. The table shows the median of several
//! rounds, because the load of a machine varies. The CPU time is that of this process only: the sites are served by
//! another process on the same machine, each on its own host.
//!
//! `of ideal` compares a run with `sites * latency / threads`, the lower bound on any number of cores.
//!
//! `threads` polls the same sites with an increasing number of threads. The CPU time per poll must not grow.
//!
//! `slow` measures runs in which some sites hang, or in which response times have a heavy tail. It compares them with the
//! lower bound of any schedule: all waiting spread evenly over the threads, or the hanging polls of one thread in
//! sequence, whichever is longer. The second run, an hour later on the simulated clock, knows which sites hung before.

mod common;
#[path = "common/cost.rs"]
mod cost;
#[path = "common/cxn.rs"]
mod cxn;
#[path = "common/sites.rs"]
mod sites;

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use civisite::{Behaviour, Site};
use cxnpoll::batch::Batch;
use cxnpoll::config::Config;
use cxnpoll::listener::Listeners;
use cxnpoll::model::{AppMeta, Cxn, JobName, Threads, Tls};
use cxnpoll::run::{PollRun, Signals};
use cxnpoll::site::{Api, Client, Options, Timeouts};
use cxnpoll::store::Store;
use serde_json::{Map, Value};
use tempfile::TempDir;

use common::{APP, HOUR, MIDNIGHT, Result};
use cost::Round;
use cxn::cxn_of;
use sites::Sites;

/// The cases of `rates`.
const RATES: [Case; 4] = [
    Case { sites: 10_000, latency: Duration::ZERO, threads: 64 },
    Case { sites: 2_000, latency: Duration::from_millis(100), threads: 64 },
    Case { sites: 5_000, latency: Duration::from_millis(100), threads: 256 },
    Case { sites: 10_000, latency: Duration::from_millis(100), threads: 1000 },
];
const RATES_ROUNDS: usize = 5;
/// The cases of `threads`: the same sites with an increasing number of threads.
const THREADS: [Case; 6] =
    [with_threads(2), with_threads(8), with_threads(32), with_threads(64), with_threads(256), with_threads(1000)];
const THREADS_ROUNDS: usize = 3;
/// The case that `cargo test` tries.
const TRIAL: Case = Case { sites: 20, latency: Duration::ZERO, threads: 4 };

/// The number of threads and the time limit of a call in `slow`.
const SLOW_THREADS: u32 = 64;
const SLOW_CALL_LIMIT: Duration = Duration::from_secs(5);
/// A time limit that no call reaches.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// Every site is due again after an hour of the simulated clock.
const RETRY: &str = "1 hour (x2)";

#[derive(Clone, Copy)]
struct Case {
    sites: u32,
    latency: Duration,
    threads: usize,
}

const fn with_threads(threads: usize) -> Case {
    Case { sites: 2_000, latency: Duration::from_millis(10), threads }
}

fn main() -> Result<()> {
    if sites::serve()? {
        return Ok(());
    }
    let sites = Sites::start()?;
    if !common::is_measuring() {
        return print_rates(&sites, &[TRIAL], 1);
    }
    let args: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] => {
            print_rates(&sites, &RATES, RATES_ROUNDS)?;
            print_rates(&sites, &THREADS, THREADS_ROUNDS)?;
            print_slow(&sites)
        }
        ["rates"] => print_rates(&sites, &RATES, RATES_ROUNDS),
        ["threads"] => print_rates(&sites, &THREADS, THREADS_ROUNDS),
        ["slow"] => print_slow(&sites),
        [sites_count, latency_ms, threads] => {
            let latency = Duration::from_millis(latency_ms.parse()?);
            let case = Case { sites: sites_count.parse()?, latency, threads: threads.parse()? };
            print_rates(&sites, &[case], RATES_ROUNDS)
        }
        _ => Err("expected rates, threads, slow, or SITES LATENCY_MS THREADS".into()),
    }
}

/// Prints a table with a line per case.
fn print_rates(sites: &Sites, cases: &[Case], rounds: usize) -> Result<()> {
    println!("\n| sites | latency | threads | bare loop | cxnpoll | rate relative to bare loop | of ideal |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    cases.iter().try_for_each(|case| print_case(sites, *case, rounds))
}

/// Measures a case and prints its line: the median of the rounds after a first one that is not counted.
fn print_case(sites: &Sites, case: Case, rounds: usize) -> Result<()> {
    let bench = Bench::with_latency(sites, case)?;
    let mut rounds = (0..=rounds).map(|round| bench.round(round)).collect::<Result<Vec<Round>>>()?.split_off(1);
    rounds.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let (min, median, max) = (&rounds[0], &rounds[rounds.len() / 2], &rounds[rounds.len() - 1]);
    let ratios = format!("{:.3} ({:.3} to {:.3})", median.ratio(), min.ratio(), max.ratio());
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

/// Prints a table of runs among slow sites.
fn print_slow(sites: &Sites) -> Result<()> {
    println!("\n| sites | hanging | run | time | best possible | time / best | threads waiting for sites |");
    println!("| --- | ---: | --- | ---: | ---: | ---: | ---: |");
    let tenth_hangs =
        SlowSites { name: "at once", count: 2_000, hangs: |n| n.is_multiple_of(10), latency: |_| Duration::ZERO };
    let heavy_tail = SlowSites { name: "heavy tail", count: 5_000, hangs: |n| n % 100 < 3, latency: heavy_tailed };
    print_slow_runs(sites, &tenth_hangs)?;
    print_slow_runs(sites, &heavy_tail)
}

/// Sites of which some hang, and the others reply after a latency.
struct SlowSites {
    name: &'static str,
    count: u32,
    /// Whether the site with this number hangs.
    hangs: fn(u32) -> bool,
    /// The latency of the site with this number. It must not exceed [`SLOW_CALL_LIMIT`].
    latency: fn(u32) -> Duration,
}

impl SlowSites {
    fn site(&self, sites: &Sites, number: u32) -> Site {
        let behaviour = if (self.hangs)(number) { Behaviour::Hang } else { Behaviour::Ok };
        sites.site(number, behaviour, (self.latency)(number))
    }

    fn hanging(&self) -> Result<u32> {
        Ok(u32::try_from((0..self.count).filter(|number| (self.hangs)(*number)).count())?)
    }

    /// The time that all polls together wait for their sites.
    fn waiting(&self) -> Duration {
        let wait = |number| if (self.hangs)(number) { SLOW_CALL_LIMIT } else { (self.latency)(number) };
        (0..self.count).map(wait).sum()
    }
}

/// Returns a latency of a Pareto distribution of shape 1.5 that starts at 100 ms and is cut at 4 s.
///
/// The golden ratio spreads the numbers evenly over the distribution, so that every run has the same latencies.
fn heavy_tailed(number: u32) -> Duration {
    let share = (f64::from(number) * 0.618_033_988_749_894_9 + 0.5).fract();
    Duration::from_secs_f64((0.1 * (1.0 - share).powf(-1.0 / 1.5)).min(4.0))
}

/// Measures two runs among the same slow sites and prints a line for each.
fn print_slow_runs(sites: &Sites, slow: &SlowSites) -> Result<()> {
    let case = Case { sites: slow.count, latency: Duration::ZERO, threads: usize::try_from(SLOW_THREADS)? };
    let bench = Bench::new(case, (0..slow.count).map(|number| slow.site(sites, number)))?;
    let client = Arc::new(client(SLOW_CALL_LIMIT)?);
    let (hanging, waiting) = (slow.hanging()?, slow.waiting());
    let best = (waiting / SLOW_THREADS).max(SLOW_CALL_LIMIT * hanging.div_ceil(SLOW_THREADS));
    for (round, run_name) in ["first", "second"].into_iter().enumerate() {
        let start = Instant::now();
        let run =
            bench.plan(round)?.run(&bench.store, &client, &Config::default(), &Signals::default(), &mut |_| ())?.run;
        let wall = start.elapsed();
        if (run.ok, run.failed) != (u64::from(slow.count - hanging), u64::from(hanging)) {
            return Err(format!("{} polls succeeded and {} failed", run.ok, run.failed).into());
        }
        println!(
            "| {}, {} | {hanging} | {run_name} | {:.2} s | {:.2} s | {:.3} | {:.1} % |",
            slow.count,
            slow.name,
            wall.as_secs_f64(),
            best.as_secs_f64(),
            wall.div_duration_f64(best),
            waiting.div_duration_f64(wall * SLOW_THREADS) * 100.0
        );
    }
    Ok(())
}

/// A store with the sites of a case, and the same connections in memory.
struct Bench {
    case: Case,
    app: AppMeta,
    store: Store,
    cxns: Vec<Cxn>,
    _dir: TempDir,
}

impl Bench {
    /// Creates a bench in which all sites reply after the latency of the case.
    fn with_latency(sites: &Sites, case: Case) -> Result<Self> {
        Self::new(case, (0..case.sites).map(|number| sites.site(number, Behaviour::Ok, case.latency)))
    }

    fn new(case: Case, sites: impl Iterator<Item = Site>) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(30))?;
        common::import(&store, sites.map(|site| cxn_of(&site)))?;
        let app_cert = String::new();
        let app = AppMeta { app_id: APP.parse()?, app_cert, disabled: false, tls: Tls::Verify, metadata: Value::Null };
        let mut bench = Self { case, app, store, cxns: Vec::new(), _dir: dir };
        let mut cxns = Vec::new();
        bench.plan(0)?.dry_run(&bench.store, |task| -> Result<()> {
            cxns.push(task.cxn);
            Ok(())
        })?;
        bench.cxns = cxns;
        Ok(bench)
    }

    fn round(&self, round: usize) -> Result<Round> {
        Round::of(round, self.case.sites, || self.bare_loop(), || self.run(round))
    }

    /// Polls all sites in a run and returns how many polls succeeded.
    fn run(&self, round: usize) -> Result<u64> {
        let client = Arc::new(client(CALL_LIMIT)?);
        Ok(self.plan(round)?.run(&self.store, &client, &Config::default(), &Signals::default(), &mut |_| ())?.run.ok)
    }

    /// Returns the plan of a run, `round` hours after midnight.
    fn plan(&self, round: usize) -> Result<PollRun> {
        Ok(PollRun {
            app: self.app.clone(),
            job: JobName::default(),
            batch: Batch::default(),
            policy: RETRY.parse()?,
            now: MIDNIGHT + i64::try_from(round)? * HOUR,
            threads: Threads::Fixed(self.case.threads),
            per_host: 4,
            max_runtime: None,
            limit: None,
            only: None,
            listeners: Listeners::default(),
        })
    }

    /// Polls all sites in the bare loop and returns how many polls succeeded.
    fn bare_loop(&self) -> Result<u64> {
        let client = client(CALL_LIMIT)?;
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

//! What a bad host, a shared address and new connections cost: whole runs of the library, as ratios.
//!
//! `cargo bench --bench hosts [-- hanging | shared | reused]`
//!
//! `hanging` compares a run in which one host hangs with a run without it. All sites were polled well three hours before,
//! so a run polls the sites of the last host to the end. `shared` polls sites at one address, and compares the run with
//! `sites * latency / per host`. `reused` makes several calls to each site, over one connection or over a new one for each,
//! because the site closes it. The tables show the median of several rounds.

mod common;
#[path = "common/cxn.rs"]
mod cxn;
#[path = "common/sites.rs"]
mod sites;

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use civisite::{Behaviour, Site};
use cxnpoll::batch::Batch;
use cxnpoll::config::Config;
use cxnpoll::listener::Listeners;
use cxnpoll::model::{AppMeta, JobName, PollStatus, Threads, Tls, UnixTime};
use cxnpoll::run::{PollRun, Signals};
use cxnpoll::site::{Client, Options, Timeouts};
use cxnpoll::store::Store;
use serde_json::Value;
use tempfile::TempDir;

use common::{APP, HOUR, MIDNIGHT, Result};
use cxn::cxn_of;
use sites::Sites;

/// The address of the host that hangs, and of the sites that share one.
const ONE_HOST: Ipv4Addr = Ipv4Addr::new(127, 200, 0, 1);
const PER_HOST: u32 = 4;
const RETRY: &str = "1 hour (x2)";
/// A time limit that no call reaches.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// The sizes of all tables.
struct Sizes {
    rounds: usize,
    hanging: BadHost,
    shared: [Shared; 2],
    reused: [Reused; 2],
}

const FULL: Sizes = Sizes {
    rounds: 5,
    hanging: BadHost { hanging: 100, healthy: 200, threads: 64, limit: Duration::from_secs(2) },
    shared: [
        Shared { sites: 400, latency: Duration::from_millis(20) },
        Shared { sites: 100, latency: Duration::from_millis(100) },
    ],
    reused: [
        Reused { sites: 50, calls: 5, latency: Duration::ZERO },
        Reused { sites: 500, calls: 5, latency: Duration::ZERO },
    ],
};
/// What `cargo test` tries.
const TRIAL: Sizes = Sizes {
    rounds: 1,
    hanging: BadHost { hanging: 12, healthy: 12, threads: 8, limit: Duration::from_millis(300) },
    shared: [
        Shared { sites: 12, latency: Duration::from_millis(10) },
        Shared { sites: 4, latency: Duration::from_millis(20) },
    ],
    reused: [
        Reused { sites: 4, calls: 2, latency: Duration::ZERO },
        Reused { sites: 4, calls: 3, latency: Duration::from_millis(1) },
    ],
};

fn main() -> Result<()> {
    if sites::serve()? {
        return Ok(());
    }
    let sites = Sites::start()?;
    let sizes = if common::is_measuring() { FULL } else { TRIAL };
    let table = env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let is_wanted = |name: &str| table.as_ref().is_none_or(|table| table == name);
    if is_wanted("hanging") {
        print_hanging(&sites, &sizes.hanging)?;
    }
    if is_wanted("shared") {
        println!("\n| sites at one address | latency | per host | time | ideal | time / ideal |");
        println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
        sizes.shared.iter().try_for_each(|shared| print_shared(&sites, shared, sizes.rounds))?;
    }
    if is_wanted("reused") {
        println!("\n| sites | calls of each | a connection per call | a connection per site | ratio |");
        println!("| ---: | ---: | ---: | ---: | ---: |");
        sizes.reused.iter().try_for_each(|reused| print_reused(&sites, reused, sizes.rounds))?;
    }
    Ok(())
}

/// Sites at one host that hangs, among healthy ones with hosts of their own.
struct BadHost {
    hanging: u32,
    healthy: u32,
    threads: usize,
    limit: Duration,
}

fn print_hanging(sites: &Sites, case: &BadHost) -> Result<()> {
    let healthy = || (0..case.healthy).map(|number| sites.site(number, Behaviour::Ok, Duration::ZERO));
    let hanging = (case.healthy..case.healthy + case.hanging)
        .map(|number| sites.site_at(ONE_HOST, number, Behaviour::Hang, Duration::ZERO));
    let without = Bench::new(healthy(), case.threads, case.limit)?.run(0, case.healthy)?;
    let bench = Bench::new(healthy().chain(hanging), case.threads, case.limit)?;
    println!(
        "\n| run | healthy | hanging at one host | threads | limit of a call | time | without them | limits that they cost |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    // Five minutes later, only the hanging sites that were left out are due.
    for (name, minutes, healthy) in [("first", 0, case.healthy), ("5 min later", 5, 0)] {
        let time = bench.run(minutes * 60, healthy)?;
        let without = if healthy == 0 { Duration::ZERO } else { without };
        println!(
            "| {name} | {healthy} | {} | {} | {:.1} s | {:.2} s | {:.2} s | {:.2} |",
            case.hanging,
            case.threads,
            case.limit.as_secs_f64(),
            time.as_secs_f64(),
            without.as_secs_f64(),
            time.saturating_sub(without).div_duration_f64(case.limit),
        );
    }
    Ok(())
}

/// Sites at one address.
struct Shared {
    sites: u32,
    latency: Duration,
}

fn print_shared(sites: &Sites, case: &Shared, rounds: usize) -> Result<()> {
    let all = (0..case.sites).map(|number| sites.site_at(ONE_HOST, number, Behaviour::Ok, case.latency));
    let bench = Bench::new(all, 32, CALL_LIMIT)?;
    let ideal = case.latency * case.sites.div_ceil(PER_HOST);
    let times = (0..rounds).map(|round| bench.run_in_hour(round, case.sites)).collect::<Result<Vec<_>>>()?;
    let time = median(times);
    println!(
        "| {} | {} ms | {PER_HOST} | {:.3} s | {:.3} s | {:.3} |",
        case.sites,
        case.latency.as_millis(),
        time.as_secs_f64(),
        ideal.as_secs_f64(),
        time.div_duration_f64(ideal),
    );
    Ok(())
}

/// Sites that are called several times each.
struct Reused {
    sites: u32,
    calls: usize,
    latency: Duration,
}

fn print_reused(sites: &Sites, case: &Reused, rounds: usize) -> Result<()> {
    let bench = |keep: &str| {
        let all = (0..case.sites).map(|number| {
            let mut site = sites.site(number, Behaviour::Ok, case.latency);
            site.site_url.push_str(keep);
            site
        });
        Bench::new(all, 32, CALL_LIMIT)?.with_calls(case.calls)
    };
    let (new, reused) = (bench("")?, bench("&keep")?);
    let mut times = [Vec::new(), Vec::new()];
    // The first round warms up.
    for round in 0..=rounds {
        for (bench, times) in [&new, &reused].into_iter().zip(&mut times) {
            let time = bench.run_in_hour(round, case.sites)?;
            if round > 0 {
                times.push(time);
            }
        }
    }
    let [new, reused] = times.map(median);
    println!(
        "| {} | {} | {:.1} ms | {:.1} ms | {:.2} |",
        case.sites,
        case.calls,
        new.as_secs_f64() * 1e3,
        reused.as_secs_f64() * 1e3,
        new.div_duration_f64(reused),
    );
    Ok(())
}

/// Returns the median; not one of no times.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// A store with sites that were polled well three hours before midnight.
struct Bench {
    store: Store,
    plan: PollRun,
    limit: Duration,
    dir: TempDir,
}

impl Bench {
    fn new(sites: impl Iterator<Item = Site>, threads: usize, limit: Duration) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(30))?;
        let last_run = MIDNIGHT - 3 * HOUR;
        let status = PollStatus { last_run, last_success: Some(last_run), ..PollStatus::default() };
        let cxn_of = |site: Site| {
            let mut cxn = cxn_of(&site)?;
            cxn.poll_status.push((JobName::default(), status.clone()));
            Ok(cxn)
        };
        common::import(&store, sites.map(cxn_of))?;
        let app_cert = String::new();
        let app = AppMeta { app_id: APP.parse()?, app_cert, disabled: false, tls: Tls::Verify, metadata: Value::Null };
        let plan = PollRun {
            app,
            job: JobName::default(),
            batch: Batch::default(),
            policy: RETRY.parse()?,
            now: MIDNIGHT,
            threads: Threads::Fixed(threads),
            per_host: usize::try_from(PER_HOST)?,
            max_runtime: None,
            limit: None,
            only: None,
            listeners: Listeners::default(),
        };
        Ok(Self { store, plan, limit, dir })
    }

    /// Makes API calls the listener of every poll.
    fn with_calls(mut self, calls: usize) -> Result<Self> {
        let calls = vec!["{ api = 'System.get' }"; calls].join(", ");
        let file = self.dir.path().join("cxnpoll.toml");
        fs::write(&file, format!("[[listeners]]\nevent = 'civi_cxn.poll'\ncalls = [{calls}]\n"))?;
        let config = Config::load(Some(&file)).map_err(|error| format!("{error:?}"))?;
        self.plan.listeners = config.listeners();
        Ok(self)
    }

    /// Polls all sites, in another hour in each round.
    fn run_in_hour(&self, round: usize, expected: u32) -> Result<Duration> {
        self.run(UnixTime::try_from(round)? * HOUR, expected)
    }

    /// Polls what is due some seconds after midnight; fails unless `expected` polls succeed.
    fn run(&self, after_s: UnixTime, expected: u32) -> Result<Duration> {
        let timeouts = Timeouts { call: self.limit, ..Timeouts::default() };
        let allow_net = vec!["127.0.0.0/8".parse()?];
        let client = Arc::new(Client::new(Options { allow_net, timeouts, ..Options::default() }));
        let plan = PollRun { now: MIDNIGHT + after_s, ..self.plan.clone() };
        let began = Instant::now();
        let ok = plan.run(&self.store, &client, &Config::default(), &Signals::default(), &mut |_| ())?.run.ok;
        let time = began.elapsed();
        if ok == u64::from(expected) { Ok(time) } else { Err(format!("{ok} of {expected} polls succeeded").into()) }
    }
}

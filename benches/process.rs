//! The cost of whole processes: idle runs, runs in stores of increasing size, and the memory of runs.
//!
//! `cargo bench --bench process [-- idle | growth | memory [SIZE…] | by-hand [CALLS…]]`
//!
//! `idle`: runs with nothing due, which is what most runs started by cron find. Each round starts `/bin/true`, one run,
//! and eight runs at once, one for each of eight batches, as a crontab does. `overhead` is the difference between a run
//! and `/bin/true`. It must not grow with the number of sites.
//!
//! `growth`: the same number of sites is due in stores of increasing size. The time of a run apart from opening and
//! closing the store, which it logs, must not grow. Its memory may grow only by what opening the store takes.
//!
//! `memory`: runs with an increasing number of threads, in which all sites are due and reply after a latency. Peak memory
//! is the resident memory that Linux reports.
//!
//! `by-hand`: a run with nothing due, before and after calls of `poll --cxn`, each for another connection. The ratio must
//! stay 1, so their locks may leave nothing that later runs look at. It takes minutes, and is measured only if it is named.
//!
//! All results are medians.

mod common;
#[path = "common/cxn.rs"]
mod cxn;
#[path = "common/sites.rs"]
mod sites;

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use civisite::Behaviour;
use cxnpoll::model::{JobName, PollStatus};
use cxnpoll::store::{CxnPatch, Store};
use tempfile::TempDir;

use common::{APP, HOUR, MIDNIGHT, Result};
use cxn::cxn_of;
use sites::Sites;

/// The numbers of connections in `idle` and `growth`, unless the command line names others.
const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
const IDLE_ROUNDS: usize = 40;
/// The number of runs that start at the same time in `idle`.
const BATCHES: usize = 8;
/// The number of sites that are due in `growth`.
const GROWTH_DUE: u32 = 500;
const GROWTH_ROUNDS: usize = 7;
/// The number of connections in `memory`, unless the command line names others.
const MEMORY_SIZE: u32 = 10_000;
const MEMORY_LATENCY: Duration = Duration::from_millis(100);
const MEMORY_THREADS: [usize; 4] = [32, 64, 512, 1000];
const MEMORY_ROUNDS: usize = 3;
/// The number of connections in `by-hand`, and of its calls unless the command line names others.
const BY_HAND_SIZE: u32 = 10_000;
const BY_HAND_ROUNDS: usize = 200;
/// The number of connections that `cargo test` tries.
const TRIAL_SIZE: u32 = 20;
/// Sites of the first level are due an hour after midnight. Those of the second were polled at midnight and are not due.
const RETRY: &str = "1 hour (x2); 1 year (x2)";

fn main() -> Result<()> {
    if sites::serve()? {
        return Ok(());
    }
    if !common::is_measuring() {
        idle(&[TRIAL_SIZE], 1)?;
        growth(&[TRIAL_SIZE], 1)?;
        by_hand(&[TRIAL_SIZE], TRIAL_SIZE, 1)?;
        return memory(&[TRIAL_SIZE], &[2], 1);
    }
    let mut args = env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let mode = args.next();
    let sizes = args.map(|arg| arg.parse()).collect::<Result<Vec<u32>, _>>()?;
    let sizes_or = |default: &[u32]| if sizes.is_empty() { default.to_vec() } else { sizes.clone() };
    match mode.as_deref() {
        None => {
            idle(&SIZES, IDLE_ROUNDS)?;
            growth(&SIZES, GROWTH_ROUNDS)?;
            memory(&[MEMORY_SIZE], &MEMORY_THREADS, MEMORY_ROUNDS)
        }
        Some("idle") => idle(&sizes_or(&SIZES), IDLE_ROUNDS),
        Some("growth") => growth(&sizes_or(&SIZES), GROWTH_ROUNDS),
        Some("memory") => memory(&sizes_or(&[MEMORY_SIZE]), &MEMORY_THREADS, MEMORY_ROUNDS),
        Some("by-hand") => by_hand(&sizes_or(&[BY_HAND_SIZE]), BY_HAND_SIZE, BY_HAND_ROUNDS),
        Some(_) => Err("expected idle, growth, memory or by-hand".into()),
    }
}

fn idle(sizes: &[u32], rounds: usize) -> Result<()> {
    println!("\n| sites | `/bin/true` | run with nothing due | overhead | each of eight at once |");
    println!("| ---: | ---: | ---: | ---: | ---: |");
    let sites = Sites::start()?;
    for size in sizes {
        let setup = Setup::new(&sites, *size, 0, Duration::ZERO)?;
        // The first run stores the retry expression. Without it, later runs would have to open the store.
        setup.run(0, &[])?;
        let now = MIDNIGHT + 60;
        let batch = |id: usize, count: usize| setup.command(now, &["--batch", &format!("{id}/{count}")]);
        let (mut nothing, mut single, mut all_batches) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            nothing.push(time([Command::new("/bin/true")])?);
            single.push(time([batch(0, 1)])?);
            all_batches.push(time((0..BATCHES).map(|id| batch(id, BATCHES)))?);
        }
        let (nothing, single) = (median(nothing), median(single));
        let each = median(all_batches) / u32::try_from(BATCHES)?;
        println!(
            "| {size} | {} | {} | {} | {} |",
            ms(nothing),
            ms(single),
            ms(single.saturating_sub(nothing)),
            ms(each)
        );
    }
    Ok(())
}

fn by_hand(calls: &[u32], size: u32, rounds: usize) -> Result<()> {
    println!("\n| `poll --cxn` | lock files | run with nothing due before | after | ratio |");
    println!("| ---: | ---: | ---: | ---: | ---: |");
    let sites = Sites::start()?;
    for calls in calls {
        let setup = Setup::new(&sites, size, 0, Duration::ZERO)?;
        setup.run(0, &[])?;
        let idle = || -> Result<Duration> {
            let times = (0..rounds).map(|_| time([setup.command(MIDNIGHT + 60, &[])]));
            Ok(median(times.collect::<Result<_>>()?))
        };
        let before = idle()?;
        for number in 0..*calls {
            let site = sites.site(number % size, Behaviour::Ok, Duration::ZERO);
            time([setup.command(MIDNIGHT + 30, &["--quiet", "--cxn", &site.cxn_id])])?;
        }
        let files = fs::read_dir(setup.dir.path().join("store/runs"))?.count();
        let after = idle()?;
        let ratio = after.as_secs_f64() / before.as_secs_f64();
        println!("| {calls} | {files} | {} | {} | {ratio:.2} |", ms(before), ms(after));
    }
    Ok(())
}

fn growth(sizes: &[u32], rounds: usize) -> Result<()> {
    println!("\n| sites | due | run | opening and closing the store | rest of the run | peak memory |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    let sites = Sites::start()?;
    for size in sizes {
        let due = GROWTH_DUE.min(*size);
        let setup = Setup::new(&sites, *size, due, Duration::ZERO)?;
        // The first round is not counted.
        let runs = (0..=rounds).map(|round| setup.run(round, &[])).collect::<Result<Vec<_>>>()?.split_off(1);
        let median_of = |time: fn(&Run) -> Duration| median(runs.iter().map(time).collect());
        println!(
            "| {size} | {due} | {} | {}, {} times | {} | {} MiB |",
            ms(median_of(|run| run.wall)),
            ms(median_of(|run| run.opening)),
            median(runs.iter().map(|run| run.sessions).collect()),
            ms(median_of(|run| run.wall.saturating_sub(run.opening))),
            median(runs.iter().map(|run| run.peak_kib).collect()) >> 10
        );
    }
    Ok(())
}

fn memory(sizes: &[u32], threads: &[usize], rounds: usize) -> Result<()> {
    println!("\n| sites, all due | latency | threads | run | peak memory |");
    println!("| ---: | ---: | ---: | ---: | ---: |");
    let sites = Sites::start()?;
    for size in sizes {
        let setup = Setup::new(&sites, *size, *size, MEMORY_LATENCY)?;
        for (index, threads) in threads.iter().enumerate() {
            let run = |round| setup.run(index * rounds + round, &["--threads", &threads.to_string()]);
            let runs = (0..rounds).map(run).collect::<Result<Vec<_>>>()?;
            let wall = median(runs.iter().map(|run| run.wall).collect());
            let peak_kib = median(runs.iter().map(|run| run.peak_kib).collect());
            let latency_ms = MEMORY_LATENCY.as_millis();
            println!("| {size} | {latency_ms} ms | {threads} | {} | {} MiB |", ms(wall), peak_kib >> 10);
        }
    }
    Ok(())
}

/// What one run took.
struct Run {
    wall: Duration,
    /// The time in which it waited for, opened and closed the store, from its log.
    opening: Duration,
    /// The number of store sessions.
    sessions: usize,
    /// Peak resident memory in KiB.
    peak_kib: u64,
}

/// A directory with a store and a configuration, for runs of the program.
struct Setup {
    dir: TempDir,
    due: u32,
}

impl Setup {
    /// Creates a store in which `due` of `size` connections are due every hour.
    ///
    /// They are due for the first time an hour after midnight.
    fn new(sites: &Sites, size: u32, due: u32, latency: Duration) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(30))?;
        let step = size / due.max(1);
        let cxn = |number: u32| -> Result<CxnPatch> {
            // The connections that are due are spread over the whole store.
            let level = u32::from(!(number.is_multiple_of(step) && number / step < due));
            let status = PollStatus { level, last_run: MIDNIGHT, ..PollStatus::default() };
            let cxn = cxn_of(&sites.site(number, Behaviour::Ok, latency))?;
            Ok(CxnPatch { poll_status: vec![(JobName::default(), status)], ..cxn })
        };
        common::import(&store, (0..size).map(cxn))?;
        let config = format!("[apps.\"{APP}\"]\ntitle = \"Bench\"\n[backups]\nevery-hours = 0\n");
        fs::write(dir.path().join("cxnpoll.toml"), config)?;
        Ok(Self { dir, due })
    }

    /// Returns the command of a run at `now`.
    fn command(&self, now: i64, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cxnpoll"));
        command.args(["poll", APP, "--store", "store", "--config", "cxnpoll.toml", "--allow-net", "127.0.0.0/8"]);
        command.args(["--retry", RETRY, "--now", &now.to_string()]).args(args).current_dir(self.dir.path());
        command
    }

    /// Measures a run, `round` hours after the first, which is an hour after midnight.
    fn run(&self, round: usize, args: &[&str]) -> Result<Run> {
        let mut command = self.command(MIDNIGHT + HOUR * (1 + i64::try_from(round)?), args);
        command.args(["--json", "-vv"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn()?;
        let peak_kib = wait_for_peak_memory(&mut child)?;
        let wall = start.elapsed();
        // Its output is short enough for the pipes, so it was safe to wait before reading.
        let output = child.wait_with_output()?;
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        if summary["ok"] != self.due {
            return Err(format!("expected {} successful polls, found {summary}", self.due).into());
        }
        let (sessions, opening) = store_sessions(&String::from_utf8(output.stderr)?)?;
        Ok(Run { wall, opening, sessions, peak_kib })
    }
}

/// Returns the number of store sessions in a log, and the time that they took apart from their work.
///
/// This is the time of waiting for the store, opening it and closing it.
fn store_sessions(log: &str) -> Result<(usize, Duration)> {
    let sessions: Vec<_> = log.lines().filter(|line| line.starts_with("store session")).collect();
    let fields = sessions.iter().flat_map(|line| line.split(' ')).filter_map(|word| word.split_once('='));
    let times = fields.filter(|(name, _)| matches!(*name, "waited_ms" | "open_ms" | "close_ms"));
    let opening_ms: f64 = times.map(|(_, ms)| ms.parse::<f64>()).sum::<Result<_, _>>()?;
    Ok((sessions.len(), Duration::from_secs_f64(opening_ms / 1e3)))
}

/// Waits until a process has succeeded, and returns its peak memory in KiB.
fn wait_for_peak_memory(child: &mut Child) -> Result<u64> {
    let status = Path::new("/proc").join(child.id().to_string()).join("status");
    let mut peak_kib = 0;
    loop {
        // The file has no such line once the process has exited.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak_kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(peak_kib);
        if let Some(status) = child.try_wait()? {
            return if status.success() { Ok(peak_kib) } else { Err(format!("run failed: {status}").into()) };
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Starts commands together and returns the time until all have succeeded.
fn time(commands: impl IntoIterator<Item = Command>) -> Result<Duration> {
    let start = Instant::now();
    let spawn = |mut command: Command| command.stdin(Stdio::null()).spawn();
    let children: Vec<_> = commands.into_iter().map(spawn).collect::<Result<_, _>>()?;
    for mut child in children {
        let status = child.wait()?;
        if !status.success() {
            return Err(format!("run failed: {status}").into());
        }
    }
    Ok(start.elapsed())
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort();
    values[values.len() / 2]
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

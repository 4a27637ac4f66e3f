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
#[path = "common/setup.rs"]
mod setup;
#[path = "common/sites.rs"]
mod sites;

use std::env;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use civisite::Behaviour;

use common::{MIDNIGHT, Result};
use setup::{Run, Setup, median};
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
const MEMORY_THREADS: [&str; 5] = ["auto", "32", "64", "512", "1000"];
const MEMORY_ROUNDS: usize = 3;
/// The number of connections in `by-hand`, and of its calls unless the command line names others.
const BY_HAND_SIZE: u32 = 10_000;
const BY_HAND_ROUNDS: usize = 200;
/// The number of connections that `cargo test` tries.
const TRIAL_SIZE: u32 = 20;

fn main() -> Result<()> {
    if sites::serve()? {
        return Ok(());
    }
    if !common::is_measuring() {
        idle(&[TRIAL_SIZE], 1)?;
        growth(&[TRIAL_SIZE], 1)?;
        by_hand(&[TRIAL_SIZE], TRIAL_SIZE, 1)?;
        return memory(&[TRIAL_SIZE], &["auto"], 1);
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
        let runs =
            (0..=rounds).map(|round| setup.run(round, &["--threads", "32"])).collect::<Result<Vec<_>>>()?.split_off(1);
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

fn memory(sizes: &[u32], threads: &[&str], rounds: usize) -> Result<()> {
    println!("\n| sites, all due | latency | threads | run | peak memory |");
    println!("| ---: | ---: | ---: | ---: | ---: |");
    let sites = Sites::start()?;
    for size in sizes {
        let setup = Setup::new(&sites, *size, *size, MEMORY_LATENCY)?;
        for (index, threads) in threads.iter().enumerate() {
            let run = |round| setup.run(index * rounds + round, &["--threads", threads]);
            let runs = (0..rounds).map(run).collect::<Result<Vec<_>>>()?;
            let wall = median(runs.iter().map(|run| run.wall).collect());
            let peak_kib = median(runs.iter().map(|run| run.peak_kib).collect());
            let latency_ms = MEMORY_LATENCY.as_millis();
            let chosen = median(runs.iter().map(|run| run.threads).collect());
            let threads = if *threads == "auto" { format!("auto: {chosen}") } else { chosen.to_string() };
            println!("| {size} | {latency_ms} ms | {threads} | {} | {} MiB |", ms(wall), peak_kib >> 10);
        }
    }
    Ok(())
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

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

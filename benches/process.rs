//! What a whole process costs: a run that finds nothing due, one that finds the same number due among more and more
//! connections, and the memory of runs with more and more threads.
//!
//! `cargo bench --bench process [-- idle | growth | memory [SIZE…]]`
//!
//! `idle`: cron starts such runs every few minutes, for ever, and several in the same second: here one for each of eight
//! batches. Each round starts one of each and `/bin/true`; `over` says how much longer ours takes than a process that does
//! nothing. It must not grow with the number of sites.
//!
//! `growth`: the same number of sites is due, whatever the number of those that are not. What a run takes beside opening and
//! closing the store, as its own log tells it, must not grow, and its memory no more than what opening takes.
//!
//! `memory`: all are due, and answer after a while. Peaks are those of resident memory, as Linux tells them.
//!
//! All figures are medians.

mod common;
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
use cxnpoll::store::{CxnLine, Store};
use tempfile::TempDir;

use common::{APP, MIDNIGHT, Result};
use sites::Sites;

/// Numbers of connections, where none are named.
const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
const ROUNDS: usize = 40;
/// How many runs cron starts in the same second.
const AT_ONCE: usize = 8;
/// How many sites are due in `growth`, and how often it is measured.
const DUE: u32 = 500;
const ROUNDS_OF_GROWTH: usize = 7;
/// The sites of `memory`: how many, and when they answer.
const SLOW: (u32, Duration) = (10_000, Duration::from_millis(100));
const THREADS: [usize; 4] = [32, 64, 512, 1000];
const ROUNDS_OF_MEMORY: usize = 3;
/// Sites on the first level are due after an hour; those on the second were polled at midnight and can wait.
const RETRY: &str = "1 hour (x2); 1 year (x2)";
const HOUR: i64 = 3600;

fn main() -> Result<()> {
    if sites::serve()? {
        return Ok(());
    }
    let args: Vec<String> = env::args().skip(1).collect();
    // cargo says `--bench`, unless it only tests.
    let is_bench = args.iter().any(|arg| arg == "--bench");
    let mut args = args.iter().filter(|arg| !arg.starts_with("--"));
    let what = args.next().map(String::as_str);
    let sizes = args.map(|arg| arg.parse()).collect::<Result<Vec<u32>, _>>()?;
    let sizes_or = |usual: &[u32]| if sizes.is_empty() { usual.to_vec() } else { sizes.clone() };
    match what {
        _ if !is_bench => {
            idle(&[20], 1)?;
            growth(&[20], 1)?;
            memory(&[20], &[2], 1)
        }
        None => {
            idle(&SIZES, ROUNDS)?;
            growth(&SIZES, ROUNDS_OF_GROWTH)?;
            memory(&[SLOW.0], &THREADS, ROUNDS_OF_MEMORY)
        }
        Some("idle") => idle(&sizes_or(&SIZES), ROUNDS),
        Some("growth") => growth(&sizes_or(&SIZES), ROUNDS_OF_GROWTH),
        Some("memory") => memory(&sizes_or(&[SLOW.0]), &THREADS, ROUNDS_OF_MEMORY),
        Some(_) => Err("name idle, growth or memory".into()),
    }
}

fn idle(sizes: &[u32], rounds: usize) -> Result<()> {
    println!("\n| sites | `/bin/true` | a run with nothing due | over | each of eight at once |");
    println!("| ---: | ---: | ---: | ---: | ---: |");
    let sites = Sites::start()?;
    for size in sizes {
        let world = World::new(&sites, *size, 0, Duration::ZERO)?;
        // It takes note of the expression.
        world.run(0, &[])?;
        let now = MIDNIGHT + 60;
        let batch = |id: usize, of: usize| world.poll(now, &["--batch", &format!("{id}/{of}")]);
        let (mut nothing, mut ours, mut crowd) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            nothing.push(time([Command::new("/bin/true")])?);
            ours.push(time([batch(0, 1)])?);
            crowd.push(time((0..AT_ONCE).map(|id| batch(id, AT_ONCE)))?);
        }
        let (nothing, ours) = (median(nothing), median(ours));
        let each = median(crowd) / u32::try_from(AT_ONCE)?;
        println!("| {size} | {} | {} | {} | {} |", ms(nothing), ms(ours), ms(ours.saturating_sub(nothing)), ms(each));
    }
    Ok(())
}

fn growth(sizes: &[u32], rounds: usize) -> Result<()> {
    println!("\n| sites | due | a run | opening and closing the store | all else | peak memory |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    let sites = Sites::start()?;
    for size in sizes {
        let due = DUE.min(*size);
        let world = World::new(&sites, *size, due, Duration::ZERO)?;
        let runs = (0..=rounds).map(|round| world.run(round, &[])).collect::<Result<Vec<_>>>()?.split_off(1);
        let of = |figure: fn(&Run) -> Duration| median(runs.iter().map(figure).collect());
        println!(
            "| {size} | {due} | {} | {}, {} times | {} | {} MiB |",
            ms(of(|run| run.wall)),
            ms(of(|run| run.opening)),
            median(runs.iter().map(|run| run.sessions).collect()),
            ms(of(|run| run.wall.saturating_sub(run.opening))),
            median(runs.iter().map(|run| run.peak).collect()) >> 10
        );
    }
    Ok(())
}

fn memory(sizes: &[u32], threads: &[usize], rounds: usize) -> Result<()> {
    println!("\n| sites, all due | answer after | threads | a run | peak memory |");
    println!("| ---: | ---: | ---: | ---: | ---: |");
    let sites = Sites::start()?;
    for size in sizes {
        let world = World::new(&sites, *size, *size, SLOW.1)?;
        for (number, threads) in threads.iter().enumerate() {
            let round = |round| world.run(number * rounds + round, &["--threads", &threads.to_string()]);
            let runs = (0..rounds).map(round).collect::<Result<Vec<_>>>()?;
            let wall = median(runs.iter().map(|run| run.wall).collect());
            let peak = median(runs.iter().map(|run| run.peak).collect());
            println!("| {size} | {} ms | {threads} | {} | {} MiB |", SLOW.1.as_millis(), ms(wall), peak >> 10);
        }
    }
    Ok(())
}

/// What one run took.
struct Run {
    wall: Duration,
    /// What it says of opening and closing the store.
    opening: Duration,
    sessions: usize,
    /// Most resident memory, KiB.
    peak: u64,
}

/// A store, and the configuration of a program that works on it.
struct World {
    folder: TempDir,
    due: u32,
}

impl World {
    /// A store in which `due` of the connections are due an hour after midnight, and again each hour.
    fn new(sites: &Sites, size: u32, due: u32, latency: Duration) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = Store::create(&folder.path().join("store"), Duration::from_secs(30))?;
        let step = size / due.max(1);
        let line = |number: u32| -> Result<CxnLine> {
            // Those that are due are everywhere in the store.
            let level = u32::from(!(number.is_multiple_of(step) && number / step < due));
            let status = PollStatus { level, last_run: MIDNIGHT, ..PollStatus::default() };
            let line = common::line(&sites.site(number, Behaviour::Ok, latency))?;
            Ok(CxnLine { poll_status: vec![(JobName::default(), status)], ..line })
        };
        let all: Vec<u32> = (0..size).collect();
        for some in all.chunks(100_000) {
            common::put(&store, &some.iter().map(|number| line(*number)).collect::<Result<Vec<_>>>()?)?;
        }
        let config = format!("[apps.\"{APP}\"]\ntitle = \"Bench\"\n[backups]\nevery-hours = 0\n");
        fs::write(folder.path().join("cxnpoll.toml"), config)?;
        Ok(Self { folder, due })
    }

    fn poll(&self, now: i64, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cxnpoll"));
        command.args(["poll", APP, "--store", "store", "--config", "cxnpoll.toml", "--allow-net", "127.0.0.0/8"]);
        command.args(["--retry", RETRY, "--now", &now.to_string()]).args(more).current_dir(self.folder.path());
        command
    }

    /// A run so many hours after the first.
    fn run(&self, round: usize, more: &[&str]) -> Result<Run> {
        let mut command = self.poll(MIDNIGHT + HOUR * (1 + i64::try_from(round)?), more);
        command.args(["--json", "-vv"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let began = Instant::now();
        let mut child = command.spawn()?;
        let peak = peak_memory(&mut child)?;
        let wall = began.elapsed();
        // Some lines, which its pipes could hold.
        let output = child.wait_with_output()?;
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        if summary["ok"] != self.due {
            return Err(format!("{} are due, but {summary}", self.due).into());
        }
        let log = String::from_utf8(output.stderr)?;
        let sessions: Vec<_> = log.lines().filter(|line| line.starts_with("store session")).collect();
        let figures = sessions.iter().flat_map(|line| line.split(' ')).filter_map(|word| word.split_once('='));
        let opening = figures.filter(|(name, _)| matches!(*name, "waited_ms" | "open_ms" | "close_ms"));
        let opening: f64 = opening.map(|(_, ms)| ms.parse::<f64>()).sum::<Result<_, _>>()?;
        Ok(Run { wall, opening: Duration::from_secs_f64(opening / 1e3), sessions: sessions.len(), peak })
    }
}

/// Waits until a process has ended, and tells the most memory that it had.
fn peak_memory(child: &mut Child) -> Result<u64> {
    let status = Path::new("/proc").join(child.id().to_string()).join("status");
    let mut peak = 0;
    loop {
        // Nothing of a process that has ended.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(peak);
        if let Some(status) = child.try_wait()? {
            return if status.success() { Ok(peak) } else { Err(format!("a run ended with {status}").into()) };
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// How long it takes until commands that are started together have all ended well.
fn time(commands: impl IntoIterator<Item = Command>) -> Result<Duration> {
    let began = Instant::now();
    let start = |mut command: Command| command.stdin(Stdio::null()).spawn();
    let children: Vec<_> = commands.into_iter().map(start).collect::<Result<_, _>>()?;
    for mut child in children {
        let status = child.wait()?;
        if !status.success() {
            return Err(format!("a run ended with {status}").into());
        }
    }
    Ok(began.elapsed())
}

fn median<T: Ord + Copy>(mut figures: Vec<T>) -> T {
    figures.sort();
    figures[figures.len() / 2]
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

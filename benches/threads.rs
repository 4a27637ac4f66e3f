//! The automatic number of threads, compared with fixed numbers in whole processes.
//!
//! `cargo bench --bench threads [-- LATENCY_MS SITES [ROUNDS]]`
//!
//! A round is one run of each number. A fixed number is compared with the automatic one of the same round, and the table
//! shows the median of these ratios, since the load of a machine varies. The ratio of a row is that to the best fixed number.
//! A number of which it is certain that it takes several times as long is not measured.
//!
//! The bench fails if a ratio is below 0.95. The sites are served by another process on the same machine.

mod common;
#[path = "common/cxn.rs"]
mod cxn;
#[path = "common/setup.rs"]
mod setup;
#[path = "common/sites.rs"]
mod sites;

use std::env;
use std::time::Duration;

use common::Result;
use setup::{Run, Setup, median};
use sites::Sites;

/// The fixed numbers.
const FIXED: [u32; 7] = [8, 32, 64, 128, 256, 512, 1024];
/// Latencies in milliseconds and numbers of sites, which take some seconds each.
const ROWS: [(u64, u32); 4] = [(0, 20_000), (20, 20_000), (100, 10_000), (500, 4000)];
const ROUNDS: usize = 5;
/// What `cargo test` tries.
const TRIAL: (u64, u32) = (20, 100);
/// The least ratio.
const TARGET: f64 = 0.95;
/// A run that takes at least this many times as long as the automatic one is not the best.
const HOPELESS: u32 = 4;

fn main() -> Result<()> {
    if sites::serve()? {
        return Ok(());
    }
    let sites = Sites::start()?;
    let is_measuring = common::is_measuring();
    let args = env::args().skip(1).filter(|arg| !arg.starts_with("--")).map(|arg| Ok(arg.parse()?));
    let (rows, rounds) = match args.collect::<Result<Vec<u32>>>()?[..] {
        _ if !is_measuring => (vec![TRIAL], 1),
        [] => (ROWS.to_vec(), ROUNDS),
        [latency_ms, count] => (vec![(latency_ms.into(), count)], ROUNDS),
        [latency_ms, count, rounds] if rounds > 0 => (vec![(latency_ms.into(), count)], rounds as usize),
        _ => return Err("expected LATENCY_MS SITES ROUNDS".into()),
    };
    println!("\n| latency | sites | auto | {} | auto / best |", FIXED.map(|number| number.to_string()).join(" | "));
    println!("| ---: | ---: | --- |{} ---: |", " ---: |".repeat(FIXED.len()));
    let ratios = rows.iter().map(|row| print_row(&sites, *row, rounds)).collect::<Result<Vec<f64>>>()?;
    let least = ratios.into_iter().fold(f64::INFINITY, f64::min);
    if !is_measuring {
        return Ok(());
    }
    println!("\nThe least ratio is {least:.3}, of at least {TARGET}.");
    if least < TARGET { Err("the automatic number is too slow".into()) } else { Ok(()) }
}

/// Measures a row and prints it; returns its ratio.
fn print_row(sites: &Sites, (latency_ms, count): (u64, u32), rounds: usize) -> Result<f64> {
    let latency = Duration::from_millis(latency_ms);
    let setup = Setup::new(sites, count, count, latency)?;
    let mut hours = 0;
    let mut run = |threads: &str| {
        hours += 1;
        setup.run(hours, &["--threads", threads])
    };
    let first = run("auto")?;
    let is_tried = |number: &u32| latency * count / *number < first.wall * HOPELESS;
    let numbers: Vec<u32> = FIXED.into_iter().filter(is_tried).collect();
    let (mut auto, mut fixed) = (Vec::new(), vec![Vec::new(); numbers.len()]);
    for _ in 0..rounds {
        let run_auto = run("auto")?;
        for (runs, number) in fixed.iter_mut().zip(&numbers) {
            let run = run(&number.to_string())?;
            runs.push((run.wall.div_duration_f64(run_auto.wall), run));
        }
        auto.push(run_auto);
    }
    let mut best = f64::INFINITY;
    let mut cells = Vec::new();
    for number in FIXED {
        let Some(index) = numbers.iter().position(|tried| *tried == number) else {
            cells.push("-".to_owned());
            continue;
        };
        let runs = &mut fixed[index];
        runs.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let ratio = runs[runs.len() / 2].0;
        let runs: Vec<&Run> = runs.iter().map(|(_, run)| run).collect();
        best = best.min(ratio);
        cells.push(format!("{}, {} MiB: {ratio:.2}", seconds(&runs), peak_kib(&runs) >> 10));
    }
    let auto: Vec<&Run> = auto.iter().collect();
    let threads = median(auto.iter().map(|run| run.threads).collect());
    let chosen = format!("{threads}: {}, {} MiB", seconds(&auto), peak_kib(&auto) >> 10);
    println!("| {latency_ms} ms | {count} | {chosen} | {} | {best:.3} |", cells.join(" | "));
    Ok(best)
}

/// The median of the times of runs.
fn seconds(runs: &[&Run]) -> String {
    format!("{:.2} s", median(runs.iter().map(|run| run.wall).collect()).as_secs_f64())
}

/// The most memory that one of the runs took.
fn peak_kib(runs: &[&Run]) -> u64 {
    runs.iter().map(|run| run.peak_kib).max().unwrap_or(0)
}

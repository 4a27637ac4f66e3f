//! What a run costs that finds nothing due, as a whole process: against `/bin/true`, and eight at once.
//!
//! `cargo bench --bench idle [-- SITES…]`
//!
//! Cron starts such runs every few minutes, for ever, and several in the same second: here one for each of eight batches.
//! Each round starts one of each, and the figures are medians: what
//! `over` says is how much longer ours takes than a process that does nothing. It must not grow with the number of sites.

mod common;

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use civisite::{Behaviour, Site};
use cxnpoll::model::{JobName, PollStatus};
use cxnpoll::retry::Policy;
use cxnpoll::store::{CxnLine, Store};

use common::{APP, MIDNIGHT, Result};

const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
const ROUNDS: usize = 40;
/// How many runs cron starts in the same second.
const AT_ONCE: usize = 8;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    // cargo says `--bench`, unless it only tests.
    let is_bench = args.iter().any(|arg| arg == "--bench");
    let sizes =
        args.iter().filter(|arg| !arg.starts_with("--")).map(|arg| arg.parse()).collect::<Result<Vec<u32>, _>>()?;
    let sizes = match (is_bench, sizes.is_empty()) {
        (false, _) => vec![20],
        (true, true) => SIZES.into(),
        (true, false) => sizes,
    };
    println!(
        "{:>9} | {:>9} | {:>9} | {:>9} | {:>22}",
        "sites", "/bin/true", "our run", "over", "each of eight at once"
    );
    sizes.into_iter().try_for_each(|size| measure(size, if is_bench { ROUNDS } else { 1 }))
}

fn measure(size: u32, rounds: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    fill(&folder.path().join("store"), size)?;
    let config = folder.path().join("cxnpoll.toml");
    std::fs::write(&config, format!("[apps.\"{APP}\"]\ntitle = \"Bench\"\n[backups]\nevery-hours = 0\n"))?;
    let now = (MIDNIGHT + 60).to_string();
    let ours = |batch: usize, of: usize| {
        let mut ours = Command::new(env!("CARGO_BIN_EXE_cxnpoll"));
        ours.args(["poll", APP, "--store", "store", "--now", &now, "--batch", &format!("{batch}/{of}"), "--config"]);
        ours.arg(&config).current_dir(folder.path());
        ours
    };
    let (mut true_times, mut our_times, mut crowd_times) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=rounds {
        true_times.push(time([Command::new("/bin/true")])?);
        our_times.push(time([ours(0, 1)])?);
        crowd_times.push(time((0..AT_ONCE).map(|batch| ours(batch, AT_ONCE)))?);
    }
    let [nothing, ours, crowd] = [true_times, our_times, crowd_times].map(median);
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let at_once = u32::try_from(AT_ONCE)?;
    println!(
        "{size:>9} | {:>9} | {:>9} | {:>9} | {:>22}",
        ms(nothing),
        ms(ours),
        ms(ours.saturating_sub(nothing)),
        ms(crowd / at_once)
    );
    Ok(())
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

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// A store of healthy connections that were polled at midnight, for a job that knows its expression.
fn fill(path: &Path, size: u32) -> Result<()> {
    let store = Store::create(path, Duration::from_secs(30))?;
    let status = PollStatus { last_run: MIDNIGHT, last_success: Some(MIDNIGHT), ..PollStatus::default() };
    let line = |number: u32| -> Result<CxnLine> {
        let site = Site::new(([127, 0, 0, 1], 80).into(), number, Behaviour::Ok);
        Ok(CxnLine { poll_status: vec![(JobName::default(), status.clone())], ..common::line(&site)? })
    };
    common::put(&store, &(0..size).map(line).collect::<Result<Vec<_>>>()?)?;
    store.session(|session| {
        let app = session.app(&APP.parse().expect("an appId"))?.expect("the app has connections");
        let job = session.ensure_job(app, &JobName::default())?;
        while !session.enrol(&session.ensure_job(app, &JobName::default())?)? {}
        session.remember_retry(job.no, &Policy::default().to_string())
    })?;
    Ok(())
}

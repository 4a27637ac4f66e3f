//! Runs of the program on stores of simulated sites.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use civisite::Behaviour;
use cxnpoll::model::{JobName, PollStatus};
use cxnpoll::store::{CxnPatch, Store};
use tempfile::TempDir;

use super::common::{self, APP, HOUR, MIDNIGHT, Result};
use super::cxn::cxn_of;
use super::sites::Sites;

/// Sites of the first level are due an hour after midnight. Those of the second were polled at midnight and are not due.
const RETRY: &str = "1 hour (x2); 1 year (x2)";

/// What one run took.
#[derive(Clone)]
#[allow(dead_code, reason = "each bench uses some")]
pub struct Run {
    pub wall: Duration,
    /// The time in which it waited for, opened and closed the store, from its log.
    pub opening: Duration,
    /// The number of store sessions.
    pub sessions: usize,
    /// Peak resident memory in KiB.
    pub peak_kib: u64,
    /// How many sites it polled at a time.
    pub threads: u64,
}

/// A directory with a store and a configuration, for runs of the program.
pub struct Setup {
    pub dir: TempDir,
    due: u32,
}

impl Setup {
    /// Creates a store in which `due` of `size` connections are due every hour.
    ///
    /// They are due for the first time an hour after midnight.
    pub fn new(sites: &Sites, size: u32, due: u32, latency: Duration) -> Result<Self> {
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
    pub fn command(&self, now: i64, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cxnpoll"));
        command.args(["poll", APP, "--store", "store", "--config", "cxnpoll.toml", "--allow-net", "127.0.0.0/8"]);
        command.args(["--retry", RETRY, "--now", &now.to_string()]).args(args).current_dir(self.dir.path());
        command
    }

    /// Measures a run, `round` hours after the first, which is an hour after midnight.
    pub fn run(&self, round: usize, args: &[&str]) -> Result<Run> {
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
        let threads = summary["threads"].as_u64().ok_or("no number of threads")?;
        let (sessions, opening) = store_sessions(&String::from_utf8(output.stderr)?)?;
        Ok(Run { wall, opening, sessions, peak_kib, threads })
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

/// Returns the middle one of the sorted values.
pub fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort();
    values[values.len() / 2]
}

//! A process that writes to a store until it is killed.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::HOUR;
use crate::testkit::library::{Writer, import_line};
use crate::testkit::{MIDNIGHT, Random, number_from_env};

/// The number of stores that are written to at the same time.
const STORES: u64 = 3;
/// The number of connections in a store.
const CXNS: u64 = 120;
/// How many connections a round imports.
const CXNS_PER_ROUND: u64 = 8;
/// A child is killed after fewer rounds than this.
const MAX_ROUNDS: usize = 4;
/// The longest time between the last of these rounds and the kill.
const MAX_DELAY: Duration = Duration::from_millis(60);
/// The retry expression of the job.
const RETRY: &str = "1 hour (x3); 1 day (x*)";
/// The variables that pass the store and the first round to the child.
const STORE: &str = "CXNPOLL_CRASH_STORE";
const ROUND: &str = "CXNPOLL_CRASH_ROUND";
/// The start of a line that acknowledges a round.
const DONE: &str = "done ";
/// The test that is the child process.
const CHILD: &str = "crash::writer::child";

/// Returns how many writers are killed on each store.
fn kills_per_store() -> u64 {
    (number_from_env("CXNPOLL_KILLS").unwrap_or(120) / 5).max(1)
}

/// Returns the numbers of the connections that a round imports.
fn imported(round: u64) -> impl Iterator<Item = u64> {
    (0..CXNS_PER_ROUND).map(move |i| (round * CXNS_PER_ROUND + i) % CXNS)
}

/// Returns the time of a round.
fn time_of(round: u64) -> i64 {
    MIDNIGHT + i64::try_from(round).unwrap() * 2 * HOUR
}

/// Imports some connections per round, records a poll of all, and prints the round, until it is killed.
#[test]
#[ignore = "another test starts it as a process"]
fn child() {
    let (Ok(store), Ok(round)) = (env::var(STORE), env::var(ROUND)) else { return };
    let writer = Writer::open(Path::new(&store), RETRY);
    for round in round.parse::<u64>().unwrap().. {
        // The address of a connection names its round.
        let line = |number: u64| import_line(number.try_into().unwrap(), &format!("https://{number}.example/{round}"));
        writer.import(imported(round).map(line));
        writer.record_due(time_of(round));
        println!("{DONE}{round}");
    }
}

#[test]
fn acknowledged_writes_survive_sigkill() {
    let mut seeds = Random::from_env();
    thread::scope(|scope| {
        for _ in 0..STORES {
            let random = Random::new(seeds.next());
            scope.spawn(move || kill_writers(random));
        }
    });
}

/// Kills one writer after the other on the same store, and checks the store after each.
fn kill_writers(mut random: Random) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut acknowledged: Option<u64> = None;
    for _ in 0..kills_per_store() {
        let next = acknowledged.map_or(0, |round| round + 1);
        acknowledged = last_round(&path, next, &mut random).or(acknowledged);
        if let Some(round) = acknowledged {
            verify(&path, round);
        }
    }
    assert!(acknowledged > Some(kills_per_store() / 2), "{acknowledged:?}");
}

/// Starts a child at a round, and kills it at a random time.
///
/// Returns the last round that the child acknowledged; `None` if it acknowledged none.
fn last_round(store: &Path, first: u64, random: &mut Random) -> Option<u64> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", CHILD, "--ignored", "--nocapture"])
        .env(STORE, store)
        .env(ROUND, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    for _ in 0..random.below(MAX_ROUNDS) {
        while output.read_line(&mut text).unwrap() > 0 && !text.lines().last().unwrap().contains(DONE) {}
    }
    thread::sleep(random.duration_below(MAX_DELAY));
    child.kill().unwrap();
    child.wait().unwrap();
    output.read_to_string(&mut text).unwrap();
    // An incomplete line is no acknowledgement.
    let (whole, _) = text.rsplit_once('\n')?;
    whole.lines().filter_map(|line| line.split(DONE).nth(1)?.parse().ok()).max()
}

/// Asserts that all rounds up to this one are in the store, and at most parts of the next.
fn verify(store: &Path, round: u64) {
    let writer = Writer::open(store, RETRY);
    writer.assert_idle_is_true();
    writer.assert_sound();
    let connections = writer.connections();
    let rounds = round.saturating_sub(CXNS / CXNS_PER_ROUND - 1)..=round;
    for (of, number) in rounds.flat_map(|round| imported(round).map(move |number| (round, number))) {
        let (site_url, last_run) = &connections[&format!("cxn:{number}")];
        let found: u64 = site_url.rsplit('/').next().unwrap().parse().unwrap();
        assert!(found == of || found == round + 1, "{number} is of round {found}, not {of}");
        let times = [time_of(round), time_of(round + 1)];
        assert!(times.contains(last_run), "{number} was polled at {last_run}, not {}", times[0]);
    }
}

//! What a store holds after a power cut at any time.
//!
//! Commands run under strace. A cut keeps what a disk may have kept of their operations ([`disk`]). The program then
//! opens the rebuilt store. Everything must be there that was written by a command that had ended.
//!
//! ```sh
//! cargo test --test it power:: -- --ignored --nocapture
//! ```
//!
//! - `CXNPOLL_CUTS` (500) is the number of cuts.
//! - `CXNPOLL_SEED` is the seed of the first cut. Each cut has a seed of its own.
//! - `CXNPOLL_RECORD` names the record that a failed test leaves. The same seed on the same record is the same cut.
//! - `CXNPOLL_KEEP` names a directory that receives each rebuilt store before the program opens it.
//! - `CXNPOLL_INJECT` is an expression for strace while it records, such as `inject=fsync:delay_enter=1000`.

mod content;
mod disk;
mod record;
mod steps;
mod trace;
mod verdict;

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use disk::{Cut, Disk, NameOrder};
use record::Recording;
use steps::Step;
use verdict::Verdict;

use crate::testkit::{Random, World, number_from_env, tools};

/// How many seeds are printed per verdict.
const MAX_PRINTED_SEEDS: usize = 5;
/// How many cuts are checked at a time.
const THREADS: usize = 2;

#[test]
fn power_cut_keeps_what_a_few_commands_acknowledged() {
    cuts(steps::few, 60);
}

#[test]
fn power_cut_during_a_repair_loses_nothing() {
    cuts(steps::repair, 12);
}

#[test]
#[ignore = "takes minutes; run it after a change to how the store is written"]
fn power_cut_keeps_what_many_commands_acknowledged() {
    cuts(steps::many, number_from_env("CXNPOLL_CUTS").unwrap_or(500));
}

#[test]
#[ignore = "takes minutes; run it after a change to how the store is written"]
fn power_cut_keeps_what_large_sessions_acknowledged() {
    cuts(steps::large_sessions, number_from_env("CXNPOLL_CUTS").unwrap_or(500));
}

#[test]
#[ignore = "takes minutes; run it after a change to how the store is written"]
fn power_cut_keeps_acknowledged_large_perms() {
    cuts(steps::large_perms, number_from_env("CXNPOLL_CUTS").unwrap_or(500));
}

#[test]
#[ignore = "takes minutes; run it after a change to how the store is written"]
fn power_cut_keeps_acknowledged_large_results() {
    cuts(steps::large_results, number_from_env("CXNPOLL_CUTS").unwrap_or(500));
}

/// Cuts the power many times, and asserts that nothing acknowledged is lost.
fn cuts(steps: fn(&World) -> Vec<Step>, cuts: u64) {
    if !tools::require("strace") {
        return;
    }
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let recording = match env::var_os("CXNPOLL_RECORD") {
        Some(record) => Recording::load(&PathBuf::from(record)),
        None => Recording::make(&world, steps(&world), dir.path()),
    };
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let seed = number_from_env("CXNPOLL_SEED").unwrap_or(now);
    println!("{cuts} cuts from seed {seed} of {} operations", recording.events.len());
    let trial = Trial {
        world: &world,
        disk: Disk::follow(&recording.events),
        turning_points: Disk::turning_points(&recording.events),
        recording: &recording,
    };
    let next = AtomicU64::new(seed);
    let outcomes = Mutex::new(BTreeMap::<(Verdict, NameOrder), Vec<u64>>::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed_of_cut = next.fetch_add(1, Ordering::Relaxed);
                    if seed_of_cut >= seed + cuts {
                        break;
                    }
                    let outcome = trial.run(seed_of_cut);
                    outcomes.lock().unwrap().entry(outcome).or_default().push(seed_of_cut);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    for ((verdict, names), seeds) in &outcomes {
        let first = seeds.iter().min().unwrap();
        let printed: Vec<_> = seeds.iter().take(MAX_PRINTED_SEEDS).collect();
        println!("{:>6} names {names:?}: {verdict}; seeds {printed:?}; {}", seeds.len(), trial.describe(*first));
    }
    let allowed = outcomes.keys().all(|(verdict, _)| verdict.is_allowed());
    assert!(allowed, "acknowledged data is not there; the record is {}", dir.keep().display());
}

/// The recorded commands, and a world to check the rebuilt stores with.
struct Trial<'a> {
    world: &'a World,
    recording: &'a Recording,
    disk: Disk,
    turning_points: Vec<usize>,
}

impl Trial<'_> {
    /// Chooses when and how the power is cut.
    fn cut<'r>(&self, random: &'r mut Random) -> Cut<'r> {
        let names = [NameOrder::Ordered, NameOrder::Scattered][random.below(2)];
        let last = self.recording.states.last().unwrap().time;
        let time = match random.below(2) {
            0 => 1 + random.below(last),
            _ => self.turning_points[random.below(self.turning_points.len())].min(last),
        };
        Cut { time, names, random }
    }

    /// Cuts the power, and checks the rebuilt store.
    fn run(&self, seed: u64) -> (Verdict, NameOrder) {
        let mut random = Random::new(seed);
        let cut = self.cut(&mut random);
        let (time, names) = (cut.time, cut.names);
        let rebuilt = tempfile::tempdir().unwrap();
        self.disk.rebuild(cut, rebuilt.path());
        if let Some(keep) = env::var_os("CXNPOLL_KEEP") {
            let keep = PathBuf::from(keep).join(seed.to_string());
            assert!(Command::new("cp").arg("-a").arg(rebuilt.path()).arg(keep).status().unwrap().success());
        }
        let (acknowledged, since) = self.recording.around(time);
        let verdict = verdict::check(self.world, rebuilt.path(), self.recording.began_damaged, acknowledged, since);
        (verdict, names)
    }

    /// Describes what ran when the power was cut.
    fn describe(&self, seed: u64) -> String {
        let time = self.cut(&mut Random::new(seed)).time;
        let in_flight = self.recording.states.iter().position(|state| state.time > time);
        let command =
            in_flight.map_or_else(|| "the end".to_owned(), |at| format!("{at}: {}", self.recording.states[at].command));
        let begun = self.recording.events.iter().rfind(|event| event.began < time);
        format!("the first at time {time} in {command}, after {}", begun.map_or_else(String::new, trace::Event::brief))
    }
}

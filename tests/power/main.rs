//! What is left of a store when the power is cut at any moment.
//!
//! Commands run under strace. Of the operations that they did, a cut leaves what a disk may have kept ([`disk`]); the
//! program then opens the rebuilt store. Whatever a command that had ended wrote has to be there.
//!
//! ```sh
//! cargo test --test power -- --ignored --nocapture
//! ```
//!
//! `CXNPOLL_CUTS` (500) is the number of cuts, `CXNPOLL_SEED` where they begin. Each cut has a seed of its own. Where a
//! test fails it leaves its record of the commands, and `CXNPOLL_RECORD` names it to repeat a cut: the same seed on the
//! same record is the same cut, and `CXNPOLL_KEEP` names a folder to leave it in, as it was before the program opened it.
//! `CXNPOLL_INJECT` is handed to strace while it records: with `inject=sync_file_range:error=ENOSYS` sled falls back to
//! `fsync`, so that what it takes for stable is.

#[path = "../common/mod.rs"]
mod common;
mod disk;
mod random;
mod record;
mod trace;
mod verdict;

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use common::World;
use disk::{Cut, Disk, Names};
use random::Random;
use record::{Recording, Step};
use verdict::Verdict;

/// How many cuts of a kind are told by their seeds.
const TOLD: usize = 5;
/// How many cuts are judged at a time.
const AT_ONCE: usize = 2;

#[test]
fn a_cut_leaves_what_a_few_commands_acknowledged() {
    cuts(record::few, 40);
}

#[test]
#[ignore = "takes minutes; run it when the way to the disk changes"]
fn a_cut_leaves_what_many_commands_acknowledged() {
    cuts(record::many, number("CXNPOLL_CUTS").unwrap_or(500));
}

#[test]
#[ignore = "takes minutes; run it when the way to the disk changes"]
fn a_cut_leaves_what_large_sessions_acknowledged() {
    cuts(record::large_sessions, number("CXNPOLL_CUTS").unwrap_or(500));
}

#[test]
#[ignore = "takes minutes; run it when the way to the disk changes"]
fn a_cut_leaves_large_perms_that_were_acknowledged() {
    cuts(record::large_perms, number("CXNPOLL_CUTS").unwrap_or(500));
}

/// Cuts the power so many times, and tells what is left.
fn cuts(steps: fn(&World) -> Vec<Step>, cuts: u64) {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        println!("strace is not installed: nothing was tested");
        return;
    }
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let recording = match env::var_os("CXNPOLL_RECORD") {
        Some(record) => Recording::load(&PathBuf::from(record)),
        None => Recording::make(&world, steps(&world), folder.path()),
    };
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let seed = number("CXNPOLL_SEED").unwrap_or(now);
    println!("{cuts} cuts from seed {seed} of {} operations", recording.events.len());
    let trial = Trial {
        world: &world,
        disk: Disk::follow(&recording.events),
        turns: Disk::turning_points(&recording.events),
        recording: &recording,
    };
    let next = AtomicU64::new(seed);
    let outcomes = Mutex::new(BTreeMap::<(Verdict, Names), Vec<u64>>::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
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
        let told: Vec<_> = seeds.iter().take(TOLD).collect();
        println!("{:>6} names {names:?}: {verdict}; seeds {told:?}; {}", seeds.len(), trial.describe(*first));
    }
    let allowed = outcomes.keys().all(|(verdict, _)| verdict.is_allowed());
    assert!(allowed, "what was acknowledged was lost; the record is {}", folder.keep().display());
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

struct Trial<'a> {
    world: &'a World,
    recording: &'a Recording,
    disk: Disk,
    turns: Vec<usize>,
}

impl Trial<'_> {
    /// When and how the power is cut.
    fn cut<'r>(&self, random: &'r mut Random) -> Cut<'r> {
        let names = [Names::Ordered, Names::Scattered][random.below(2)];
        let last = self.recording.states.last().unwrap().moment;
        let moment = match random.below(2) {
            0 => 1 + random.below(last),
            _ => self.turns[random.below(self.turns.len())].min(last),
        };
        Cut { moment, names, random }
    }

    fn run(&self, seed: u64) -> (Verdict, Names) {
        let mut random = Random::new(seed);
        let cut = self.cut(&mut random);
        let (moment, names) = (cut.moment, cut.names);
        let rebuilt = tempfile::tempdir().unwrap();
        self.disk.rebuild(cut, rebuilt.path());
        if let Some(keep) = env::var_os("CXNPOLL_KEEP") {
            let keep = PathBuf::from(keep).join(seed.to_string());
            assert!(Command::new("cp").arg("-a").arg(rebuilt.path()).arg(keep).status().unwrap().success());
        }
        let (acknowledged, since) = self.recording.around(moment);
        (verdict::judge(self.world, rebuilt.path(), acknowledged, since), names)
    }

    /// What was going on when the power was cut.
    fn describe(&self, seed: u64) -> String {
        let moment = self.cut(&mut Random::new(seed)).moment;
        let under_way = self.recording.states.iter().position(|state| state.moment > moment);
        let command =
            under_way.map_or_else(|| "the end".to_owned(), |at| format!("{at}: {}", self.recording.states[at].command));
        let begun = self.recording.events.iter().rfind(|event| event.began < moment);
        format!(
            "the first at moment {moment} in {command}, after {}",
            begun.map_or_else(String::new, trace::Event::brief)
        )
    }
}

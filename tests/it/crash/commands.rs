//! Commands that are killed at every failpoint, and in any order at random times.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::files::assert_bounded;
use super::scene::{Death, KINDS, Scene};
use crate::testkit::library::kill_points;
use crate::testkit::{APP, Random, World, code, number_from_env, stderr, was_killed};

/// How many stores are written to at the same time.
const THREADS: u64 = 2;
/// How many commands are killed on one store.
const KILLS_PER_STORE: u64 = 100;

#[test]
fn every_command_survives_sigkill_at_every_failpoint() {
    let mut random = Random::from_env();
    let seed = random.next();
    let random = Mutex::new(random);
    let reached = Mutex::new(BTreeSet::new());
    let kinds = Mutex::new(KINDS.iter());
    // By default a twelfth of all, and each failpoint at least once.
    let is_long = number_from_env("CXNPOLL_KILLS").is_some();
    let max_times = if is_long { 3 } else { 1 };
    thread::scope(|scope| {
        scope.spawn(|| {
            let steps = kill_first_commands(seed);
            reached.lock().unwrap().extend(steps);
        });
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let Some((before, kind)) = kinds.lock().unwrap().next() else { break };
                    let mut scene = Scene::new(seed);
                    for kind in ["import", "poll", "backup", before] {
                        scene.run(kind, &Death::Never);
                    }
                    if *kind == "backup" {
                        scene.fill_backups();
                    }
                    let steps = stderr(&scene.output_of(kind, &Death::At(String::new())));
                    for point in kill_points() {
                        let is_chosen = is_long || random.lock().unwrap().below(12) == 0;
                        if !is_chosen && reached.lock().unwrap().contains(&point) {
                            continue;
                        }
                        let times = steps.lines().filter(|step| *step == point).count().min(max_times);
                        for time in 1..=times {
                            if scene.run(kind, &Death::At(format!("{point}:{time}"))) {
                                reached.lock().unwrap().insert(point.clone());
                            }
                        }
                    }
                    scene.run(kind, &Death::Never);
                }
            });
        }
    });
    let reached = reached.into_inner().unwrap();
    // Those of notifications are in `crate::notify`, those of registrations in `super::registration`.
    let is_elsewhere = |point: &String| point.starts_with("Notification") || point.starts_with("Registration");
    let is_missed = |point: &String| !reached.contains(point) && !is_elsewhere(point);
    let missed: Vec<_> = kill_points().into_iter().filter(is_missed).collect();
    assert!(missed.is_empty(), "no command reaches {missed:?}");
}

/// Kills the first import and the first poll at the steps that create files; returns these steps.
fn kill_first_commands(seed: u64) -> Vec<String> {
    let scene = |kind: &str| {
        let mut scene = Scene::new(seed);
        if kind == "poll" {
            scene.run("import", &Death::Never);
        }
        scene
    };
    let mut reached = Vec::new();
    for kind in ["import", "poll"] {
        let steps = stderr(&scene(kind).output_of(kind, &Death::At(String::new())));
        let creates = |point: &String| kind == "import" || point.starts_with("Results") || point.starts_with("Backup");
        for point in kill_points().into_iter().filter(creates).filter(|point| steps.lines().any(|step| step == point)) {
            let mut scene = scene(kind);
            assert!(scene.run(kind, &Death::At(point.clone())), "{kind} does not reach {point}");
            scene.run(kind, &Death::Never);
            reached.push(point);
        }
    }
    reached
}

#[test]
fn any_commands_survive_sigkill_at_any_time() {
    let kills = number_from_env("CXNPOLL_KILLS").unwrap_or(24);
    let mut seeds = Random::from_env();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let mut random = Random::new(seeds.next());
            scope.spawn(move || {
                let mut left = (kills + thread) / THREADS;
                while left > 0 {
                    let here = left.min(KILLS_PER_STORE);
                    kill_commands(random.next(), here);
                    left -= here;
                }
            });
        }
    });
}

/// Runs random commands on a new store until a number of them has been killed.
///
/// Then one command of each kind runs to its end.
fn kill_commands(seed: u64, kills: u64) {
    println!("store of seed {seed}");
    let (mut random, mut scene) = (Random::new(seed), Scene::new(seed));
    let points = kill_points();
    let mut killed = 0;
    while killed < kills {
        let kind = if scene.is_empty() { "import" } else { KINDS[random.below(KINDS.len())].1 };
        let at_point = Death::At(format!("{}:{}", points[random.below(points.len())], 1 + random.below(4)));
        let death = [Death::AnyTime, Death::AnyTime, at_point][random.below(3)].clone();
        killed += u64::from(scene.run(kind, &death));
    }
    for (_, kind) in KINDS {
        scene.run(kind, &Death::Never);
    }
    assert_bounded(&scene.world);
}

#[test]
fn dead_process_holds_no_lock() {
    let world = World::with(["ok"; 3]);
    let killed = world.command(&["poll", APP]).env("CXNPOLL_DIE_AT", "DatabaseOpened:2").output().unwrap();
    assert!(was_killed(&killed), "{killed:?}");
    let began = Instant::now();
    let output = world.run(&["store", "compact", "-v"]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stderr(&output).contains("3 connections"), "{output:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
}

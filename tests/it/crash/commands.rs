//! Commands that are killed at every failpoint, and at random times.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{HOUR, kills};
use crate::testkit::library::{assert_backup_is_whole, assert_idle_is_true, exported_line, kill_points};
use crate::testkit::{APP, MIDNIGHT, Random, World, assert_quiet, code, stderr, was_killed};

/// The commands that write to a store.
const COMMANDS: [&[&str]; 5] = [
    &["import", "more.jsonl"],
    &["poll", APP, "--per-host", "64"],
    &["store", "backup"],
    &["store", "restore"],
    &["store", "compact"],
];

/// A command that changes a store, and what the store may hold.
struct Scene {
    world: World,
    arguments: &'static [&'static str],
    /// How often the command ran.
    runs: AtomicI64,
    /// What an export holds before the command, and after it.
    before: Vec<String>,
    after: Vec<String>,
}

/// Returns an export without what a poll changes.
fn export(world: &World) -> Vec<String> {
    let lines = world.export();
    lines.iter().map(|line| line.split(",\"pollStatus\"").next().unwrap().to_owned()).collect()
}

impl Scene {
    fn new(arguments: &'static [&'static str]) -> Self {
        let world = World::with(["ok"; 60]);
        world.poll(MIDNIGHT, &[]);
        assert_quiet(&world.run(&["store", "backup"]));
        let before = export(&world);
        let mut after = before.clone();
        if arguments[0] == "import" {
            let mut lines = Vec::new();
            for number in 60..1200 {
                let code = format!(r#""batchCode":{number}"#);
                lines.push(world.site(number, "ok").jsonl().replacen('}', &format!(",{code}}}"), 1));
            }
            fs::write(world.path("more.jsonl"), lines.join("\n")).unwrap();
            after.extend(lines.iter().map(|line| exported_line(line)));
            after.sort();
        }
        Self { world, arguments, runs: AtomicI64::new(1), before, after }
    }

    /// Asserts that the store is sound, that nothing is lost, and that every line is whole.
    fn verify(&self) {
        assert_idle_is_true(&self.world.store());
        self.world.assert_sound();
        let now = export(&self.world);
        assert!(self.before.iter().all(|line| now.contains(line)), "{:?} lost a connection", self.arguments);
        assert!(now.iter().all(|line| self.after.contains(line)), "{:?} left half a line", self.arguments);
        for backup in fs::read_dir(self.world.store().join("backups")).unwrap() {
            let path = backup.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "gz") {
                assert_backup_is_whole(&path);
            }
        }
    }

    /// Returns the command. Each poll is an hour later than the one before, so that all sites are due.
    fn command(&self) -> Command {
        let mut command = self.world.command(self.arguments);
        if self.arguments[0] == "poll" {
            let hour = self.runs.fetch_add(1, Ordering::Relaxed);
            command.arg("--now").arg((MIDNIGHT + hour * HOUR).to_string());
        }
        command
    }

    /// Asserts that the command succeeds when it runs again.
    fn run_again(&self) {
        let output = self.command().output().unwrap();
        assert_eq!(code(&output), 0, "{:?}: {output:?}", self.arguments);
        assert_eq!(export(&self.world), self.after, "{:?}", self.arguments);
    }
}

#[test]
fn every_command_survives_sigkill_at_every_failpoint() {
    let reached = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for arguments in COMMANDS {
            let reached = &reached;
            scope.spawn(move || {
                let scene = Scene::new(arguments);
                for point in kill_points() {
                    for times in 1..=2 {
                        let wanted = format!("{point}:{times}");
                        let output = scene.command().env("CXNPOLL_DIE_AT", &wanted).output().unwrap();
                        if !was_killed(&output) {
                            assert_eq!(code(&output), 0, "{arguments:?} {wanted}: {output:?}");
                            break;
                        }
                        reached.lock().unwrap().insert(point.clone());
                        scene.verify();
                    }
                }
                scene.run_again();
            });
        }
    });
    let reached = reached.into_inner().unwrap();
    let missed: Vec<_> = kill_points().into_iter().filter(|point| !reached.contains(point)).collect();
    assert!(missed.is_empty(), "no command reaches {missed:?}");
}

#[test]
fn every_command_survives_sigkill_at_any_time() {
    thread::scope(|scope| {
        for arguments in COMMANDS {
            scope.spawn(move || {
                let scene = Scene::new(arguments);
                let mut random = Random::from_env();
                let began = Instant::now();
                scene.run_again();
                let duration = began.elapsed();
                for _ in 0..kills(8) {
                    let mut child = scene.command().spawn().unwrap();
                    thread::sleep(random.duration_below(duration));
                    child.kill().unwrap();
                    let output = child.wait_with_output().unwrap();
                    assert!(was_killed(&output) || code(&output) == 0, "{output:?}");
                    scene.verify();
                }
                scene.run_again();
            });
        }
    });
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

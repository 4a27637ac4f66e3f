//! The limit of open files.

use std::process::Output;

use serde_json::Value;

use crate::testkit::{APP, World, stderr};

/// Runs `poll` under a limit that the shell sets; every poll must succeed.
fn poll_with_limit(world: &World, limit: &str, more: &str) -> Output {
    let output = world.run_in_shell(limit, &format!("poll {APP} {more} --json"));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["ok"], summary["due"], "{summary}");
    output
}

#[test]
fn low_limit_reduces_the_threads_and_no_poll_fails() {
    let world = World::with(["slow-300"; 120]);
    let output = poll_with_limit(&world, "ulimit -n 128", "--threads 500 --per-host 500");
    assert!(stderr(&output).contains("only 32 sites at the same time, not 120"), "{output:?}");
    assert_eq!(world.server.max_open(), 32);
}

#[test]
fn soft_limit_is_raised() {
    let world = World::with(["slow-3000"; 150]);
    let output = poll_with_limit(&world, "ulimit -Sn 64", "--threads 150 --per-host 150");
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(world.server.max_open(), 150);
}

//! Limits of the process: open files, memory, the size of files.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use super::listeners::{configure, latest};
use crate::testkit::{APP, MIDNIGHT, World, code, stderr, tools};

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
    assert!(stderr(&output).contains("only 21 sites at the same time, not 120"), "{output:?}");
    assert_eq!(world.server.max_open(), 21);
}

#[test]
fn inherited_files_reduce_the_threads_too() {
    if !tools::require("python3") {
        return;
    }
    let world = World::with(["slow-50"; 20]);
    let limited = "import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
files = [os.open('/dev/null', os.O_RDONLY) for _ in range(77)]
[os.set_inheritable(file, True) for file in files]
os.execv(sys.argv[1], sys.argv[1:])";
    let mut command = world.command_of("python3");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_cxnpoll"), "poll", APP, "--per-host", "64", "--json"]);
    let output = command.output().unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), &summary["ok"]), (0, &json!(20)), "{output:?}");
    assert!(stderr(&output).contains(" at the same time, not 20: more open files are not allowed"), "{output:?}");
}

#[test]
fn soft_limit_is_raised() {
    let world = World::with(["slow-3000"; 150]);
    let output = poll_with_limit(&world, "ulimit -Sn 64", "--threads 150 --per-host 150");
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(world.server.max_open(), 150);
}

#[test]
fn workers_are_added_while_sites_wait() {
    if !tools::require("taskset") {
        return;
    }
    let world = World::with(["slow-300"; 200]);
    // Other tests keep the machine busy. A process that may not use all of it looks only at its own share.
    let one_processor = "taskset -cp 0 $$ >/dev/null";
    let poll = |arguments: &str| {
        let output = poll_with_limit(&world, one_processor, &format!("--log-file log {arguments}"));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["threads"].as_u64().unwrap()
    };
    let threads = poll("--per-host 200");
    assert!((64..=200).contains(&threads), "{threads}");
    assert!(world.server.max_open() > 32, "{}", world.server.max_open());
    let log = fs::read_to_string(world.path("log")).unwrap();
    assert!(log.contains(&format!("{threads} sites at a time")), "{log}");
    assert_eq!(poll("--name fixed --per-host 100 --threads 100"), 100);
    let of_one_host = poll("--name host --per-host 40 --limit 100");
    assert!((40..=45).contains(&of_one_host), "{of_one_host} for 40 polls at a time");
}

#[test]
fn run_goes_on_with_the_threads_that_fit_into_the_memory() {
    let world = World::with(["slow-300"; 60]);
    let output = poll_with_limit(&world, "ulimit -v 150000", "--threads 60 --per-host 60");
    let message = stderr(&output);
    assert!(message.contains(" at the same time, not 60: ") && message.lines().count() == 1, "{message}");
    let workers = message.trim_start_matches("warning: only ").split(' ').next().unwrap();
    assert_eq!(world.server.max_open().to_string(), workers);
}

#[test]
fn too_little_memory_is_an_error_and_no_damage() {
    let world = World::with(["ok"; 3]);
    configure(&world, "[[listeners]]\nevent = \"civi_cxn.poll\"\nkeep = true\ncalls = [{ api = \"System.get\" }]\n");
    world.poll(MIDNIGHT, &[]);
    let mut codes = [0, 74].map(|code| (code, 0));
    let commands = ["results", "status", "poll", "import import.jsonl"].into_iter().cycle();
    // The program of the tests is not optimized, and needs most of the first limit itself.
    for ((kib, day), command) in (60_000..=132_000).step_by(2_008).zip(1..).zip(commands) {
        let poll = format!("poll {APP} --now {}", MIDNIGHT + 90_000 * day);
        let command = if command == "poll" { &poll } else { command };
        let program = env!("CARGO_BIN_EXE_cxnpoll");
        let script = format!("ulimit -v {kib}; exec timeout -s KILL 20 {program} {command}");
        let output = world.command_of("/bin/sh").args(["-c", &script]).output().unwrap();
        let message = stderr(&output);
        assert!(!message.contains("damaged") && !message.contains("restore"), "{kib}: {message}");
        let times = codes.iter_mut().find(|(code, _)| output.status.code() == Some(*code));
        times.unwrap_or_else(|| panic!("{kib}: {command}: {output:?}")).1 += 1;
        assert_eq!(message.contains("too little memory"), code(&output) == 74, "{kib}: {command}: {message}");
    }
    assert!(codes.iter().all(|(_, times)| *times > 5), "{codes:?}");
    assert_eq!(latest(&world).len(), 3);
    world.assert_sound();
}

#[test]
fn limit_of_file_sizes_is_an_error_of_the_store() {
    let world = World::with(["ok"]);
    let output = world.run_in_shell("ulimit -f 100", &format!("poll {APP}"));
    let message = stderr(&output);
    assert_eq!(code(&output), 74, "{message}");
    assert!(message.contains("limit of file sizes") && message.contains("(ulimit -f)"), "{message}");
    assert_eq!(world.poll(MIDNIGHT, &[])["ok"], 1);
    world.assert_sound();
}

#[test]
fn programs_are_ended_by_the_limit_of_file_sizes_as_usual() {
    let world = World::with(["ok"]);
    let script = r#"read -r event
        (ulimit -f 1; head -c 9999 /dev/zero > file); echo "{\"keep\":$?}"; echo '{"ok":true}'"#;
    let listener = format!("[[listeners]]\nevent = \"civi_cxn.poll\"\nprogram = [\"sh\", \"-c\", {script:?}]\n");
    configure(&world, &listener);
    assert_eq!(world.poll(MIDNIGHT, &[])["ok"], 1);
    assert_eq!(latest(&world)[0]["value"], 153, "128 and the number of SIGXFSZ");
}

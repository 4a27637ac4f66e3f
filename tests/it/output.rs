//! Output that cannot be written, or whose reader takes its time.

use std::fs::File;
use std::io::{self, Read};
use std::process::{Output, Stdio};
use std::thread;
use std::time::Duration;

use crate::testkit::{APP, World, code, json_lines, stderr, tools};

const FULL: &str = "error: cannot write to standard output: No space left on device (os error 28)\n";

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// The end of a pipe that no process reads.
fn closed() -> Stdio {
    let (_, writer) = io::pipe().unwrap();
    writer.into()
}

fn run(world: &World, arguments: &[&str], stdout: Stdio) -> Output {
    world.command(arguments).stdout(stdout).output().unwrap()
}

#[test]
fn any_output_to_a_full_disk_is_an_error_and_to_a_closed_pipe_is_enough() {
    let world = World::with(["ok", "ok"]);
    for command in [
        "--help",
        "help poll",
        "--version",
        "completions bash",
        "man",
        "config show",
        "config check --json",
        "retry 1hour(x2)",
        "get",
        "get --json",
        "status",
        "export",
        "event org.example.myapp",
        "results --json --latest",
        "store check",
        "store check --json",
        "poll org.example.myapp --dry-run --json",
        "disable --all --dry-run",
    ] {
        let arguments: Vec<_> = command.split(' ').collect();
        let output = run(&world, &arguments, closed());
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{command}");
        let output = run(&world, &arguments, full());
        let is_empty = command.starts_with("results");
        let expected = if is_empty { (0, "") } else { (74, FULL) };
        assert_eq!((code(&output), stderr(&output).as_str()), expected, "{command}");
    }
    assert_eq!(code(&world.run(&["export", "/dev/full"])), 74);
}

#[test]
fn a_command_does_its_work_although_its_output_is_lost() {
    let world = World::with(["ok", "ok", "status-500"]);
    for (stdout, expected) in [(closed as fn() -> Stdio, 0), (full, 74)] {
        let done = |arguments: &[&str]| assert_eq!(code(&run(&world, arguments, stdout())), expected, "{arguments:?}");
        let states = |state: &str| json_lines(&world.text(&["get", "--json", "--state", state])).len();
        done(&["disable", "--all", "--yes", "--json"]);
        assert_eq!(states("disabled"), 3);
        done(&["enable", "--all", "--yes", "--json"]);
        assert_eq!(states("disabled"), 0);
        done(&["remove", &world.site(0, "ok").cxn_id, "--json"]);
        assert_eq!(world.export().len(), 2);
        done(&["import", "import.jsonl", "--json"]);
        assert_eq!(world.export().len(), 3);
        done(&["store", "compact", "--json"]);
        // The exit code of a command that has one of its own stays.
        let failing = world.site(2, "status-500").cxn_id;
        assert_eq!(code(&run(&world, &["poll", APP, "--cxn", &failing, "--json"], stdout())), 3);
        assert_eq!(code(&run(&world, &["call", &failing, "System.get", "--json"], stdout())), 3);
        assert_eq!(json_lines(&world.text(&["get", "--json", "--failure", "http"])).len(), 1);
    }
}

#[test]
fn standard_error_that_cannot_be_written_changes_nothing() {
    for stderr in [closed as fn() -> Stdio, full] {
        let world = World::with(["ok", "status-500"]);
        let output = world.command(&["poll", APP, "-vv", "--json", "--metrics", "missing"]).stderr(stderr()).output();
        let output = output.unwrap();
        assert_eq!(
            (code(&output), json_lines(&String::from_utf8(output.stdout).unwrap())[0]["polled"].as_u64()),
            (0, Some(2))
        );
        assert_eq!(code(&world.command(&["get", "--state", "nonsense"]).stderr(stderr()).output().unwrap()), 2);
    }
}

#[test]
fn a_terminal_that_takes_nothing_changes_nothing() {
    if !tools::require("python3") {
        return;
    }
    // Its size is the kernel's, far below what the run writes, and no process reads it.
    let terminal = "import os, pty, subprocess, sys\n\
        stderr = pty.openpty()[1]\n\
        os.set_blocking(stderr, False)\n\
        sys.exit(subprocess.run(sys.argv[1:], stderr=stderr).returncode)";
    let world = World::new();
    world.import(&world.sites(vec!["status-500"; 300]));
    let mut python = world.command_of("python3");
    python.args(["-c", terminal, env!("CARGO_BIN_EXE_cxnpoll"), "poll", APP, "-vv", "--json", "--per-host", "64"]);
    let output = python.env("TERM", "xterm").output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(json_lines(&world.text(&["get", "--json", "--failure", "http"])).len(), 300);
}

#[test]
fn a_pager_holds_no_lock_of_the_store() {
    let world = World::new();
    world.import(&world.sites(vec!["ok"; 900]));
    for arguments in [&["get", "--json"][..], &["export", "/dev/stdout"], &["poll", APP, "--dry-run", "--json"]] {
        let mut listing = world.start(arguments);
        let mut stdout = listing.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 100]).unwrap();
        thread::sleep(Duration::from_millis(500));
        // It needs the store without any other command.
        let output = world.run(&["store", "compact", "--store-wait", "2"]);
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{arguments:?}");
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert!(listing.wait().unwrap().success());
        assert_eq!(rest.lines().count(), 900, "{arguments:?}");
    }
}

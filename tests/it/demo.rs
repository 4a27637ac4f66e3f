//! `demo`: simulated sites, polled by the program itself.

use std::fs;
use std::process::{Child, Command};

use serde_json::{Value, json};

use crate::testkit::{World, code, signal, stderr, stdout, until, wait};

/// A directory for the demo.
///
/// Its temporary files are in `tmp`, and the configuration is broken.
fn world() -> World {
    let world = World::new();
    world.set_config("no configuration");
    fs::create_dir(world.path("tmp")).unwrap();
    world
}

fn demo(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.command(&[&["demo"], arguments].concat());
    command.env("TMPDIR", world.path("tmp"));
    command
}

/// The entries of a directory.
fn entries(world: &World, name: &str) -> Vec<String> {
    let entries = fs::read_dir(world.path(name)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn demo_polls_its_sites_and_leaves_nothing_behind() {
    let world = world();
    let output = demo(&world, &["--sites", "8", "--runs", "2"]).output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    let text = stdout(&output);
    let rows = |name: &str| -> Vec<Vec<String>> {
        let lines = text.lines().filter(|line| line.contains(name));
        let cells =
            |line: &str| line.split("  ").filter(|cell| !cell.is_empty()).map(|cell| cell.trim().into()).collect();
        lines.map(cells).collect()
    };
    let runs = rows("Z ");
    assert_eq!(runs.iter().map(|run| &run[1..4]).collect::<Vec<_>>(), [["8", "4", "4"]; 2], "{text}");
    assert_eq!(rows("API error"), [["return an API error", "1", "2", "retrying", "in 1 h", "api"]], "{text}");
    assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 80), "{text}");
    assert_eq!(entries(&world, "tmp"), [""; 0]);
    assert!(!world.store().exists());
}

#[test]
fn kept_store_can_be_looked_around_in_at_the_present_time() {
    let world = world();
    let output = demo(&world, &["--quiet", "--sites", "8", "--runs", "2", "--keep"]).output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    let dir = stdout(&output);
    let dir = dir.trim_end();
    assert_eq!(entries(&world, "tmp").len(), 1);
    let config = world.path("none.toml");
    fs::write(&config, "").unwrap();
    let run = |arguments: &[&str]| -> Value {
        let global = ["--store", dir, "--config", config.to_str().unwrap(), "--json"];
        world.json(&[arguments, &global].concat())
    };
    let status = &run(&["status"])[0];
    assert_eq!((&status["levels"], &status["dueNow"]), (&json!([0, 4]), &json!(0)), "{status}");

    let shown = demo(&world, &["--sites", "7", "--runs", "1", "--keep", "it's mine"]).output().unwrap();
    let shown = stdout(&shown);
    let commands: Vec<&str> = shown.lines().filter(|line| line.starts_with("  ")).collect();
    assert!(commands[0].starts_with("  cxnpoll --store \"") && commands[0].ends_with("it's mine\" status"), "{shown}");
    assert_eq!(commands.len(), 4);
    for command in &commands[..3] {
        let arguments = command.trim_start().strip_prefix("cxnpoll").unwrap();
        let output = world.run_in_shell("unset CXNPOLL_CONFIG CXNPOLL_STORE", arguments);
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{command}");
        assert!(!stdout(&output).is_empty(), "{command}");
    }
}

#[test]
fn directory_that_is_not_empty_is_refused() {
    let world = world();
    fs::create_dir(world.path("mine")).unwrap();
    fs::write(world.path("mine/letter"), "dear").unwrap();
    let output = demo(&world, &["--keep", "mine"]).output().unwrap();
    assert_eq!((code(&output), stdout(&output).as_str()), (2, ""));
    assert!(stderr(&output).starts_with("error: mine is not empty; nothing was changed\nhint: "), "{output:?}");
    assert_eq!(entries(&world, "mine"), ["letter"]);
}

#[test]
fn hint_about_a_directory_that_cannot_be_made_names_its_option() {
    let output = demo(&world(), &["--keep", "/sys/cxnpoll-demo"]).output().unwrap();
    assert_eq!((code(&output), stdout(&output).as_str()), (74, ""));
    assert!(stderr(&output).starts_with("error: cannot create /sys/cxnpoll-demo: "), "{output:?}");
    assert!(stderr(&output).contains("\nhint: name a directory that you can write with --keep"), "{output:?}");
}

#[test]
fn interrupted_demo_leaves_nothing_behind() {
    let world = world();
    let child: Child = demo(&world, &["--sites", "100"]).spawn().unwrap();
    until("the store has a job", || {
        entries(&world, "tmp").iter().any(|name| world.path("tmp").join(name).join("runs").exists())
    });
    signal(&child, "-INT");
    let (status, text) = wait(child);
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(text.starts_with("Serving 100 simulated sites on 127.0.0.1:") && !text.contains("SITES THAT"), "{text}");
    assert_eq!(entries(&world, "tmp"), [""; 0]);
}

//! How the store reaches the disk.

use std::fs;

use crate::testkit::{APP, World, code, tools};

/// A completed call in a trace: `1234 fsync(5</path>) = 0`. Calls that another thread interrupts take two lines.
fn calls<'a>(trace: &'a str, name: &str) -> Vec<&'a str> {
    let is_call = |line: &&str| {
        line.contains(&format!(" {name}(")) && !line.contains("<unfinished")
            || line.contains(&format!("<... {name} resumed"))
    };
    trace.lines().filter(is_call).collect()
}

#[test]
fn database_is_synced_with_fsync_before_the_command_ends() {
    if !tools::require("strace") {
        return;
    }
    let world = World::with(["ok"; 3]);
    let more: String = (3..600).map(|number| world.site(number, "ok").jsonl() + "\n").collect();
    fs::write(world.path("more.jsonl"), more).unwrap();
    let mut strace = world.command_of("strace");
    strace.args(["-f", "-y", "-o", "trace", "-e", "trace=sync_file_range,fsync,fdatasync,write,pwrite64,exit_group"]);
    let output = strace.args([env!("CARGO_BIN_EXE_cxnpoll"), "import", "more.jsonl"]).output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    let trace = fs::read_to_string(world.path("trace")).unwrap();

    // sled asks for sync_file_range, which promises nothing about the disk. The filter makes it fall back to fsync.
    let ranges = calls(&trace, "sync_file_range");
    assert!(!ranges.is_empty(), "sled did not try: {trace}");
    assert!(ranges.iter().all(|call| call.contains("= -1 ENOSYS")), "{ranges:?}");

    let is_database = |line: &str| line.contains("/store/db-1/db>");
    let lines: Vec<_> = trace.lines().collect();
    let write = lines.iter().rposition(|line| line.contains("write") && is_database(line)).unwrap();
    let sync = lines.iter().rposition(|line| line.contains(" fsync(") && is_database(line)).unwrap();
    let end = lines.iter().position(|line| line.contains("exit_group(")).unwrap();
    assert!(write < sync && sync < end, "write {write}, fsync {sync}, end {end}: {trace}");
    assert!(calls(&trace, "fsync").iter().any(|call| call.ends_with("= 0")), "{trace}");
}

#[test]
fn names_of_new_directories_are_synced() {
    if !tools::require("strace") {
        return;
    }
    let world = World::with(["ok"]);
    let event = format!("app:{APP}:job=default:poll");
    let poll = r#"calls = [{ api = "System.get" }]"#;
    world.append_config(&format!("[[listeners]]\nevent = \"{event}\"\n{poll}\nkeep = true\n"));
    let traced = |arguments: &[&str], dir: &str| {
        let mut strace = world.command_of("strace");
        strace.args(["-f", "-y", "-o", "trace", "-e", "trace=mkdir,fsync", env!("CARGO_BIN_EXE_cxnpoll")]);
        let output = strace.args(arguments).output().unwrap();
        assert_eq!(code(&output), 0, "{output:?}");
        let trace = fs::read_to_string(world.path("trace")).unwrap();
        let created = calls(&trace, "mkdir").into_iter().find(|call| call.contains(&format!("/store/{dir}\"")));
        let lines: Vec<_> = trace.lines().collect();
        let made = lines.iter().position(|line| Some(*line) == created).unwrap();
        let synced = lines[made..].iter().any(|line| line.contains("fsync(") && line.contains("/store>"));
        assert!(synced, "{dir}: {trace}");
    };
    traced(&["store", "backup"], "backups");
    traced(&["store", "restore", "--yes"], "kept");
    traced(&["poll", APP], "results");
}

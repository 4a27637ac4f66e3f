//! Filters, and what is done to the connections that they let through.

mod common;

use std::collections::BTreeSet;

use common::{APP, MIDNIGHT, World, assert_quiet, code, stderr};
use serde_json::{Value, json};

const RETRY: [&str; 2] = ["--retry", "1 hour (x1); 1 day (x1)"];

/// Sites 0 to 5: two are well, one is given up, one fails for the first time, one is deferred, one was never polled.
fn world() -> World {
    let world = World::with(["ok", "ok", "status-500", "ok-first-2", "ok-first-9"]);
    world.import_text(&world.site(4, "retry-after-80000").jsonl());
    for (tick, hours) in [0, 1, 25].into_iter().enumerate() {
        let more = if tick == 0 { vec!["--strict"] } else { vec![] };
        let now = (MIDNIGHT + hours * 3600).to_string();
        world.run(&[&["poll", APP, "--now", &now, "--per-host", "9"], &RETRY[..], &more[..]].concat());
    }
    let mut other: Value = serde_json::from_str(&world.site(5, "ok").jsonl()).unwrap();
    other["appId"] = json!("app:org.example.other");
    other["siteUrl"] = json!("https://new.Example.org/civicrm?q=1");
    world.import_text(&other.to_string());
    world
}

const NOW: &str = "2026-01-02T01:00:10Z";

/// The numbers of the sites that a filter lets through.
fn got(world: &World, filter: &[&str]) -> BTreeSet<u32> {
    let output = world.run(&[&["get", "--json", "--now", NOW], filter].concat());
    assert_eq!(code(&output), 0, "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let number = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["cxnId"].as_str().unwrap()[26..].parse().unwrap()
    };
    lines.lines().map(number).collect()
}

#[test]
fn each_condition_lets_its_connections_through() {
    let world = world();
    for (filter, expected) in [
        (&[][..], &[0, 1, 2, 3, 4, 5][..]),
        (&["--state", "healthy"], &[0, 1]),
        (&["--state", "given-up"], &[2]),
        (&["--state", "retrying"], &[3]),
        (&["--state", "deferred"], &[4]),
        (&["--state", "new"], &[5]),
        (&["--state", "new,given-up"], &[2, 5]),
        (&["--failure", "http"], &[2, 3, 4]),
        (&["--failure", "http", "--state", "retrying,given-up"], &[2, 3]),
        (&["--failure", "tls"], &[]),
        (&["--app", "org.example.other"], &[5]),
        (&["--app", APP, "--url", "*/OK"], &[0, 1]),
        (&["--url", "*status-5*"], &[2]),
        (&["--url", "https://new.example.org/civicrm?q=*"], &[5]),
        (&["--host", "127.0.0.1"], &[0, 1, 2, 3, 4]),
        (&["--host", "*.EXAMPLE.org"], &[5]),
        (&["--host", "example.org"], &[]),
        (&["--older-than", "5 sec"], &[0, 1, 2, 3, 4]),
        (&["--older-than", "1 hour"], &[]),
        (&["--name", "default", "--state", "new"], &[]),
    ] {
        assert_eq!(got(&world, filter), expected.iter().copied().collect(), "{filter:?}");
    }
    let [well, bad] = [world.site(0, "ok").cxn_id, world.site(2, "ok").cxn_id];
    assert_eq!(got(&world, &[&well, &bad, "--state", "healthy"]), [0].into());
    let table = String::from_utf8(world.run(&["get", "--state", "given-up", "--now", NOW]).stdout).unwrap();
    assert!(table.lines().count() == 2 && table.trim_end().ends_with("given-up"), "{table}");
}

#[test]
fn a_mistyped_condition_is_told_with_what_there_is() {
    let world = world();
    for (filter, told) in [
        (&["--state", "given-op"][..], "did you mean given-up?"),
        (&["--failure", "timeuot"], "did you mean timeout?"),
        (&["--older-than", "old"], "expected a time such as '90 day'"),
        (&["--older-than", "1 day; 2 day"], "expected a time such as '90 day'"),
    ] {
        let output = world.run(&[&["get"], filter].concat());
        assert_eq!(code(&output), 2, "{output:?}");
        assert!(stderr(&output).contains(told), "{output:?}");
    }
    assert_eq!(code(&world.run(&["get", "--app", "org.example.nobody"])), 66);
    assert_eq!(code(&world.run(&["disable", "cxn:nobody"])), 66);
    assert_eq!(code(&world.run(&["get", "--name", "defualt"])), 66);
}

#[test]
fn more_than_one_needs_to_be_meant() {
    let world = world();
    let before = world.export();
    for (command, told) in [
        (&["remove"][..], "which connections shall be removed?"),
        (&["remove", "--app", APP], "5 connections would be removed"),
        (&["remove", "--app", APP, "--all"], "needs --all and --yes"),
        (&["disable", "--app", APP, "--yes"], "needs --all and --yes"),
        (&["revive", "--all"], "6 connections would be revived"),
    ] {
        let output = world.run(command);
        assert_eq!(code(&output), 2, "{output:?}");
        assert!(stderr(&output).contains(told), "{output:?}");
    }
    let listed = world.run(&["remove", "--all", "--yes", "--dry-run"]);
    assert_eq!(String::from_utf8(listed.stdout).unwrap().lines().count(), 6);
    let listed = world.run(&["remove", "--state", "given-up", "--dry-run", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["cxnId"], world.site(2, "ok").cxn_id);
    let twice = world.site(1, "ok").cxn_id;
    assert_eq!(world.json(&["enable", &twice, &twice, "--json"]), json!({"matched": 1, "changed": 0}));
    let status = String::from_utf8(world.run(&["status"]).stdout).unwrap();
    assert!(status.ends_with("No job of org.example.other has run yet.\n"), "{status}");
    assert_eq!(world.export(), before);
    // One is meant by its name, none is no mistake.
    assert_quiet(&world.run(&["disable", &world.site(0, "ok").cxn_id]));
    assert_quiet(&world.run(&["remove", "--state", "given-up", "--older-than", "9 year"]));
}

#[test]
fn revived_disabled_enabled_and_removed() {
    let world = world();
    let act = |command: &[&str]| {
        let done = world.json(&[command, &["--json", "--all", "--yes"]].concat());
        (done["matched"].as_u64().unwrap(), done["changed"].as_u64().unwrap())
    };
    assert_eq!(act(&["revive", "--state", "given-up"]), (1, 1));
    assert_eq!(got(&world, &["--state", "new"]), [2, 5].into());
    assert_eq!(act(&["disable", "--host", "127.0.0.1"]), (5, 5));
    assert_eq!(act(&["disable", "--host", "127.0.0.1"]), (5, 0));
    assert_eq!(got(&world, &["--state", "disabled"]), [0, 1, 2, 3, 4].into());
    assert_eq!(world.poll(MIDNIGHT + 90 * 86_400, &[])["due"], 0);
    world.assert_sound();
    assert_eq!(act(&["enable", "--state", "disabled"]), (5, 5));
    assert_eq!(world.poll(MIDNIGHT + 90 * 86_400, &[])["due"], 5);
    assert_eq!(act(&["remove", "--app", APP]), (5, 5));
    assert_eq!(got(&world, &[]), [5].into());
    assert_eq!(act(&["remove"]), (1, 1));
    assert_eq!(world.export(), [""; 0]);
    world.assert_sound();
}

#[test]
fn a_removed_connection_leaves_no_results() {
    let world = World::with(["ok", "ok"]);
    let config = world.folder.path().join("cxnpoll.toml");
    let listener = "[[listeners]]\nevent = \"civi_cxn.poll\"\nkeep = true\ncalls = [{ api = \"System.get\" }]\n";
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + listener).unwrap();
    world.poll(MIDNIGHT, &[]);
    let results = || String::from_utf8(world.run(&["results", "--latest", "--json"]).stdout).unwrap().lines().count();
    assert_eq!(results(), 2);
    assert_quiet(&world.run(&["remove", &world.site(0, "ok").cxn_id]));
    assert_eq!(results(), 1);
}

/// Runs a command at a terminal, as `script` makes one, and types an answer.
fn at_a_terminal(world: &World, command: &[&str], answer: &str) -> Option<String> {
    let words = [&[env!("CARGO_BIN_EXE_cxnpoll")], command].concat().join(" ");
    let mut shell = world.command(&[]);
    let environment: Vec<_> =
        shell.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    shell = std::process::Command::new("script");
    shell.args(["-qefc", &words, "/dev/null"]).env_clear().envs(environment).env("TERM", "xterm");
    shell.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let Ok(mut child) = shell.spawn() else {
        eprintln!("skipped: there is no `script` (Debian's package bsdutils)");
        return None;
    };
    // Who types too early is not heard.
    std::thread::sleep(std::time::Duration::from_millis(500));
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), answer.as_bytes()).unwrap();
    Some(String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned())
}

#[test]
fn at_a_terminal_one_is_shown_what_it_is_about_and_asked() {
    let world = World::with(["ok"; 13]);
    let Some(told) = at_a_terminal(&world, &["remove", "--app", APP], "n\n") else { return };
    assert!(told.contains("… and 3 more") && told.contains("Remove 13 connections? [y/N]"), "{told}");
    assert!(told.contains("Nothing was changed.") && told.matches("/site/").count() == 10, "{told}");
    assert_eq!(world.export().len(), 13);
    let id = world.site(0, "ok").cxn_id;
    assert!(at_a_terminal(&world, &["remove", &id], "y\n").unwrap().contains("1 of 1 connection removed"));
    assert!(at_a_terminal(&world, &["disable", "--all"], "yes\n").unwrap().contains("12 of 12 connections disabled"));
    assert!(at_a_terminal(&world, &["remove", "--state", "disabled", "--yes"], "").unwrap().contains("12 of 12"));
    assert!(world.export().is_empty());
}

#[test]
fn an_export_shows_no_secret_at_a_terminal() {
    let world = World::with(["ok"]);
    let secret = world.site(0, "ok").secret_base64;
    let Some(told) = at_a_terminal(&world, &["export"], "") else { return };
    assert!(told.contains("which a terminal should not show") && !told.contains(&secret[..8]), "{told}");
    assert!(!at_a_terminal(&world, &["export", "--redact"], "").unwrap().contains(&secret[..8]));
    assert!(at_a_terminal(&world, &["export", "--with-secrets"], "").unwrap().contains(&secret));
}

#[test]
fn a_run_at_a_terminal_shows_who_is_slow() {
    let world = World::with(["ok", "status-500", "hang"]);
    let Some(told) = at_a_terminal(&world, &["poll", APP, "--timeout", "5"], "") else { return };
    assert!(told.contains("2/3 polled") && told.contains("1 ok, 1 http"), "{told}");
    assert!(told.contains("waiting 3 s for 127.0.0.1") && told.contains("3 due, 3 polled, 1 ok, 2 failed"), "{told}");
}

//! What commands do differently at a terminal.

use std::io::{Read, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::testkit::{APP, World, json_lines, tools};

/// Runs a command at a terminal, which `script` provides; types an answer once the command asks.
fn at_terminal(world: &World, command: &[&str], answer: Option<&str>) -> String {
    let words = [&[env!("CARGO_BIN_EXE_cxnpoll")], command].concat().join(" ");
    let mut script = world.command_of("script");
    script.args(["-qefc", &words, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::piped());
    let mut child = script.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut seen = Vec::new();
    if let Some(answer) = answer {
        let mut byte = [0];
        while !seen.ends_with(b"[y/N]") {
            assert_eq!(output.read(&mut byte).unwrap(), 1, "no question: {}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
        writeln!(input, "{answer}").unwrap();
    }
    output.read_to_end(&mut seen).unwrap();
    child.wait().unwrap();
    String::from_utf8_lossy(&seen).into_owned()
}

#[test]
fn removal_at_a_terminal_lists_and_asks() {
    if !tools::require("script") {
        return;
    }
    let world = World::with(["ok"; 13]);
    let text = at_terminal(&world, &["remove", "--app", APP], Some("n"));
    assert!(text.contains("… and 3 more") && text.contains("Remove 13 connections? [y/N]"), "{text}");
    assert!(text.contains("Nothing was changed.") && text.matches("/site/").count() == 10, "{text}");
    assert_eq!(world.export().len(), 13);
    let id = world.site(0, "ok").cxn_id;
    assert!(at_terminal(&world, &["remove", &id], Some("y")).contains("1 of 1 connection removed"));
    assert!(at_terminal(&world, &["disable", "--all"], Some("yes")).contains("12 of 12 connections disabled"));
    assert!(at_terminal(&world, &["remove", "--state", "disabled", "--yes"], None).contains("12 of 12"));
    assert!(world.export().is_empty());
}

#[test]
fn export_shows_no_secret_at_a_terminal() {
    if !tools::require("script") {
        return;
    }
    let world = World::with(["ok"]);
    let secret = world.site(0, "ok").secret_base64;
    let text = at_terminal(&world, &["export"], None);
    assert!(text.contains("which a terminal should not show") && !text.contains(&secret[..8]), "{text}");
    assert!(!at_terminal(&world, &["export", "--redact"], None).contains(&secret[..8]));
    assert!(at_terminal(&world, &["export", "--with-secrets"], None).contains(&secret));
}

#[test]
fn json_at_a_terminal_escapes_what_it_would_hide() {
    if !tools::require("script") {
        return;
    }
    let world = World::with(["ok"]);
    let mut line: Value = serde_json::from_str(&world.site(0, "ok").jsonl()).unwrap();
    line["perm"] = json!("\u{9b}31m\u{202e}");
    world.import_text(&line.to_string());
    let text = at_terminal(&world, &["get", "--json"], None);
    assert!(text.contains(r#""perm":"\u009b31m\u202e""#), "{text:?}");
    assert_eq!(json_lines(&world.text(&["get", "--json"]))[0]["perm"], line["perm"]);
}

#[test]
fn progress_at_a_terminal_names_the_slow_host() {
    if !tools::require("script") {
        return;
    }
    let world = World::with(["ok", "status-500", "hang"]);
    let text = at_terminal(&world, &["--color", "never", "poll", APP, "--timeout", "5"], None);
    assert!(text.contains("2/3 polled") && text.contains("1 ok, 1 http"), "{text}");
    assert!(text.contains("waiting 3 s for 127.0.0.1"), "{text}");
    assert!(text.contains("1 ok, 1 http, 3 at a time"), "{text}");
    assert!(text.contains("3 due, 3 polled, 1 ok, 2 failed"), "{text}");
    assert!(text.contains(" s, 3 at a time"), "{text}");
}

//! What commands do differently at a terminal.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::testkit::{APP, MIDNIGHT, World, json_lines, tools};

/// Runs a command at a terminal, which `script` provides; types an answer once the command asks.
fn at_terminal(world: &World, command: &[&str], answer: Option<&str>) -> String {
    let words = [&[env!("CARGO_BIN_EXE_cxnpoll")], command].concat().join(" ");
    in_terminal(world, &words, answer)
}

/// The same for a command of the shell.
fn in_terminal(world: &World, words: &str, answer: Option<&str>) -> String {
    let mut script = world.command_of("script");
    script.args(["-qefc", words, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::piped());
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
fn run_at_a_terminal_asks_before_its_expression_gives_up_sites() {
    if !tools::require("script") {
        return;
    }
    let world = World::with(["status-500"; 3]);
    let long = "1 hour (x1); 1 hour (x9)";
    world.poll(MIDNIGHT, &["--retry", long]);
    let retry = || world.json(&["status", "--json"])[0]["retry"].clone();
    let run = |more: &str, answer: Option<&str>| {
        at_terminal(&world, &["poll", APP, "--color=never", "--per-host=9", "--retry", "'1 hour (x1)'", more], answer)
    };
    let (polls, question) =
        (world.server.total(), format!("gives up 3 sites; the last run's was '{long}'.\r\nGo on? [y/N]"));
    let text = run("", Some("n"));
    assert!(text.contains(&question) && text.contains("Nothing was changed."), "{text}");
    let text = run("--no-interaction", None);
    assert!(text.contains("refusing to give up 3 sites without asking") && text.contains("--yes"), "{text}");
    assert_eq!((retry(), world.server.total()), (long.into(), polls), "nothing was stored or polled");
    let text = run("", Some("y"));
    assert!(text.contains(&question) && text.contains("0 due"), "{text}");
    assert_eq!(retry(), "1 hour (x1)");
    // The same expression is not asked about again, nor is another one with --yes.
    assert!(!run("", None).contains("[y/N]"));
    let text = at_terminal(&world, &["poll", APP, "--color=never", "--per-host=9", "-y"], None);
    assert!(text.contains("brings back 3 sites") && text.contains("3 polled") && !text.contains("[y/N]"), "{text}");
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

#[test]
fn lists_fit_terminals_of_any_width_and_break_no_word() {
    if !tools::require("script") {
        return;
    }
    let world = World::with(["ok", "status-500", "retry-after-7200", "status-410"]);
    world.append_config("[[listeners]]\nevent = \"civi_cxn.poll\"\nkeep = true\ncalls = [{ api = \"System.get\" }]\n");
    for hour in [0, 2, 4] {
        world.poll(MIDNIGHT + hour * 3_600, &["--retry", "1 hour (x9); 1 day (x2)"]);
    }
    world.import_text(&world.site(9, "ok").jsonl().replace(APP, "org.example.other"));
    let now = (MIDNIGHT + 90_000).to_string();
    let failing = world.site(1, "status-500").cxn_id;
    for columns in [40, 60, 80, 100, 200] {
        for command in
            [&["status"][..], &["plan"], &["get"], &["get", "--columns", "site,message"], &["explain", &failing]]
        {
            let words =
                [&[env!("CARGO_BIN_EXE_cxnpoll")], command, &["--now", &now, "--color", "never"]].concat().join(" ");
            let text = in_terminal(&world, &format!("stty cols {columns}; {words}"), None);
            let fits = |line: &str| line.chars().count() <= columns || line.split_whitespace().count() == 1;
            assert!(text.lines().all(|line| fits(line.trim_end())), "{columns} {command:?}:\n{text}");
            // No word is broken: the same words come as in a pipe, unless they are shortened.
            let piped = world.text(&[command, &["--now", &now]].concat());
            let known: BTreeSet<_> = piped.split_whitespace().collect();
            // A bar is no word.
            let words = text.split_whitespace().filter(|word| word.contains(char::is_alphanumeric));
            let unknown: Vec<_> = words.filter(|word| !known.contains(word)).collect();
            assert!(unknown.iter().all(|word| word.ends_with('…')), "{columns} {command:?}: {unknown:?}\n{text}");
        }
    }
    let shown = |columns: u32| {
        in_terminal(&world, &format!("stty cols {columns}; {} get", env!("CARGO_BIN_EXE_cxnpoll")), None)
    };
    assert_eq!((shown(80).lines().count(), shown(120).lines().count()), (12, 6), "{}{}", shown(80), shown(120));
}

#[test]
fn demo_breaks_its_sentences_between_words() {
    if !tools::require("script") {
        return;
    }
    let demo = format!("stty cols 50; {} demo --sites 2 --runs 1 2>/dev/null", env!("CARGO_BIN_EXE_cxnpoll"));
    let text = in_terminal(&World::new(), &demo, None);
    assert!(
        text.lines().all(|line| line.chars().count() <= 50) && text.contains(" of a\r\n  simulated clock,"),
        "{text}"
    );
}

#[test]
fn status_has_colors_at_a_terminal_only() {
    if !tools::require("script") {
        return;
    }
    let world = World::with(["ok", "status-500"]);
    world.poll(MIDNIGHT, &[]);
    let [green, yellow] = ["\u{1b}[32m1 healthy,\u{1b}[0m", "\u{1b}[33m"];
    let colored = at_terminal(&world, &["status"], None);
    assert!(colored.contains(green) && colored.contains(yellow), "{colored:?}");
    assert!(world.text(&["status", "--color", "always"]).contains(green));
    assert!(!at_terminal(&world, &["status", "--color", "never"], None).contains('\u{1b}'));
    assert!(!world.text(&["status"]).contains('\u{1b}'));
}

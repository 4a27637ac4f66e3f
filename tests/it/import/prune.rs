//! `import --prune`.

use serde_json::{Value, json};

use crate::testkit::{APP, World, assert_quiet, code, stderr, stdout};

#[test]
fn prune_needs_the_same_confirmation_as_remove() {
    let world = World::with(["ok"; 5]);
    let mut other: Value = serde_json::from_str(&world.site(9, "ok").jsonl()).unwrap();
    other["appId"] = json!("app:org.example.other");
    world.import_text(&other.to_string());
    let lines = |numbers: std::ops::Range<u32>| -> String {
        numbers.map(|number| world.site(number, "ok").jsonl() + "\n").collect()
    };
    let refused = |input: &str, more: &[&str], exit: i32, expected: &str| {
        let before = world.export();
        let output = world.run_with_input(&[&["import", "--prune"], more].concat(), input);
        assert_eq!(code(&output), exit, "{output:?}");
        assert!(stderr(&output).contains(expected), "{output:?}");
        assert_eq!(world.export(), before);
    };
    refused(&lines(0..3), &[], 2, "refusing to remove 2 connections");
    refused("", &["--yes"], 65, "standard input has no connections");
    refused(&(lines(0..1) + "{}"), &["--yes", "--on-error", "skip"], 65, "nothing was pruned");
    // Removing one needs no confirmation, and connections of other apps stay.
    assert_quiet(&world.run_with_input(&["import", "--prune"], &lines(0..4)));
    assert_eq!(world.export().len(), 5);
    let dry_run = world.run_with_input(&["import", "--prune", "--dry-run"], &lines(0..1));
    let text = stdout(&dry_run);
    assert!(text.ends_with("would be: 0 added, 0 updated, 1 unchanged, 3 removed\n"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("remove  cxn:")).count(), 3, "{text}");
    assert_quiet(&world.run_with_input(&["import", "--prune", "--yes"], &lines(0..1)));
    assert_eq!(world.export().len(), 2);
    world.assert_sound();
}

#[test]
fn prune_over_its_limit_changes_nothing() {
    let world = World::with(["ok"; 12]);
    let before = world.export();
    let input = format!("{}\n{}\n", world.site(0, "ok").jsonl(), world.site(20, "ok").jsonl());
    for more in [&["--yes"][..], &["--dry-run"], &["--yes", "--prune-at-most", "91%", "--app", APP]] {
        let output = world.run_with_input(&[&["import", "--prune"], more].concat(), &input);
        assert_eq!(code(&output), 65, "{output:?}");
        let message = stderr(&output);
        assert!(message.contains("app:org.example.myapp: 11 of 12 connections"), "{message}");
        assert!(message.ends_with("--prune-at-most 11\n"), "{message}");
        assert_eq!(world.export(), before);
    }
    assert_quiet(&world.run_with_input(&["import", "--prune", "--yes", "--prune-at-most", "92%"], &input));
    assert_eq!(world.export().len(), 2);
}

#[test]
fn prune_of_an_app_that_is_not_known_is_refused() {
    let world = World::with(["ok"; 2]);
    let input = world.site(0, "ok").jsonl();
    let import = |app: &str, more: &[&str]| {
        world.run_with_input(&[&["import", "--prune", "--yes", "--app", app], more].concat(), &input)
    };
    let output = import("org.example.myap", &[]);
    assert_eq!(code(&output), 66, "{output:?}");
    assert!(stderr(&output).contains("did you mean org.example.myapp?"), "{output:?}");
    assert_eq!(world.export().len(), 2);
    // Before the first import, an app of the input is known.
    let there = world.path("there");
    let there = ["--store", there.to_str().unwrap()];
    assert_eq!(code(&import("org.example.other", &there)), 66);
    assert_quiet(&import(APP, &there));
}

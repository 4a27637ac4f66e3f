//! `import --prune`.

use serde_json::{Value, json};

use crate::testkit::{World, assert_quiet, code, stderr, stdout};

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
    refused("", &["--yes"], 65, "the input has no connections");
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

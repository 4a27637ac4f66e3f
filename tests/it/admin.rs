//! `revive`, `disable`, `enable` and `remove`.

use serde_json::{Value, json};

use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, samples, stderr, stdout};

#[test]
fn changing_several_connections_needs_all_and_yes() {
    let world = samples::every_state();
    let before = world.export();
    for (command, expected) in [
        (&["remove"][..], "no connections selected to remove"),
        (&["remove", "--app", APP], "refusing to remove 5 connections"),
        (&["remove", "--app", APP, "--all"], "confirm with --all and --yes"),
        (&["disable", "--app", APP, "--yes"], "confirm with --all and --yes"),
        (&["revive", "--all"], "refusing to revive 6 connections"),
    ] {
        let output = world.run(command);
        assert_eq!(code(&output), 2, "{output:?}");
        assert!(stderr(&output).contains(expected), "{output:?}");
    }
    let listed = world.run(&["remove", "--all", "--yes", "--dry-run"]);
    assert_eq!(stdout(&listed).lines().count(), 6);
    let listed = world.run(&["remove", "--state", "given-up", "--dry-run", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["cxnId"], world.site(2, "ok").cxn_id);
    let twice = world.site(1, "ok").cxn_id;
    assert_eq!(world.json(&["enable", &twice, &twice, "--json"]), json!({"matched": 1, "changed": 0}));
    let status = world.text(&["status"]);
    assert!(status.ends_with("org.example.other\n  Sites     1 connection, and no job has run\n  Next      cxnpoll poll org.example.other\n"), "{status}");
    assert_eq!(world.export(), before);
    // A named connection needs no confirmation, and selecting none is no mistake.
    assert_quiet(&world.run(&["disable", &world.site(0, "ok").cxn_id]));
    assert_quiet(&world.run(&["remove", "--state", "given-up", "--older-than", "9 year"]));
}

#[test]
fn revive_disable_enable_and_remove_change_what_they_select() {
    let world = samples::every_state();
    let run = |command: &[&str]| {
        let done = world.json(&[command, &["--json", "--all", "--yes"]].concat());
        (done["matched"].as_u64().unwrap(), done["changed"].as_u64().unwrap())
    };
    assert_eq!(run(&["revive", "--state", "given-up"]), (1, 1));
    assert_eq!(samples::selected(&world, &["--state", "new"]), [2, 5].into());
    assert_eq!(run(&["disable", "--host", "127.0.0.1"]), (5, 5));
    assert_eq!(run(&["disable", "--host", "127.0.0.1"]), (5, 0));
    assert_eq!(samples::selected(&world, &["--state", "disabled"]), [0, 1, 2, 3, 4].into());
    assert_eq!(world.poll(MIDNIGHT + 90 * 86_400, &[])["due"], 0);
    world.assert_sound();
    assert_eq!(run(&["enable", "--state", "disabled"]), (5, 5));
    assert_eq!(world.poll(MIDNIGHT + 90 * 86_400, &[])["due"], 5);
    assert_eq!(run(&["remove", "--app", APP]), (5, 5));
    assert_eq!(samples::selected(&world, &[]), [5].into());
    assert_eq!(run(&["remove"]), (1, 1));
    assert_eq!(world.export(), [""; 0]);
    world.assert_sound();
}

#[test]
fn removed_connection_leaves_no_results() {
    let world = World::with(["ok", "ok"]);
    let listener = "[[listeners]]\nevent = \"civi_cxn.poll\"\nkeep = true\ncalls = [{ api = \"System.get\" }]\n";
    world.append_config(listener);
    world.poll(MIDNIGHT, &[]);
    let results = || world.text(&["results", "--latest", "--json"]).lines().count();
    assert_eq!(results(), 2);
    assert_quiet(&world.run(&["remove", &world.site(0, "ok").cxn_id]));
    assert_eq!(results(), 1);
}

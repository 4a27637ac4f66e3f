//! What users change is in history.

use std::path::Path;
use std::time::Duration;

use cxnpoll::store::{AdminEntry, Entry, Store};
use serde_json::{Value, json};

use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, stdout};

/// Returns the actions of users in the history of a store, in order.
fn actions(store: &Path) -> Vec<AdminEntry> {
    let history = Store::open(store, Duration::from_secs(10)).unwrap().history();
    let mut actions = Vec::new();
    history
        .scan(0, |frame| {
            actions.extend(frame.entries.into_iter().filter_map(|entry| match entry {
                Entry::Admin(action) => Some(action),
                _ => None,
            }));
            Ok::<_, cxnpoll::store::Error>(())
        })
        .unwrap();
    actions
}

/// Returns what a command adds to history: actions, their details, and the numbers of the connections.
fn added(world: &World, command: &[&str]) -> Vec<(String, String, Vec<u32>)> {
    let before = if world.store().exists() { actions(&world.store()).len() } else { 0 };
    let output = world.run(command);
    assert!([0, 65].contains(&code(&output)), "{output:?}");
    let number = |cxn: &String| cxn[26..].parse().unwrap();
    let described = |action: AdminEntry| {
        let mut cxns: Vec<_> = action.cxns.iter().map(number).collect();
        cxns.sort_unstable();
        (action.action, action.detail, cxns)
    };
    actions(&world.store()).into_iter().skip(before).map(described).collect()
}

fn action(name: &str, detail: &str, cxns: &[u32]) -> (String, String, Vec<u32>) {
    (name.to_owned(), detail.to_owned(), cxns.to_vec())
}

#[test]
fn each_change_of_connections_is_in_history_and_nothing_else() {
    let world = World::new();
    let sites = world.sites(["status-500", "ok", "ok"]);
    let import = |lines: &[Value], more: &[&str]| {
        let text: Vec<_> = lines.iter().map(Value::to_string).collect();
        std::fs::write(world.path("import.jsonl"), text.join("\n")).unwrap();
        added(&world, &[&["import", "import.jsonl"], more].concat())
    };
    let mut lines: Vec<Value> = sites.iter().map(|site| serde_json::from_str(&site.jsonl()).unwrap()).collect();
    assert_eq!(import(&lines[..2], &[]), [action("import-add", "jsonl", &[0, 1])]);
    lines[1]["disabled"] = json!(true);
    assert_eq!(import(&lines, &["--dry-run"]), []);
    assert_eq!(import(&lines, &[]), [action("import-add", "jsonl", &[2]), action("import-update", "jsonl", &[1])]);
    assert_eq!(import(&lines, &[]), []);
    lines[2]["appId"] = json!("app:org.example.other");
    assert_eq!(import(&lines, &[]), [action("remove", "jsonl", &[2]), action("import-add", "jsonl", &[2])]);
    world.poll(MIDNIGHT, &["--retry", "1 hour (x1)"]);

    let all = |command| added(&world, &[command, "--all", "--yes"]);
    assert_eq!(added(&world, &["disable", "--all", "--dry-run"]), []);
    assert_eq!(all("disable"), [action("disable", "", &[0, 2])]);
    assert_eq!(all("disable"), []);
    assert_eq!(all("enable"), [action("enable", "", &[0, 1, 2])]);
    assert_eq!(all("revive"), [action("revive", "", &[0])], "only one was polled");
    assert_eq!(all("revive"), []);
    assert_eq!(added(&world, &["remove", &sites[1].cxn_id]), [action("remove", "", &[1])]);
    assert_eq!(
        import(&lines[1..2], &["--prune", "--yes"]),
        [action("import-add", "jsonl", &[1]), action("remove", "pruned, jsonl", &[0]),]
    );
    assert_eq!(added(&world, &["store", "compact"]), [action("compact", "", &[])]);
    assert_quiet(&world.run(&["store", "restore", "--yes"]));
    let restored = actions(&world.store()).pop().unwrap();
    assert!(restored.action == "restore" && restored.detail.ends_with(".jsonl.gz"), "{restored:?}");
    assert_eq!(added(&world, &["store", "check", "--repair"]), []);
    for command in ["status", "get", "doctor", "export"] {
        world.run(&[command]);
    }
    assert_eq!(added(&world, &["store", "backup"]), []);
    world.assert_sound();
}

#[test]
fn explain_shows_the_last_actions_with_their_user() {
    let world = World::with(["ok", "ok"]);
    let site = world.site(0, "ok");
    for command in ["disable", "enable", "disable", "enable", "disable", "enable"] {
        let mut command = world.command(&[command, &site.cxn_id, "--store-wait", "5"]);
        let output = command.env("SUDO_USER", "jo\u{1b}[31m").env("SUDO_UID", "54321").output().unwrap();
        assert_quiet(&output);
    }
    let shown = world.explain(&site, MIDNIGHT)["adminActions"].clone();
    let actions: Vec<_> = shown.as_array().unwrap().iter().map(|action| action["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["import-add", "disable", "enable", "disable", "enable", "disable", "enable"]);
    let user = shown[6]["user"].as_str().unwrap();
    assert!(user.ends_with(" (sudo: jo [31m)") && !user.starts_with(' '), "{user}");
    assert_eq!((&shown[0]["detail"], &shown[6]["detail"]), (&json!("jsonl"), &json!("")));
    let text = world.text(&["explain", &site.cxn_id]);
    let lines: Vec<_> = text.lines().skip_while(|line| *line != "Last changes by users:").collect();
    assert!(lines.len() == 8 && lines[1].contains("  enable  ") && lines[7].ends_with("  jsonl"), "{text}");
    for _ in 0..3 {
        assert_quiet(&world.run(&["disable", &site.cxn_id]));
        assert_quiet(&world.run(&["enable", &site.cxn_id]));
    }
    assert_eq!(world.explain(&site, MIDNIGHT)["adminActions"].as_array().unwrap().len(), 10);
    assert_eq!(world.explain(&world.site(1, "ok"), MIDNIGHT)["adminActions"].as_array().unwrap().len(), 1);
}

#[test]
fn a_removal_of_many_is_in_history_in_batches() {
    let world = World::new();
    world.import(&world.sites(vec!["ok"; 600]));
    assert_quiet(&world.run(&["remove", "--app", APP, "--all", "--yes"]));
    let removed: Vec<_> = actions(&world.store()).into_iter().filter(|action| action.action == "remove").collect();
    assert_eq!(removed.iter().map(|action| action.cxns.len()).collect::<Vec<_>>(), [256, 256, 88]);
    assert_eq!(stdout(&world.run(&["get", "--json"])), "");
}

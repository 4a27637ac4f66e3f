//! Every example of the documentation.

use std::fs;

use civisite::Site;
use serde_json::{Value, json};

use super::{configure, latest, program, script};
use crate::testkit::{APP, MIDNIGHT, World, code, tools};

/// The page that documents listeners.
const PAGE: &str = include_str!("../../../docs/listeners.md");

/// The commented sample of a configuration.
const SAMPLE: &str = include_str!("../../../docs/cxnpoll.toml");

/// Returns the first code block of the page in a language that holds a text.
fn example(language: &str, with: &str) -> &'static str {
    let fence = format!("```{language}\n");
    let blocks = PAGE.split(&*fence).skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).find(|block| block.contains(with)).unwrap()
}

#[test]
fn python_example_serves_event_after_event() {
    let world = World::with(["ok", "ok", "ok", "ok", "api-error", "status-500"]);
    fs::write(world.path("listener.py"), example("python", "def poll")).unwrap();
    configure(&world, &program(&format!("app:{APP}:job=default:poll"), &["python3", "listener.py"], "reuse = true"));
    let summary = world.poll(MIDNIGHT, &["--threads", "2"]);
    assert_eq!((&summary["ok"], &summary["failures"]), (&json!(4), &json!({"listener": 1, "http": 1})));
    let kept = latest(&world);
    assert_eq!(kept.len(), 4);
    assert!(kept.iter().all(|one| one["value"]["version"] == "5.75.0" && one["class"] == "ok"), "{kept:?}");
}

#[test]
fn shell_example_works_with_and_without_reuse() {
    let world = World::with(["ok", "ok", "api-error", "close"]);
    script(&world, example("sh", "while read"), "reuse = true");
    let summary = world.poll(MIDNIGHT, &["--threads", "1"]);
    assert_eq!((&summary["ok"], &summary["failures"]), (&json!(2), &json!({"listener": 1, "disconnected": 1})));
    assert_eq!(latest(&world)[0]["value"], json!({"version": 5}));
    // Without reuse it is started for each event.
    script(&world, example("sh", "while read"), "");
    assert_eq!(world.poll(MIDNIGHT + 86_400, &["--threads", "1"])["ok"], 2);
}

#[test]
fn php_example_works() {
    if !tools::require("php") {
        return;
    }
    let world = World::with(["ok", "ok", "api-error"]);
    fs::write(world.path("listener.php"), example("php", "function poll")).unwrap();
    configure(&world, &program("civi_cxn.poll", &["php", "listener.php"], "reuse = true"));
    let summary = world.poll(MIDNIGHT, &[]);
    assert_eq!((&summary["ok"], &summary["failures"]), (&json!(2), &json!({"listener": 1})));
}

#[test]
fn toml_examples_are_valid() {
    let world = World::with(["ok"]);
    for block in PAGE.split("```toml\n").skip(1).map(|block| block.split("```").next().unwrap()) {
        configure(&world, &block.replace("allow-net = [\"127.0.0.0/8\"]\n", ""));
        assert_eq!(code(&world.run(&["status"])), 0, "{block}");
    }
    configure(&world, example("toml", "Contact.getcount"));
    assert_eq!(world.poll(MIDNIGHT, &[])["ok"], 1);
    let kept = &latest(&world)[0]["value"];
    assert_eq!(kept["System.get"]["values"][0]["version"], "5.75.0");
    assert_eq!(kept["Contact.getcount"]["values"][0]["params"], json!({"is_deleted": 0, "version": 3}));
}

#[test]
fn sample_configuration_runs_two_jobs() {
    let world = World::new();
    let sites = ["profile", "cron"].into_iter().zip(world.sites(["ok", "ok"]));
    let sites: Vec<Site> = sites.map(|(app, site)| Site { app_id: format!("app:org.civicrm.{app}"), ..site }).collect();
    world.config();
    world.set_config(&SAMPLE.replace("# allow-net = [\"10.0.0.0/8\"]", "allow-net = [\"127.0.0.0/8\"]"));
    world.import(&sites);
    world.server.record_calls();
    for app in ["profile", "cron"] {
        let output = world.run(&["poll", &format!("org.civicrm.{app}"), "--json"]);
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((code(&output), &summary["ok"]), (0, &json!(1)), "{output:?}");
    }
    let kept = latest(&world);
    assert_eq!(kept.len(), 1);
    assert!(kept[0]["value"]["Setting.get"]["values"].is_object(), "{kept:?}");
    let call = world.server.last_call(1).unwrap();
    assert_eq!((&*call.entity, &*call.action), ("Job", "execute"));
}

#[test]
fn rust_example_matches_the_page_and_polls() {
    let example = example("rust", "App::new");
    assert!(include_str!("../../../fixtures/listener.rs").ends_with(example));
    let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/listener");
    assert!(program.exists(), "`cargo build --example listener` makes {}", program.display());
    let world = World::with(["ok", "ok", "api-error"]);
    let output = world.command_of(program).args(["poll", APP, "--json"]).output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["ok"], &summary["failures"]), (&json!(2), &json!({"api": 1})));
    assert_eq!(latest(&world)[0]["value"], json!({"version": "5.75.0"}));
}

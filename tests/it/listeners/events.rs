//! Events: their order, and what a listener makes of a poll.

use std::fs;

use serde_json::{Value, json};

use super::{configure, program};
use crate::testkit::{APP, MIDNIGHT, World, code, json_lines, stderr};

#[test]
fn listeners_are_called_in_order_and_can_stop_the_event() {
    let world = World::with(["ok"]);
    let listener = |event: &str, word: &str, more: &str, end: &str| {
        let line = format!("echo {word} >> order; echo '{end}'");
        program(event, &["sh", "-c", &line], more)
    };
    let mine = format!("app:{APP}:job=default:poll");
    let ok = r#"{"ok":true}"#;
    let order = |listeners: &[String], now: i64| {
        let _ = fs::remove_file(world.path("order"));
        configure(&world, &listeners.concat());
        let summary = world.poll(now, &[]);
        (fs::read_to_string(world.path("order")).unwrap().replace('\n', " "), summary["ok"].clone())
    };
    let three = [
        listener("civi_cxn.poll", "general", "priority = 9", ok),
        listener(&mine, "low", "", ok),
        listener(&mine, "high", "priority = 1", ok),
    ];
    assert_eq!(order(&three, MIDNIGHT), ("high low general ".to_owned(), json!(1)));
    let stopped = [listener(&mine, "one", "stop = true", ok), listener("civi_cxn.poll", "two", "", ok)];
    assert_eq!(order(&stopped, MIDNIGHT + 86_400), ("one ".to_owned(), json!(1)));
    let stops = [listener(&mine, "one", "", r#"{"ok":true,"stop":true}"#), listener(&mine, "two", "", ok)];
    assert_eq!(order(&stops, MIDNIGHT + 2 * 86_400), ("one ".to_owned(), json!(1)));
    let fails = [listener(&mine, "one", "", r#"{"error":"no"}"#), listener(&mine, "two", "", ok)];
    assert_eq!(order(&fails, MIDNIGHT + 3 * 86_400), ("one ".to_owned(), json!(0)));
    let another =
        [listener("app:org.example.other:job=default:poll", "other", "", ok), listener(&mine, "mine", "", ok)];
    assert_eq!(order(&another, MIDNIGHT + 4 * 86_400), ("mine ".to_owned(), json!(1)));
}

#[test]
fn run_emits_events_at_its_start_and_end() {
    let world = World::with(["ok", "ok"]);
    let record = "read -r line; echo \"$line\" >> events; echo '{\"ok\":true}'";
    let listener = |event: &str| program(event, &["sh", "-c", record], "timeout = 5");
    configure(&world, &(listener("civi_cxn.pre-poll") + &listener(&format!("app:{APP}:job=default:post-poll"))));
    world.poll(MIDNIGHT, &["--batch", "0/1"]);
    // Nothing is due, so no event is emitted.
    world.poll(MIDNIGHT + 60, &[]);
    let events = json_lines(&fs::read_to_string(world.path("events")).unwrap());
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!((&events[0]["batch"], &events[0]["due"]), (&json!({"name": "0/1", "from": 0, "to": 10000}), &json!(2)));
    assert_eq!((&events[1]["summary"]["ok"], &events[0]["summary"]), (&json!(2), &Value::Null));

    configure(&world, &program("civi_cxn.pre-poll", &["sh", "-c", "echo '{\"error\":\"the warehouse is shut\"}'"], ""));
    let before = world.server.polls(0);
    let output = world.run(&["poll", APP, "--now", &(MIDNIGHT + 86_400).to_string()]);
    assert_eq!(code(&output), 78);
    assert!(stderr(&output).contains("pre-poll failed: the warehouse is shut"), "{output:?}");
    assert_eq!(world.server.polls(0), before);
}

#[test]
fn expectations_decide_about_success() {
    let world = World::with(["ok", "api-error"]);
    let mut now = MIDNIGHT;
    let mut ok = |call: &str| {
        configure(&world, &format!("[[listeners]]\nevent = \"civi_cxn.poll\"\ncalls = [{{ {call} }}]\n"));
        now += 90 * 86_400;
        world.poll(now, &["--retry", "1 day (x*)"])["ok"].clone()
    };
    assert_eq!(ok("api = \"System.get\""), 1);
    assert_eq!(ok("api = \"System.get\", allow-error = true"), 2);
    assert_eq!(ok("api = \"System.get\", expect = [{ at = \"/values/0/uf\", equals = \"Drupal8\" }]"), 1);
    assert_eq!(ok("api = \"System.get\", expect = [{ at = \"/values/0/uf\", equals = \"Joomla\" }]"), 0);
    assert_eq!(ok("api = \"System.get\", allow-error = true, expect = [{ at = \"/error_code\" }]"), 1);
    assert_eq!(
        ok("api = \"X.y\", params = '{\"a\": null}', expect = [{ at = \"/values/0/params/a\", equals = \"\" }]"),
        0
    );
}

#[test]
fn verbose_poll_by_hand_shows_calls_and_no_secret() {
    let world = World::with(["ok", "insecure"]);
    configure(
        &world,
        "[[listeners]]\nevent = \"civi_cxn.poll\"\ncalls = [{ api = \"System.get\", params = { a = 1 } }]\nkeep = true\n",
    );
    let log = world.path("log");
    for (number, expected) in [(0, "ok: level 0, count 0, due again 20"), (1, ": level 0, count 1, due again 20")] {
        let site = world.site(number, if number == 0 { "ok" } else { "insecure" });
        let output = world.run(&["poll", APP, "--cxn", &site.cxn_id, "-v", "--log-file", log.to_str().unwrap()]);
        let message = stderr(&output);
        assert!(message.contains("call System.get {\"a\":1}") && message.contains(expected), "{message}");
        assert!(
            !message.contains(&site.secret_base64[..8]) && !fs::read_to_string(&log).unwrap().contains("System.get")
        );
    }
    let output = world.run(&["poll", APP, "--cxn", &world.site(0, "ok").cxn_id, "-v"]);
    assert!(stderr(&output).contains("reply after ") && stderr(&output).contains("5.75.0"), "{output:?}");
}

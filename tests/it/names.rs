//! Names and URLs of strangers: refused by an import, and harmless in the stores of former builds.

use std::fs;

use serde_json::{Value, json};

use crate::import::line;
use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, json_lines, library, stderr, stdout};

/// A cxnId and a siteUrl for each kind of text that former builds accepted.
const FORMER: [(&str, &str); 5] = [
    ("--all", "no url \u{202e}at all"),
    ("=HYPERLINK(\"http://evil.example\")", "=cmd|' /C calc'!A0"),
    ("cxn:\u{202e}\u{e0041}\u{3164}1", "https://127.0.0.1:1/\u{2066}gpj.exe"),
    ("cxn:two words", "ftp://site.example/"),
    ("cxn:\u{fff9}\u{180e}", "admin:geheim@site.example"),
];
/// The job of their poll statuses.
const JOB: &str = "night\u{202e}ly";

fn former_lines(world: &World) -> Vec<String> {
    let status = json!({JOB: {"pollLevel": 0, "pollCount": 0, "lastRun": 0}});
    let lines = (0..).zip(FORMER).map(|(number, (id, url))| {
        let patch = json!({"cxnId": id, "siteUrl": url, "pollStatus": status});
        line(&world.site(number, "ok"), &patch).to_string()
    });
    lines.collect()
}

/// A store as former builds could fill it, and one connection with good names.
fn former_store() -> World {
    let world = World::with(["ok"; 9]);
    assert_quiet(&world.run(&["remove", "--all", "--yes"]));
    world.import_text(&world.site(8, "ok").jsonl());
    assert_quiet(&world.run_with_input(&["import", "--lenient"], &former_lines(&world).join("\n")));
    world
}

#[test]
fn an_import_refuses_them_with_their_lines_and_shows_no_credentials() {
    let world = World::new();
    let url = "https://site.example/";
    let refused = [
        ("cxnId", json!("--all"), "cxnId does not begin with a letter"),
        ("cxnId", json!("=1+1"), "cxnId does not begin with a letter"),
        ("cxnId", json!("cxn:\u{202e}1"), "cxnId holds a blank or a character outside of ASCII"),
        ("siteUrl", json!("admin:geheim@site.example"), "siteUrl is not a URL of http or https"),
        ("siteUrl", json!("ftp://admin:geheim@site.example"), "siteUrl is not a URL of http or https"),
        ("appUrl", json!("https://admin:geheim@/"), "appUrl is not a URL of http or https"),
        ("pollStatus", json!({JOB: {"pollLevel": 0, "pollCount": 0, "lastRun": 0}}), "job name holds an invisible"),
    ];
    for (key, value, problem) in refused {
        let bad = line(&world.site(1, "ok"), &json!({"siteUrl": url, key: value}));
        let output = world.run_with_input(&["import"], &format!("{}\n{bad}", world.site(0, "ok").jsonl()));
        let message = stderr(&output);
        assert_eq!((code(&output), stdout(&output).as_str()), (65, ""), "{message}");
        assert!(message.contains(&format!("line 2: {problem}")) && message.contains("--lenient"), "{message}");
        assert!(!message.contains("geheim") && !message.contains("admin"), "{message}");
        assert!(!world.store().exists(), "{message}");
    }
}

#[test]
fn former_stores_exports_and_backups_stay_usable() {
    let world = former_store();
    let before = world.export();
    assert_eq!(before.len(), FORMER.len() + 1);
    world.assert_sound();

    let elsewhere = world.path("elsewhere");
    let elsewhere = ["--store", elsewhere.to_str().unwrap()];
    let export = before.join("\n");
    assert_eq!(code(&world.run_with_input(&[&["import"], &elsewhere[..]].concat(), &export)), 65);
    assert_quiet(&world.run_with_input(&[&["import", "--lenient"], &elsewhere[..]].concat(), &export));
    let exported = world.text(&[&["export"], &elsewhere[..]].concat());
    assert_eq!(exported.lines().count(), before.len());

    assert_quiet(&world.run(&["store", "backup"]));
    assert_quiet(&world.run(&["remove", "--all", "--yes"]));
    assert_quiet(&world.run(&["store", "restore", "--yes"]));
    assert_eq!(world.export(), before);

    for (id, _) in FORMER {
        assert_eq!(json_lines(&world.text(&["get", "--json", "--", id]))[0]["cxnId"], id);
        let cxn = format!("--cxn={id}");
        assert_eq!(world.json(&["event", APP, &cxn])["cxn"]["cxnId"], id);
        let output = world.run(&["poll", APP, &cxn, "--json", "--now", &MIDNIGHT.to_string()]);
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(summary["failed"], 1, "{output:?}");
        assert_quiet(&world.run(&["remove", "--", id]));
    }
    assert_eq!(world.export().len(), 1);
    world.assert_sound();
}

#[test]
fn no_command_prints_or_logs_what_is_not_printable() {
    let world = former_store();
    let script = r#"read event; printf 'a\342\200\256b\n' >&2; echo '{"keep":1}'; echo '{"ok":true}'"#;
    let event = format!("app:{APP}:job=default:poll");
    world.append_config("title = \"My \u{202e}app\"\n");
    world.append_config(&format!("[[listeners]]\nevent = \"{event}\"\nprogram = [\"sh\", \"-c\", '''{script}''']\n"));
    let now = MIDNIGHT.to_string();
    let id = FORMER[2].0;
    let shown = r"cxn:\u202e\udb40\udc41\u31641";
    for (arguments, shows_id) in [
        (&["poll", APP, "--dry-run"][..], true),
        (&["poll", APP, "-vv", "--log-file", "log"], false),
        (&["poll", APP, "-vv", "--name", JOB], true),
        (&["get"], true),
        (&["status"], false),
        (&["plan"], false),
        (&["explain", id], true),
        (&["explain", id, "--name", JOB], true),
        (&["explain", "cxn:no\u{202e}ne"], false),
        (&["results"], true),
        (&["disable", "--all", "--dry-run"], true),
        (&["store", "check"], false),
        (&["config", "show"], false),
        (&["export", "--redact", "--format", "csv"], true),
        (&["export", "--redact"], true),
    ] {
        let at: &[&str] = if arguments.contains(&"poll") { &["--now", &now] } else { &[] };
        let output = world.run(&[arguments, at].concat());
        let text = stdout(&output) + &stderr(&output);
        assert!(!text.is_empty(), "{arguments:?}");
        assert!(text.lines().all(library::is_printable), "{arguments:?}: {text:?}");
        assert!(!shows_id || text.contains(shown), "{arguments:?}: {text}");
    }
    let log = fs::read_to_string(world.path("log")).unwrap();
    assert!(log.contains(shown) && log.lines().all(library::is_printable), "{log:?}");
}

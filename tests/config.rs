//! The configuration through the binary.

mod common;

use std::fs;

use common::{APP, CERTIFICATE, World, assert_quiet, code, stderr};
use serde_json::{Value, json};

fn write(world: &World, text: &str) {
    let _ = world.command(&[]);
    fs::write(world.folder.path().join("cxnpoll.toml"), text).unwrap();
}

#[test]
fn a_mistake_names_file_line_and_what_was_expected() {
    let world = World::new();
    for (text, line, expected) in [
        ("contact = \"x\"\nthreats = 3\n", "line 2", "unknown field `threats`"),
        ("store = 3\n", "line 1", "expected"),
        ("\n\n[backups]\nkeep = 0\n", "line 4", "nonzero"),
        ("[apps.\"org.example.myapp\"]\ntitel = \"x\"\n", "line 2", "unknown field `titel`"),
        ("[results]\nall = -1\n", "line 2", "expected"),
        ("[[listeners]]\nevent = \"civi_cxn.pull\"\n", "line 2", "expected app:org.example.myapp:job=default:poll"),
        ("contact = \n", "line 1", "expected"),
    ] {
        write(&world, text);
        for command in [&["status"][..], &["config", "check"], &["config", "show"]] {
            let output = world.run(command);
            let told = stderr(&output);
            assert_eq!(code(&output), 78, "{text}: {told}");
            assert!(told.contains("cxnpoll.toml") && told.contains(line) && told.contains(expected), "{told}");
        }
    }
}

#[test]
fn check_looks_at_apps_and_certificates() {
    let world = World::new();
    assert_quiet(&world.run(&["config", "check"]));
    let told = stderr(&world.run(&["config", "check", "-v"]));
    assert!(told.contains("is fine: 1 apps"), "{told}");

    let bad = |text: &str, expected: &str| {
        write(&world, text);
        let output = world.run(&["config", "check"]);
        assert_eq!(code(&output), 78, "{output:?}");
        assert!(stderr(&output).contains(expected), "{output:?}");
        let output = world.run(&["config", "check", "--json"]);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(json["problems"][0].as_str().unwrap().contains(expected), "{json}");
    };
    bad("[apps.\"org.example.other\"]\napp-cert = \"app.crt\"\n", "its common name is app:org.example.myapp");
    bad("[apps.\"org.example.myapp\"]\napp-cert = \"none.crt\"\n", "there is no certificate");
    bad("[apps.\"org example\"]\n", "the app 'org example'");
    bad("apps-dir = \"nowhere\"\n", "nowhere is no folder");
    fs::write(world.folder.path().join("bad.crt"), &CERTIFICATE[..200]).unwrap();
    bad("[apps.\"org.example.myapp\"]\napp-cert = \"bad.crt\"\n", "can't be read: expected X.509 in PEM");
}

#[test]
fn a_run_warns_of_a_certificate_that_is_not_the_apps() {
    let world = World::with(["ok"]);
    fs::write(world.folder.path().join("app.crt"), "no certificate").unwrap();
    let output = world.run(&["poll", APP]);
    assert_eq!(code(&output), 0);
    assert!(
        stderr(&output).starts_with("warning: the certificate of app:org.example.myapp can't be read"),
        "{output:?}"
    );
}

#[test]
fn show_tells_where_each_value_came_from() {
    let world = World::new();
    write(&world, "contact = \"me\"\napps-dir = \"apps\"\n[backups]\nkeep = 3\n[per-host]\n\"a.example.org\" = 9\n");
    let app = world.folder.path().join("apps").join(APP);
    fs::create_dir_all(&app).unwrap();
    fs::write(app.join("metadata.json"), r#"{"app:org.example.myapp": {"title": "Mine"}}"#).unwrap();
    let file = world.folder.path().join("cxnpoll.toml").display().to_string();
    let shown = world.json(&["config", "show", "--json", "--allow-net", "10.0.0.0/8"]);
    let value = |key: &str| {
        let found = shown.as_array().unwrap().iter().rfind(|value| value["key"] == key).unwrap();
        (found["value"].clone(), found["from"].as_str().unwrap().to_owned())
    };
    assert_eq!(value("config"), (json!(file), "CXNPOLL_CONFIG".to_owned()));
    assert_eq!(value("store").1, "CXNPOLL_STORE");
    assert_eq!(value("contact"), (json!("me"), file.clone()));
    assert_eq!(value("backups.keep"), (json!(3), file.clone()));
    assert_eq!(value("backups.every-hours"), (json!(24), "default".to_owned()));
    assert_eq!(value("per-host.a.example.org"), (json!(9), file));
    assert_eq!(value("allow-net"), (json!("10.0.0.0/8"), "--allow-net".to_owned()));
    assert_eq!(value(&format!("apps.{APP}.title")), (json!("Mine"), app.display().to_string()));
    let table = world.run(&["config", "show"]);
    assert!(String::from_utf8(table.stdout).unwrap().starts_with("KEY"));
}

//! The configuration.

use std::fs;

use serde_json::{Value, json};

use crate::testkit::{APP, CERTIFICATE, World, assert_quiet, code, stderr, stdout};

#[test]
fn mistake_names_file_line_and_what_was_expected() {
    let world = World::new();
    for (text, line, expected) in [
        ("contact = \"x\"\nthreats = 3\n", "line 2", "unknown field `threats`"),
        ("store = 3\n", "line 1", "expected"),
        ("\n\n[backups]\nkeep = 0\n", "line 4", "nonzero"),
        ("[apps.\"org.example.myapp\"]\ntitel = \"x\"\n", "line 2", "unknown field `titel`"),
        ("[results]\nall = -1\n", "line 2", "expected"),
        ("[[listeners]]\nevent = \"civi_cxn.pull\"\n", "line 2", "expected app:org.example.myapp:job=default:poll"),
        ("[[limits]]\nconcurrent = 2\n", "line 1", "expected one of `net`, `host` and `proxy`"),
        ("[[limits]]\nhost = \"*\"\nper-minute = 0\n", "line 3", "nonzero"),
        (
            "[jobs.\"org.example.a\".b]\nretri = \"1 day (x3)\"\n",
            "line 2",
            "expected one of `retry`, `threads`, `per-host`",
        ),
        ("[jobs.\"org.example.a\".b]\nretry = \"1 dya (x3)\"\n", "line 2", "expected a unit"),
        ("contact = \n", "line 1", "expected"),
    ] {
        world.config();
        world.set_config(text);
        for command in [&["status"][..], &["config", "check"], &["config", "show"]] {
            let output = world.run(command);
            let message = stderr(&output);
            assert_eq!(code(&output), 78, "{text}: {message}");
            assert!(
                message.contains("cxnpoll.toml") && message.contains(line) && message.contains(expected),
                "{message}"
            );
        }
    }
}

#[test]
fn missing_or_wrong_configuration_is_an_error() {
    let world = World::with(["ok"]);
    let message = world.refused(66, &["get", "--config", "nowhere.toml"]);
    assert!(message.starts_with("error: there is no configuration file nowhere.toml"), "{message}");

    let file = world.path("wrong.toml");
    for (text, places) in [
        ("store = \"s\"\nthreats = 3\n", ["line 2", "threats"]),
        ("\n\nallow-net = [\"10.0.0.0/99\"]\n", ["line 3", "allow-net"]),
        ("[apps.\"org.example.myapp\"]\napp-sert = \"x\"\n", ["line 2", "app-sert"]),
        ("store = \n", ["line 1", "store"]),
    ] {
        fs::write(&file, text).unwrap();
        let message = world.refused(78, &["get", "--config", file.to_str().unwrap()]);
        assert!(message.contains("wrong.toml") && places.iter().all(|place| message.contains(place)), "{message}");
    }
    fs::write(&file, format!("[apps.\"{APP}\"]\napp-cert = \"gone.crt\"\n")).unwrap();
    assert!(world.refused(78, &["poll", APP, "--config", file.to_str().unwrap()]).contains("gone.crt"));
}

#[test]
fn config_check_reads_apps_and_certificates() {
    let world = World::new();
    assert_quiet(&world.run(&["config", "check"]));
    let message = stderr(&world.run(&["config", "check", "-v"]));
    assert!(message.contains("is valid: 1 app"), "{message}");

    let bad = |text: &str, expected: &str| {
        world.config();
        world.set_config(text);
        let output = world.run(&["config", "check"]);
        assert_eq!(code(&output), 78, "{output:?}");
        assert!(stderr(&output).contains(expected), "{output:?}");
        let output = world.run(&["config", "check", "--quiet"]);
        assert!(stderr(&output).contains(expected), "{output:?}");
        let output = world.run(&["config", "check", "--json"]);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(json["problems"][0].as_str().unwrap().contains(expected), "{json}");
    };
    bad("[apps.\"org.example.other\"]\napp-cert = \"app.crt\"\n", "its common name is app:org.example.myapp");
    bad("[apps.\"org.example.myapp\"]\napp-cert = \"none.crt\"\n", "there is no certificate");
    bad("[apps.\"org example\"]\n", "app 'org example'");
    bad("apps-dir = \"nowhere\"\n", "apps-dir: there is no directory");
    fs::write(world.path("empty.crt"), "\u{feff}\r\n").unwrap();
    bad("[apps.\"org.example.myapp\"]\napp-cert = \"empty.crt\"\n", "empty.crt is empty");
    fs::write(world.path("bad.crt"), &CERTIFICATE[..200]).unwrap();
    bad("[apps.\"org.example.myapp\"]\napp-cert = \"bad.crt\"\n", "cannot be read: expected X.509 in PEM");
}

#[test]
fn config_check_finds_all_listeners_that_cannot_work() {
    let world = World::with(["ok"]);
    let check = |text: &str| {
        world.config();
        world.set_config(text);
        let output = world.run(&["config", "check", "--json"]);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let texts = |key: &str| json[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned());
        assert_eq!(code(&output) == 78, texts("problems").count() > 0, "{output:?}");
        (texts("problems").collect::<Vec<_>>(), texts("warnings").collect::<Vec<_>>())
    };
    let listener = |event: &str, program: &str| format!("[[listeners]]\nevent = \"{event}\"\nprogram = {program}\n");
    let of_app = |app: &str| listener(&format!("app:{app}:job=default:poll"), "[\"sh\", \"-c\", \"true\"]");
    // The app is known from the store.
    assert_eq!(check(&(of_app(APP) + &of_app(APP))), (vec![], vec![]));

    let text = of_app("org.example.mapp")
        + &of_app("com.acme")
        + &listener("civi_cxn.poll", "[\"./gone.sh\"]")
        + &listener("civi_cxn.pre-poll", "[\"sh\", \"gone.sh\"]\nfolder = \"nowhere\"");
    let (problems, warnings) = check(&text);
    let expected = [
        "the listener of civi_cxn.poll: cannot execute ",
        "the listener of civi_cxn.pre-poll: cannot enter ",
        "the listener of app:org.example.mapp:job=default:poll is never called: there is no such app; did you mean org.example.myapp?",
        "the listener of app:com.acme:job=default:poll is never called: there is no such app",
    ];
    assert_eq!((problems.len(), warnings.len()), (4, 0), "{problems:?} {warnings:?}");
    assert!(problems.iter().zip(expected).all(|(found, expected)| found.starts_with(expected)), "{problems:?}");

    // An app that only the store may have is no fault where the store cannot be read.
    fs::remove_dir_all(world.store()).unwrap();
    fs::write(world.store(), "").unwrap();
    let (problems, warnings) = check(&of_app(APP));
    assert_eq!((problems.len(), warnings.len()), (0, 3), "{warnings:?}");
    assert!(warnings[0].starts_with("cannot read which apps the store has: "), "{warnings:?}");
    fs::remove_file(world.store()).unwrap();
    let (problems, warnings) = check(&of_app(APP));
    assert_eq!((problems.len(), warnings.len()), (1, 0), "{problems:?} {warnings:?}");
    assert_eq!(check(&(format!("[apps.\"{APP}\"]\n") + &of_app(APP))), (vec![], vec![]));
}

#[test]
fn run_warns_of_an_empty_certificate() {
    let world = World::with(["ok"]);
    fs::write(world.path("app.crt"), "").unwrap();
    let output = world.run(&["poll", APP]);
    assert_eq!(code(&output), 0);
    assert!(stderr(&output).contains("app.crt is empty\n"), "{output:?}");
}

#[test]
fn run_warns_of_an_unreadable_certificate() {
    let world = World::with(["ok"]);
    fs::write(world.path("app.crt"), "no certificate").unwrap();
    let output = world.run(&["poll", APP]);
    assert_eq!(code(&output), 0);
    assert!(
        stderr(&output).starts_with("warning: the certificate of app:org.example.myapp cannot be read"),
        "{output:?}"
    );
}

#[test]
fn config_show_names_the_source_of_each_value() {
    let world = World::new();
    world.set_config(
        "contact = \"me\"\napps-dir = \"apps\"\n[backups]\nkeep = 3\n[per-host]\n\"a.example.org\" = 9\n\
         [[limits]]\nnet = \"203.0.113.0/24\"\nper-minute = 60\n",
    );
    let app = world.path("apps").join(APP);
    fs::create_dir_all(&app).unwrap();
    fs::write(app.join("metadata.json"), r#"{"app:org.example.myapp": {"title": "Mine"}}"#).unwrap();
    let file = world.path("cxnpoll.toml").display().to_string();
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
    assert_eq!(value("limits.0"), (json!({"net": "203.0.113.0/24", "per-minute": 60}), file.clone()));
    assert_eq!(value("per-host.a.example.org"), (json!(9), file));
    assert_eq!(value("allow-net"), (json!("10.0.0.0/8"), "--allow-net".to_owned()));
    assert_eq!(value(&format!("apps.{APP}.title")), (json!("Mine"), app.display().to_string()));
    let table = world.run(&["config", "show"]);
    assert!(stdout(&table).starts_with("KEY"));
}

//! `config init`: a new configuration file, from options or from answers.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::Value;

use crate::testkit::{APP, World, assert_quiet, code, stderr, stdout, tools};

/// Returns the value of a key, as `config show` prints it for a file.
fn shown(world: &World, file: &str, key: &str) -> Value {
    let output = world.command(&["config", "show", "--json", "--config", file]).env_remove("CXNPOLL_STORE").output();
    let values: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    values.as_array().unwrap().iter().find(|value| value["key"] == key).unwrap()["value"].clone()
}

fn mode(world: &World, file: &str) -> u32 {
    fs::metadata(world.path(file)).unwrap().permissions().mode() & 0o777
}

#[test]
fn options_make_a_file_that_is_read_as_they_say() {
    let world = World::new();
    world.config();
    let init = ["config", "init", "-n", "--output", "new/cxnpoll.toml", "--store", "data"];
    let app = ["--app", APP, "--app-cert", "app.crt", "--app-url", "https://app.example.org/", "--retry", "1day(x3)"];
    assert_quiet(&world.run(&[&init[..], &app, &["--contact", "me \"and\" you"]].concat()));
    assert_eq!(mode(&world, "new/cxnpoll.toml"), 0o644);
    let value = |key: &str| shown(&world, "new/cxnpoll.toml", key);
    assert_eq!(value("store"), world.path("data").to_str().unwrap());
    assert_eq!(value("contact"), "me \"and\" you");
    assert_eq!(value(&format!("apps.{APP}.app-url")), "https://app.example.org/");
    assert_eq!(value(&format!("apps.{APP}.certificate")), "there");
    assert_eq!(value(&format!("jobs.{APP}.default.retry")), "1 day (x3)");
    assert_quiet(&world.run(&["config", "check", "--config", "new/cxnpoll.toml"]));
    let text = fs::read_to_string(world.path("new/cxnpoll.toml")).unwrap();
    assert!(text.contains("\n# [timeouts]\n") && text.contains("# calls = ["), "{text}");

    // It replaces no file, unless that is asked for.
    let heartbeat = ["--heartbeat", "https://hc.example.org/ping/0123"];
    let message = world.refused(2, &[&init[..], &heartbeat].concat());
    assert!(message.contains("replace it with --force"), "{message}");
    assert_eq!(fs::read_to_string(world.path("new/cxnpoll.toml")).unwrap(), text);
    assert_quiet(&world.run(&[&init[..], &heartbeat, &["--force"]].concat()));
    assert_eq!((mode(&world, "new/cxnpoll.toml"), value("heartbeat")), (0o600, "hc.example.org/…".into()));
    assert_eq!(fs::read_dir(world.path("new")).unwrap().count(), 1);
}

#[test]
fn a_broken_configuration_is_replaced_where_it_is_read() {
    let world = World::new();
    world.config();
    world.set_config("store = \n");
    assert!(stderr(&world.run(&["config", "init", "-n"])).contains("cxnpoll.toml exists; nothing was written"));
    assert_quiet(&world.run(&["config", "init", "-n", "--force"]));
    assert_quiet(&world.run(&["config", "check"]));
    assert_eq!(world.text(&["config", "init", "-n", "--output", "-"]), world.config());
}

#[test]
fn values_that_cannot_be_used_leave_no_file() {
    let world = World::new();
    for (exit, options, expected) in [
        (2, &["--heartbeat", "hc.example.org/K3Y"][..], "--heartbeat is not an http or https URL"),
        (2, &["--app", "my app"], "--app <APP>"),
        (2, &["--app-cert", "app.crt"], "--app <APP>"),
        (2, &["--retry", "1 day (x3)"], "--app <APP>"),
        (2, &["--app", APP, "--app-url", "ftp://example.org/"], "expected an http or https URL"),
        (78, &["--app", APP, "--app-cert", "gone.crt"], "there is no certificate"),
        (66, &["--apps-dir", "gone"], "there is no directory"),
    ] {
        let output = world.run(&[&["config", "init", "-n", "--output", "new.toml"], options].concat());
        let message = stderr(&output);
        assert_eq!((code(&output), stdout(&output).as_str()), (exit, ""), "{message}");
        assert!(message.contains(expected) && !message.contains("K3Y"), "{message}");
        assert!(!world.path("new.toml").exists(), "{options:?}");
    }
    let store = OsStr::from_bytes(b"\xff");
    let output =
        world.command(&["config", "init", "-n", "--output", "new.toml", "--store"]).arg(store).output().unwrap();
    assert!(code(&output) == 2 && stderr(&output).contains("is not UTF-8"), "{output:?}");
}

/// Runs `config init` at a terminal, which `script` provides, with lines that are typed.
///
/// Then the input ends.
fn typed(world: &World, lines: &str) -> String {
    let words = format!("{} config init --output new.toml", env!("CARGO_BIN_EXE_cxnpoll"));
    let mut script = world.command_of("script");
    script.args(["-qefc", &words, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::piped());
    let mut child = script.spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
}

#[test]
fn a_terminal_is_asked_and_then_the_next_steps_are_printed() {
    if !tools::require("script") {
        return;
    }
    let world = World::new();
    world.config();
    for lines in ["", "\n\n", "\n\norg.example.myapp\n\n"] {
        let text = typed(&world, lines);
        assert!(text.contains("Nothing was written.") && !world.path("new.toml").exists(), "{text}");
    }
    let app = "no app\norg.example.myapp\nhttps://app.example.org/\ngone.crt\napp.crt\n1 dya (x3)\n1 day (x3)\norg.example.myapp\n";
    let text = typed(&world, &format!("~/data\n\n{app}\n\nftp://x\n-\n"));
    let reported = ["expected an http or https URL", "it cannot be read", "expected a unit", "is in the file already"];
    for expected in ["Directory of the store [", " doctor"].into_iter().chain(reported) {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    let in_crontab = format!(" --config {} poll org.example.myapp", world.path("new.toml").display());
    assert!(text.contains("# add: */5 * * * * ") && text.contains(&in_crontab), "{text}");
    assert!(text.contains("poll org.example.myapp --dry-run"), "{text}");
    assert_eq!(shown(&world, "new.toml", "store"), world.path("data").to_str().unwrap());
    assert_eq!(shown(&world, "new.toml", &format!("apps.{APP}.certificate")), "there");
    assert_eq!(shown(&world, "new.toml", &format!("jobs.{APP}.default.retry")), "1 day (x3)");
    assert_eq!(shown(&world, "new.toml", "heartbeat"), Value::Null);
}

//! Mistakes on the command line.

use crate::testkit::{APP, World, assert_quiet, code, stderr};

#[test]
fn wrong_command_line_is_a_usage_error_with_what_was_expected() {
    let world = World::with(["ok"]);
    let site = world.site(0, "ok");
    let cxn = site.cxn_id.as_str();
    for (arguments, expected) in [
        (&["retry", "20 min (y6)"][..], "\n  20 min (y6)\n          ^\n"),
        (&["poll", APP, "--retry", "1 hour (x0)"], "\n  1 hour (x0)\n           ^\n"),
        (&["status", "--retry", ""], "expected a number"),
        (&["poll", APP, "--batch", "3/3"], "expected ID/COUNT"),
        (&["poll", APP, "--batch", "0/0"], "expected ID/COUNT"),
        (&["poll", APP, "--batch", "0/10001"], "expected ID/COUNT"),
        (&["poll", APP, "--batch", "x"], "expected ID/COUNT"),
        (&["poll", APP, "--now", "yesterday"], "expected a time such as"),
        (&["explain", cxn, "--now=-1"], "expected a time such as"),
        (&["poll", APP, "--threads", "0"], "not in 1..=4096"),
        (&["poll", APP, "--threads", "4097"], "not in 1..=4096"),
        (&["poll", APP, "--threads", "many"], "expected auto, or a number from 1 to 4096"),
        (&["poll", APP, "--per-host", "0"], "not in 1..=4096"),
        (&["poll", APP, "--timeout", "0"], "expected more than 0 seconds"),
        (&["poll", APP, "--name", ""], "is empty"),
        (&["poll", "a/b"], "appId"),
        (&["poll"], "<APP>"),
        (&["call", cxn, "System"], "expected Entity.action"),
        (&["call", cxn, "System.get", "id"], "expected key=value"),
        (&["call", cxn, "System.get", "id:={"], "not JSON"),
        (&["get", "--allow-net", "10.0.0.0/33"], "expected a network"),
        (&["get", "--color", "pink"], "pink"),
        (&["import", "--on-error", "shrug"], "shrug"),
        (&["pol"], "'poll'"),
        (&[], "Usage:"),
    ] {
        let output = world.run(arguments);
        let message = stderr(&output);
        assert_eq!((code(&output), output.stdout.len()), (2, 0), "{arguments:?}: {message}");
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    assert_eq!(world.server.total(), 0);
}

#[test]
fn missing_app_or_connection_is_not_found() {
    let world = World::with(["ok"]);
    for name in ["org.example.myap", "app:org.example.myap"] {
        for command in ["poll", "status"] {
            let message = world.refused(66, &[command, name]);
            assert!(message.starts_with("error: there is no app app:org.example.myap\n"), "{message}");
            assert!(message.contains("hint: did you mean org.example.myapp?"), "{message}");
        }
    }
    assert!(!world.refused(66, &["poll", "com.acme"]).contains("did you mean"));
    for arguments in [
        &["get", "cxn:beef"][..],
        &["get", "beef"],
        &["explain", "beef"],
        &["call", "beef", "System.get"],
        &["poll", APP, "--cxn", "beef"],
    ] {
        let message = world.refused(66, arguments);
        assert!(message.contains("there is no connection ") && message.contains("beef"), "{message}");
    }
    for name in [APP, "app:org.example.myapp"] {
        assert_quiet(&world.run(&["poll", name]));
    }
    assert_eq!(world.server.total(), 1, "which was due once");
}

#[test]
fn errors_are_coloured_on_request_only() {
    let world = World::new();
    for (color, start) in [("never", "error: "), ("auto", "error: "), ("always", "\u{1b}[1m\u{1b}[31merror:\u{1b}[0m ")]
    {
        let message = world.refused(66, &["get", "--color", color]);
        assert!(message.starts_with(start), "{message:?}");
    }
}

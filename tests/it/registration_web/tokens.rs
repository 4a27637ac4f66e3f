//! The checks of tokens that docs/registration.md shows, against recorded tokens.

use std::process::Command;

use serde_json::Value;

use super::page::snippet;
use crate::testkit::registrar::recorded;
use crate::testkit::tools;

/// Runs a program that prints one line per check: whether the token is good. Its arguments are the secret and the time, then
/// connection and token of each check.
fn good(program: &mut Command, now: i64) -> Vec<bool> {
    let links = &recorded()["links"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    program.arg(text(&links["secret"])).arg(now.to_string());
    for check in links["check"].as_array().unwrap() {
        program.args([text(&check["cxnId"]), text(&check["token"])]);
    }
    let output = program.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line == "1").collect()
}

/// Asserts that only the good tokens are accepted, until they expire.
fn check(program: impl Fn() -> Command) {
    let checks = recorded()["links"]["check"].as_array().unwrap();
    let expected = |now: i64| -> Vec<bool> {
        let is_good = |check: &Value| match check["name"].as_str().unwrap() {
            "good" => now < 4_102_444_800,
            "good_but_past" => now < 1000,
            _ => false,
        };
        checks.iter().map(is_good).collect()
    };
    for now in [999, 1000, 4_102_444_799, 4_102_444_800] {
        assert_eq!(good(&mut program(), now), expected(now), "{now}: {checks:?}");
    }
}

#[test]
fn the_check_in_php_accepts_good_tokens_only() {
    if tools::require("php") {
        let text = snippet("php", "token_is_good")
            + "[, $secret, $now] = $argv;\nfor ($i = 3; $i < count($argv); $i += 2) {\n\
               echo token_is_good($secret, $argv[$i], $argv[$i + 1], (int) $now) ? 1 : 0, \"\\n\";\n}\n";
        check(|| {
            let mut command = Command::new("php");
            command.args(["-d", "display_errors=stderr", "-r", &text, "--"]);
            command
        });
    }
}

#[test]
fn the_check_in_python_accepts_good_tokens_only() {
    if tools::require("python3") {
        let text = snippet("python", "token_is_good")
            + "\nimport sys\n_, secret, now, *checks = sys.argv\n\
               for cxn_id, token in zip(checks[::2], checks[1::2]):\n    \
               print(int(token_is_good(secret, cxn_id, token, int(now))))\n";
        check(|| {
            let mut command = Command::new("python3");
            command.args(["-c", &text]);
            command
        });
    }
}

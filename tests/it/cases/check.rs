//! Compares what a case did with what it must do.

use std::collections::BTreeMap;

use fancy_regex::Regex;
use serde_json::{Map, Value};

use super::case::{Case, Step};
use super::dir::CaseDir;
use super::sites::{Sites, in_set};
use super::step::{self, Input, Output};
use crate::testkit::json_lines;

/// Asserts that a step did what it must do.
pub fn step(step: &Step, output: &Output, context: &str) {
    assert!(step.exit.allows(output.code), "another exit code was expected\n{context}");
    let is_in_time = step.within.is_none_or(|limit| output.elapsed.as_secs_f64() <= limit);
    assert!(is_in_time, "it took too long\n{context}");
    let all = format!("{}{}", output.stdout, output.stderr);
    assert!(!step.quiet || all.is_empty(), "no output was expected\n{context}");
    for (text, found, lacking) in [
        (&output.stdout, &step.stdout, &step.stdout_lacks),
        (&output.stderr, &step.stderr, &step.stderr_lacks),
        (&all, &step.output, &step.output_lacks),
    ] {
        for pattern in found {
            assert!(matches(pattern, text), "it lacks {pattern}\n{context}");
        }
        for pattern in lacking {
            assert!(!matches(pattern, text), "it has {pattern}\n{context}");
        }
    }
    if !step.json.is_empty() {
        let json: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{context}"));
        for (path, expected) in &step.json {
            assert_eq!(json.pointer(&format!("/{path}")), Some(expected), "{path}\n{context}");
        }
    }
}

/// Letters match in any case, and `^` and `$` at each line.
fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(&format!("(?im){pattern}")).unwrap().is_match(text).unwrap()
}

/// Asserts what must hold after the last step.
pub fn after(case: &Case, dir: &CaseDir, sites: &Sites) {
    let (after, about) = (&case.after, &case.about);
    if after.no_store {
        assert!(!dir.path().join("store").exists(), "there is a store\n{about}");
    }
    for (set, expected) in &after.requests {
        for number in in_set(set) {
            assert_eq!(sites.server.polls(number), *expected, "requests of site {number}\n{about}");
        }
    }
    for (set, expected) in &after.authorization {
        for number in in_set(set) {
            let found = sites.server.last_authorization(number);
            assert_eq!(found.as_ref(), Some(expected), "site {number}\n{about}");
        }
    }
    let json = |arguments: &[&str]| {
        let mut command = dir.command("cxnpoll", case.user);
        command.args(arguments);
        let output = step::output_of(command, Input::Null);
        assert_eq!(output.code, 0, "{output:?}\n{about}");
        json_lines(&output.stdout)
    };
    let cxn_id = |number: u32| sites.server.site(number).cxn_id;
    if after.connections.is_some() || !after.export.is_empty() {
        let lines: BTreeMap<String, Value> =
            json(&["export"]).into_iter().map(|line| (line["cxnId"].as_str().unwrap().to_owned(), line)).collect();
        if let Some(set) = &after.connections {
            let mut expected: Vec<String> = in_set(set).into_iter().map(cxn_id).collect();
            expected.sort();
            assert!(lines.keys().eq(&expected), "expected {expected:?}, got {:?}\n{about}", lines.keys());
        }
        for (number, expected) in &after.export {
            assert_keys(&lines[&cxn_id(number.parse().unwrap())], expected, about);
        }
    }
    for (number, expected) in &after.explain {
        assert_keys(&json(&["explain", &cxn_id(number.parse().unwrap()), "--json"])[0], expected, about);
    }
}

/// Asserts the values of some keys of an object; `(none)` is null, or a key that is missing.
fn assert_keys(object: &Value, expected: &Map<String, Value>, about: &str) {
    for (key, expected) in expected {
        let is_right = match &object[key] {
            Value::Null => expected == "(none)",
            value => value == expected,
        };
        assert!(is_right, "{key}: expected {expected} in {object}\n{about}");
    }
}

//! `import`.

mod bad_lines;
mod prune;
mod reconnect;
mod update;

use std::collections::BTreeMap;

use civisite::Site;
use serde_json::Value;

use crate::testkit::{MIDNIGHT, World, code, stderr, stdout};

/// Returns a site's line with keys added or replaced.
pub(crate) fn line(site: &Site, patch: &Value) -> Value {
    let mut line = serde_json::to_value(site).unwrap();
    line.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
    line
}

/// Joins lines into the text of an import.
fn text(lines: &[Value]) -> String {
    lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
}

/// Imports valid lines; returns how many connections were added, updated and unchanged.
pub(crate) fn import(world: &World, more: &[&str], lines: &[Value]) -> [u64; 3] {
    let output = world.run_with_pipe(&[&["import", "--json"], more].concat(), text(lines).as_bytes());
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["skipped"], 0);
    ["added", "updated", "unchanged"].map(|key| summary[key].as_u64().unwrap())
}

/// Returns all lines of an export by their cxnId.
fn exported(world: &World) -> BTreeMap<String, Value> {
    let output = world.run(&["export"]);
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    let lines = stdout(&output);
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["cxnId"].as_str().unwrap().to_owned(), line)).collect()
}

/// Returns the line of a connection in an export.
fn exported_line(world: &World, site: &Site) -> Value {
    exported(world).remove(&site.cxn_id).unwrap()
}

/// Polls a failing site once with an expression that gives it up at once.
fn give_up(world: &World, site: &Site) {
    world.poll(MIDNIGHT, &["--retry", "1 min (x1)"]);
    assert_eq!(world.explain(site, MIDNIGHT)["state"], "given-up");
}

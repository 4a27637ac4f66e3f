//! What a store and the files beside it hold, as commands print it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::testkit::library::is_whole_backup;
use crate::testkit::{World, code, json_lines, stdout};

/// Lines of connections by their cxnId, without what a poll does not determine.
pub type Lines = BTreeMap<String, Value>;

/// What there is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Content {
    pub cxns: Lines,
    /// The classes of results by cxnId and time.
    pub results: BTreeMap<(String, i64), String>,
    /// The backups, the oldest first.
    pub backups: Vec<Backup>,
    /// The connections in the exported file; `None` before the first export.
    pub exported: Option<Lines>,
}

/// A backup, and the connections in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Backup {
    pub name: String,
    bytes: Vec<u8>,
    pub cxns: Lines,
}

impl Content {
    /// Reads everything, and asserts that it is whole and agrees. What was `known` before need not be parsed again.
    pub fn read(world: &World, known: &Self) -> Self {
        let files = fs::read_dir(world.store().join("backups")).into_iter().flatten();
        let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let backup = |name: String| {
            let path = world.store().join("backups").join(&name);
            let bytes = fs::read(&path).unwrap();
            if let Some(backup) = known.backups.iter().find(|backup| backup.name == name && backup.bytes == bytes) {
                return backup.clone();
            }
            assert!(is_whole_backup(&path), "{name} is not whole");
            let mut text = String::new();
            GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
            Backup { name, bytes, cxns: lines(&text) }
        };
        let mut backups: Vec<_> = names.filter(|name| name.ends_with(".jsonl.gz")).map(backup).collect();
        // A new one is the newest.
        backups.sort_by_key(|backup| known.backups.iter().position(|known| known == backup).unwrap_or(usize::MAX));
        let exported = fs::read_to_string(world.path(EXPORTED)).ok().map(|text| lines(&text));
        let export = world.run(&["export"]);
        if code(&export) == 66 {
            return Self { backups, exported, ..Self::default() };
        }
        world.assert_sound();
        assert_eq!(code(&export), 0, "{export:?}");
        let cxns = lines(&stdout(&export));
        for shown in json_lines(&world.text(&["get", "--json"])) {
            let line = &cxns[shown["cxnId"].as_str().unwrap()];
            let is_disabled = line["disabled"] == true;
            assert!(shown["siteUrl"] == line["siteUrl"] && shown["disabled"] == is_disabled, "{shown} {line}");
        }
        let result = |line: Value| {
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            ((text("cxnId"), line["at"].as_i64().unwrap()), text("class"))
        };
        assert_history_agrees(world, &cxns);
        let results = json_lines(&world.text(&["results", "--json"])).into_iter().map(result).collect();
        Self { cxns, results, backups, exported }
    }
}

/// Asserts that history has what the last poll of each connection showed.
///
/// It may have more: what a killed process did not record.
fn assert_history_agrees(world: &World, cxns: &Lines) {
    if world.store().join("history.new").exists() {
        // A restore was killed before it replaced the history too.
        return;
    }
    let history = json_lines(&world.text(&["export", "--history"]));
    for (id, line) in cxns {
        let Some(last) = line.pointer("/pollStatus/default/attempts").and_then(|polls| polls.as_array()?.last()) else {
            continue;
        };
        let condition = if last["class"] == "ok" { "up" } else { "failing" };
        let shows = |entry: &&Value| entry["cxnId"] == **id && entry["to"] == condition;
        assert!(history.iter().any(|entry| shows(&entry)), "history lacks that {id} is {condition}");
    }
}

/// The file of exports, in the directory of a world.
pub const EXPORTED: &str = "exports/all.jsonl";

/// Parses the connections of an export or a backup.
fn lines(text: &str) -> Lines {
    let lines = json_lines(text).into_iter().filter(|line| line["cxnId"].is_string());
    lines.map(|line| (line["cxnId"].as_str().unwrap().to_owned(), comparable(line))).collect()
}

/// Removes what a poll does not determine: durations, and the text of a failure.
pub fn comparable(mut line: Value) -> Value {
    if let Some(status) = line.pointer_mut("/pollStatus/default").and_then(Value::as_object_mut) {
        status.remove("tookMs");
        for attempt in status.get_mut("attempts").and_then(Value::as_array_mut).into_iter().flatten() {
            attempt.as_object_mut().unwrap().remove("tookMs");
        }
        if let Some(failure) = status.get_mut("lastFailure") {
            failure["message"] = "".into();
        }
    }
    line
}

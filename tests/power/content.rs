//! What a store holds, item by item.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::record::{State, on_store};
use super::verdict::first_line;
use crate::testkit::library::backup_text;
use crate::testkit::{World, code, json_lines, stdout};

/// The items of a store by name.
///
/// They are connections, results, entries of history, backups, replaced databases, and entries in quarantine.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub struct Content(BTreeMap<String, Value>);

/// The kinds of items of which there may be more than were acknowledged.
///
/// The removal of a file may be lost.
/// A process may be killed before it records what it added to history.
const MAY_BE_MORE: [&str; 4] = ["backup", "database", "entry", "history"];
/// The value of a backup that is not whole.
const DAMAGED: Value = Value::Null;

impl Content {
    /// Reads a store; returns what it holds, and what the commands that read it printed.
    ///
    /// # Errors
    /// How a command failed.
    pub fn read(world: &World, store: &Path) -> Result<(Self, String), String> {
        let mut items = BTreeMap::new();
        let mut messages = String::new();
        for arguments in [&["export"][..], &["results", "--json"]] {
            let output = on_store(world, store, arguments).output().unwrap();
            messages += &first_line(&output);
            if code(&output) != 0 {
                return Err(format!("{} ends with {}: {}", arguments[0], code(&output), first_line(&output)));
            }
            for line in json_lines(&stdout(&output)) {
                let id = line["cxnId"].as_str().expect("a line has a cxnId");
                let name = line["at"].as_i64().map_or_else(|| format!("cxn {id}"), |at| result_name(id, at));
                items.insert(name, line);
            }
        }
        let history = on_store(world, store, &["export", "--history"]).output().unwrap();
        if code(&history) != 0 {
            return Err(format!("export --history ends with {}: {}", code(&history), first_line(&history)));
        }
        // A repair is noted once it is done, also that which is made to read a store.
        let lines = stdout(&history);
        let lines = lines.lines().filter(|line| !line.contains(r#""action":"repair""#));
        items.extend(lines.map(|line| (format!("history {line}"), true.into())));
        for name in names(&store.join("backups")).filter(|name| name.ends_with(".jsonl.gz")) {
            let path = store.join("backups").join(&name);
            let digest = || hex::encode(Sha256::digest(fs::read(&path).unwrap())).into();
            items.insert(format!("backup {name}"), if backup_text(&path).is_some() { digest() } else { DAMAGED });
        }
        let current = fs::read_to_string(store.join("CURRENT")).unwrap_or_default();
        let replaced = names(store).filter(|name| name != current.trim_end()).chain(names(&store.join("kept")));
        for name in replaced.filter(|name| name.starts_with("db-")) {
            items.insert(format!("database {name}"), true.into());
        }
        let quarantine = fs::read_to_string(store.join("kept/set-aside.jsonl")).unwrap_or_default();
        items.extend(quarantine.lines().map(|entry| (format!("entry {entry}"), true.into())));
        Ok((Self(items), messages))
    }

    /// Describes what is missing and what should not be there; `None` if there is neither.
    ///
    /// Each item must be as in the acknowledged state or in one of those after it.
    pub fn lost(&self, acknowledged: Option<&State>, since: &[State]) -> Option<String> {
        let nothing = Self::default();
        let before = acknowledged.map_or(&nothing, |state| &state.content);
        let states: Vec<&Self> = [before].into_iter().chain(since.iter().map(|state| &state.content)).collect();
        let mut wrong = BTreeMap::<(&str, &str), usize>::new();
        let names: BTreeSet<_> = states.iter().flat_map(|state| state.0.keys()).chain(self.0.keys()).collect();
        for name in names {
            let (kind, found) = (name.split(' ').next().unwrap(), self.0.get(name));
            let is_extra = found.is_some_and(|found| *found != DAMAGED) && MAY_BE_MORE.contains(&kind);
            let problem = match found {
                _ if is_extra || states.iter().any(|state| state.0.get(name) == found) => continue,
                None => "missing",
                Some(_) if states.iter().any(|state| state.0.contains_key(name)) => "not as acknowledged",
                Some(_) => "unknown",
            };
            *wrong.entry((kind, problem)).or_default() += 1;
        }
        let agreeing = self.cxns().filter(|(name, line)| states.iter().any(|state| self.agrees(name, line, state)));
        wrong.insert(("cxn", "without its result"), self.cxns().count() - agreeing.count());
        let is_restore = matches!(since, [state] if state.command.starts_with("store restore"));
        let is_whole = |state: &&Self| self.cxns().eq(state.cxns());
        wrong.insert(("restore", "in parts"), usize::from(is_restore && !states.iter().any(is_whole)));
        wrong.retain(|_, count| *count > 0);
        let wrong: Vec<_> = wrong.iter().map(|((kind, problem), count)| format!("{count} {kind} {problem}")).collect();
        (!wrong.is_empty()).then(|| wrong.join(", "))
    }

    /// Returns the connections by name.
    fn cxns(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter().filter(|(name, _)| name.starts_with("cxn "))
    }

    /// Whether a connection and the result of its last poll are as in a state.
    ///
    /// Results are stored before outcomes.
    fn agrees(&self, name: &str, line: &Value, state: &Self) -> bool {
        let last_run = line["pollStatus"]["default"]["lastRun"].as_i64().unwrap_or(0);
        let result = result_name(line["cxnId"].as_str().unwrap(), last_run);
        state.0.get(name) == Some(line) && state.0.get(&result) == self.0.get(&result)
    }
}

fn result_name(cxn_id: &str, at: i64) -> String {
    format!("result {cxn_id} {at}")
}

/// Returns the names in a directory; none where it does not exist.
fn names(dir: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>().into_iter()
}

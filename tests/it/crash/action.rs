//! Commands that write, and what each of them leaves.

use std::collections::BTreeMap;

use serde_json::Value;

use super::content::{Content, EXPORTED, Lines, comparable};
use crate::testkit::APP;
use crate::testkit::library::{BACKUP_KEY, BACKUP_RECIPIENT, exported_line, polled_line, revived_line};

/// The retry expression of the job. It never gives a site up.
pub const RETRY: &str = "1 hour (x2); 1 day (x*)";
/// How many results are kept per connection: all, and failures.
pub const MAX_RESULTS: (usize, usize) = (4, 2);
/// How many backups are kept.
pub const MAX_BACKUPS: usize = 3;
/// How many connections are changed in one transaction.
const TX_BATCH: usize = 256;

/// A command that writes.
#[derive(Debug, Clone)]
pub enum Action {
    /// Adds and updates connections; with `prune`, removes all others of their app.
    Import {
        lines: Vec<Value>,
        prune: bool,
    },
    /// Polls what is due, or only one connection.
    Poll {
        now: i64,
        only: Option<String>,
    },
    /// Revives, disables, enables or removes connections, in this order. They are those of an app, if it is given.
    Admin {
        verb: &'static str,
        cxns: Vec<String>,
        app: Option<&'static str>,
    },
    /// With `verify`, it is encrypted too.
    Backup {
        verify: bool,
    },
    Restore {
        backup: String,
    },
    Compact,
    /// Repairs the poll status of a connection, which was made unreadable before.
    Repair {
        cxn: String,
    },
    /// Removes the results of a connection, or all.
    RemoveResults {
        cxn: Option<String>,
    },
    Export,
}

/// What an action leaves, and how far it may get before.
struct Expected {
    cxns: Lines,
    results: BTreeMap<(String, i64), String>,
    /// The connections that are changed together. Without an order, any of them may be changed first.
    units: Vec<Vec<String>>,
    in_order: bool,
}

impl Action {
    /// Returns the arguments of the command. An import reads `import.jsonl`.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = Vec::new();
        let mut add = |more: &[&str]| arguments.extend(more.iter().map(ToString::to_string));
        match self {
            Self::Import { prune, .. } => {
                add(&["import", "import.jsonl"]);
                add(if *prune { &["--prune", "--yes", "--prune-at-most", "100%"] } else { &[] });
            }
            Self::Poll { now, only } => {
                add(&["poll", APP, "--per-host", "64", "--retry", RETRY, "--metrics", "metrics", "--now"]);
                add(&[&now.to_string()]);
                add(&only.as_ref().map_or(vec![], |cxn| vec!["--cxn", cxn]));
            }
            Self::Admin { verb, cxns, app } => {
                add(&[verb, "--all", "--yes"]);
                match app {
                    Some(app) => add(&["--app", app]),
                    None => cxns.iter().for_each(|cxn| add(&[cxn])),
                }
            }
            Self::Backup { verify: false } => add(&["store", "backup", "--json"]),
            Self::Backup { verify: true } => add(&["store", "backup", "--verify", "--recipient", BACKUP_RECIPIENT]),
            Self::Restore { backup } => {
                add(&["store", "restore", "--yes", &format!("store/backups/{backup}"), "--identity", BACKUP_KEY]);
            }
            Self::Compact => add(&["store", "compact"]),
            Self::Repair { .. } => add(&["store", "check", "--repair"]),
            Self::RemoveResults { cxn: Some(cxn) } => add(&["results", "--remove", cxn]),
            Self::RemoveResults { cxn: None } => add(&["results", "--remove", "--all", "--yes"]),
            Self::Export => add(&["export", "--force", EXPORTED]),
        }
        arguments
    }

    /// Whether the command may write a backup.
    fn backs_up(&self) -> bool {
        matches!(self, Self::Backup { .. } | Self::Compact | Self::Poll { only: None, .. })
    }

    fn expected(&self, before: &Content) -> Expected {
        let (mut cxns, mut results) = (before.cxns.clone(), before.results.clone());
        let (mut units, mut in_order) = (Vec::new(), true);
        match self {
            Self::Import { lines, prune } => {
                let ids = lines.iter().map(id).collect::<Vec<_>>();
                cxns.extend(lines.iter().map(|line| (id(line), imported(line, before.cxns.get(&id(line))))));
                units.extend(ids.chunks(TX_BATCH).map(<[_]>::to_vec));
                if *prune {
                    let app = |line: &Value| line["appId"] == lines[0]["appId"];
                    let absent = before.cxns.iter().filter(|(id, line)| app(line) && !ids.contains(id));
                    let absent: Vec<_> = in_order_of_keys(absent.map(|(_, line)| line)).collect();
                    remove(&absent, &mut cxns, &mut results);
                    units.extend(absent.chunks(TX_BATCH).map(<[_]>::to_vec));
                }
            }
            Self::Poll { now, only } => {
                in_order = false;
                for (id, line) in before.cxns.iter().filter(|(id, line)| is_polled(id, line, *now, only.as_deref())) {
                    let failure = failure(line);
                    let polled = polled_line(&line.to_string(), RETRY, *now, failure);
                    cxns.insert(id.clone(), comparable(serde_json::from_str(&polled).unwrap()));
                    units.push(vec![id.clone()]);
                    // A call without a reply leaves nothing to keep.
                    if failure != Some("http") {
                        results.insert((id.clone(), *now), failure.unwrap_or("ok").to_owned());
                        remove_old_results(id, &mut results);
                    }
                }
            }
            Self::Admin { verb: "remove", cxns: removed, .. } => {
                remove(removed, &mut cxns, &mut results);
                units.extend(removed.chunks(TX_BATCH).map(<[_]>::to_vec));
            }
            Self::Admin { verb, cxns: changed, .. } => {
                for id in changed {
                    let line = cxns.get_mut(id).unwrap();
                    match *verb {
                        "disable" => line["disabled"] = true.into(),
                        "enable" => drop(line.as_object_mut().unwrap().remove("disabled")),
                        _ => *line = serde_json::from_str(&revived_line(&line.to_string())).unwrap(),
                    }
                }
                units.extend(changed.chunks(TX_BATCH).map(<[_]>::to_vec));
            }
            Self::Restore { backup } => {
                let backup = before.backups.iter().find(|known| known.name == *backup);
                cxns.clone_from(&backup.expect("the backup is known").cxns);
                units.push(before.cxns.keys().chain(cxns.keys()).cloned().collect());
            }
            Self::Repair { cxn } => {
                drop(cxns.get_mut(cxn).unwrap().as_object_mut().unwrap().remove("pollStatus"));
                // A restore may leave results of connections that are not in the backup.
                results.retain(|(id, _), _| cxns.contains_key(id));
            }
            Self::RemoveResults { cxn } => results.retain(|(id, _), _| cxn.as_ref().is_some_and(|cxn| cxn != id)),
            Self::Backup { .. } | Self::Compact | Self::Export => {}
        }
        Expected { cxns, results, units, in_order }
    }

    /// Asserts that the store holds what the command leaves.
    ///
    /// If the command was killed, the store may hold something on the way to it.
    pub fn assert_left(&self, before: &Content, found: &Content, was_killed: bool) {
        let expected = self.expected(before);
        // The verification repairs what a killed repair did not.
        if was_killed && !matches!(self, Self::Repair { .. }) {
            expected.assert_on_the_way(before, &found.cxns);
        } else {
            assert_same(&expected.cxns, &found.cxns);
        }
        self.assert_results(&expected, before, found, was_killed);
        self.assert_backups(before, found, was_killed);
        let is_exported = found.exported == before.exported && (was_killed || !matches!(self, Self::Export));
        let may_export = matches!(self, Self::Export) && found.exported.as_ref() == Some(&before.cxns);
        assert!(is_exported || may_export, "the exported file is neither old nor new");
    }

    fn assert_results(&self, expected: &Expected, before: &Content, found: &Content, was_killed: bool) {
        if !was_killed {
            assert_same(&expected.results, &found.results);
        }
        for (key, class) in &found.results {
            let known = [&before.results, &expected.results].map(|results| results.get(key));
            assert!(known.contains(&Some(class)), "the result {key:?} is unknown: {class}");
        }
        let lost = |key: &&(String, i64)| expected.results.contains_key(*key) && !found.results.contains_key(*key);
        assert_eq!(before.results.keys().find(lost), None, "a result is lost");
        if let Self::Poll { now, .. } = self {
            for id in found.cxns.keys().filter(|id| found.cxns[*id] != before.cxns[*id]) {
                let key = (id.clone(), *now);
                let has_result = found.results.contains_key(&key) || !expected.results.contains_key(&key);
                assert!(has_result, "the outcome of {id} is recorded, and its result is not there");
            }
        }
    }

    /// Backups hold what the store held; only the oldest are removed.
    fn assert_backups(&self, before: &Content, found: &Content, was_killed: bool) {
        let new: Vec<_> = found.backups.iter().filter(|backup| !before.backups.contains(backup)).collect();
        assert!(new.is_empty() || (self.backs_up() && new.len() == 1), "unexpected backups");
        for backup in &new {
            assert_same(&found.cxns, &backup.cxns);
        }
        // Within a second, a new backup takes the name of the one before.
        let is_replaced = |name: &String| new.iter().any(|backup| backup.name == *name);
        let former = before.backups.iter().rev().map(|backup| &backup.name).filter(|name| !is_replaced(name));
        let lost =
            former.take(MAX_BACKUPS - new.len()).find(|name| found.backups.iter().all(|backup| backup.name != **name));
        assert_eq!(lost, None, "a backup is lost");
        if matches!(self, Self::Backup { .. } | Self::Compact) && !was_killed {
            assert_same(&found.cxns, &found.backups.last().expect("a backup was acknowledged").cxns);
            // One more is the last that was checked.
            assert!(found.backups.len() <= MAX_BACKUPS + 1, "{} backups", found.backups.len());
        }
    }
}

impl Expected {
    /// Asserts that each connection is old or new, and each unit too.
    fn assert_on_the_way(&self, before: &Content, found: &Lines) {
        let changes = |id: &&String| before.cxns.get(*id) != self.cxns.get(*id);
        let is_new = |id: &String| found.get(id) == self.cxns.get(id);
        for id in found.keys().chain(before.cxns.keys()) {
            let is_old = found.get(id) == before.cxns.get(id);
            assert!(is_old || is_new(id), "{id} is neither old nor new: {:?}", found.get(id));
        }
        let mut all_new = true;
        for unit in &self.units {
            let changed: Vec<_> = unit.iter().filter(changes).collect();
            let new = changed.iter().filter(|id| is_new(id)).count();
            assert!(new == 0 || new == changed.len(), "{new} of {} connections of a unit are new", changed.len());
            assert!(all_new || new == 0 || !self.in_order, "a unit is new, and one before it is old");
            all_new &= new == changed.len();
        }
    }
}

fn id(line: &Value) -> String {
    line["cxnId"].as_str().unwrap().to_owned()
}

/// Returns an imported connection as it is exported, with what an import keeps of the stored one.
fn imported(line: &Value, stored: Option<&Value>) -> Value {
    let mut new: Value = serde_json::from_str(&exported_line(&line.to_string())).unwrap();
    for key in ["batchCode", "disabled", "pollStatus"] {
        if let Some(value) = stored.and_then(|stored| stored.get(key)) {
            new[key] = value.clone();
        }
    }
    new
}

/// Returns the ids of connections of one app in the order of their keys in the store.
pub fn in_order_of_keys<'a>(lines: impl Iterator<Item = &'a Value>) -> impl Iterator<Item = String> {
    let sorted: BTreeMap<_, _> = lines.map(|line| (line["batchCode"].as_u64(), id(line))).collect();
    sorted.into_values()
}

fn remove(ids: &[String], cxns: &mut Lines, results: &mut BTreeMap<(String, i64), String>) {
    cxns.retain(|id, _| !ids.contains(id));
    results.retain(|(id, _), _| !ids.contains(id));
}

/// Whether a run polls a connection: it is due once it was not polled at this time.
fn is_polled(id: &str, line: &Value, now: i64, only: Option<&str>) -> bool {
    let is_due = line["pollStatus"]["default"]["lastRun"].as_i64().unwrap_or(0) < now;
    let is_ours = line["appId"] == format!("app:{APP}") && line["disabled"] != true;
    is_ours && only.map_or(is_due, |only| only == id)
}

/// Returns the class of the failure of every poll of a site; `None` if the site is well.
fn failure(line: &Value) -> Option<&'static str> {
    let behaviours = [("/status-500", "http"), ("/api-error", "api")];
    let url = line["siteUrl"].as_str().unwrap();
    behaviours.iter().find(|(behaviour, _)| url.contains(behaviour)).map(|(_, class)| *class)
}

/// Removes results of a connection that are beyond [`MAX_RESULTS`].
fn remove_old_results(cxn_id: &str, results: &mut BTreeMap<(String, i64), String>) {
    let (mut all, mut failures) = (0, 0);
    let of_cxn: Vec<_> = results.iter().filter(|((id, _), _)| id == cxn_id).map(|(key, _)| key.clone()).collect();
    for key in of_cxn.iter().rev() {
        let failed = results[key] != "ok";
        all += 1;
        failures += usize::from(failed);
        if all > MAX_RESULTS.0 || (failed && failures > MAX_RESULTS.1) {
            results.remove(key);
        }
    }
}

/// Asserts that two maps are the same, and names the first difference.
fn assert_same<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    expected: &BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
) {
    if let Some(key) = expected.keys().chain(found.keys()).find(|key| expected.get(key) != found.get(key)) {
        panic!("{key:?} is {:?}, not {:?}", found.get(key), expected.get(key));
    }
}

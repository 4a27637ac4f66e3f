//! A store with simulated sites, on which commands are killed.

use std::collections::HashMap;
use std::fs;
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::HOUR;
use super::action::{Action, MAX_BACKUPS, MAX_RESULTS, in_order_of_keys};
use super::content::Content;
use crate::testkit::{APP, MIDNIGHT, Random, World, code, was_killed};

/// The kinds of commands. Before the second of a pair, the first makes that there is something to do.
pub const KINDS: [(&str, &str); 15] = [
    ("import", "import"),
    ("import", "prune"),
    ("import", "poll"),
    ("import", "poll-one"),
    ("enable", "disable"),
    ("disable", "enable"),
    ("poll", "revive"),
    ("import", "remove"),
    ("import", "backup"),
    ("import", "verify"),
    ("backup", "restore"),
    ("import", "compact"),
    ("poll", "repair"),
    ("poll", "remove-results"),
    ("import", "export"),
];
/// The behaviours of sites that are polled.
const BEHAVIOURS: [&str; 4] = ["ok", "status-500", "ok", "api-error"];
/// How many sites are polled, and how many connections of another app are not.
const POLLED: u32 = 24;
const OTHERS: u32 = 300;
/// The app of connections that are never polled.
const OTHER_APP: &str = "org.example.other";
/// The time between two runs. After it every site is due.
const BETWEEN_RUNS: i64 = 25 * HOUR;

/// How a command ends.
#[derive(Debug, Clone)]
pub enum Death {
    Never,
    /// At a failpoint: `Synced:3`.
    At(String),
    /// At a random time.
    AnyTime,
}

/// A store, and what it holds.
pub struct Scene {
    pub world: World,
    content: Content,
    random: Random,
    /// The version of the connections that are imported next.
    version: u32,
    /// The time of the last run.
    now: i64,
    /// How many entries were damaged.
    damaged: usize,
    /// How long commands of a kind take.
    durations: HashMap<&'static str, Duration>,
}

impl Scene {
    /// Makes a scene without a store.
    pub fn new(seed: u64) -> Self {
        let world = World::new();
        for dir in ["metrics", "exports", "tmp"] {
            fs::create_dir(world.path(dir)).unwrap();
        }
        let (all, failures) = MAX_RESULTS;
        world.append_config(&format!(
            "[backups]\nkeep = {MAX_BACKUPS}\n[results]\nall = {all}\nfailures = {failures}\n\
             [[listeners]]\nevent = \"civi_cxn.poll\"\nkeep = true\ncalls = [{{ api = \"System.get\" }}]\n"
        ));
        let random = Random::new(seed);
        Self {
            world,
            content: Content::default(),
            random,
            version: 0,
            now: MIDNIGHT,
            damaged: 0,
            durations: HashMap::new(),
        }
    }

    /// Whether nothing has been imported.
    pub fn is_empty(&self) -> bool {
        self.content.cxns.is_empty()
    }

    /// Writes as many backups as are kept, so that the next one displaces another.
    pub fn fill_backups(&mut self) {
        while self.content.backups.len() < MAX_BACKUPS {
            self.run("backup", &Death::Never);
            // Backups of one second may have the same name.
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// Runs one command of a kind, which dies as it is to. Asserts what the store and the files beside it hold then.
    ///
    /// Returns whether the command was killed. It is not if it ends earlier, or does not reach the failpoint.
    pub fn run(&mut self, kind: &'static str, death: &Death) -> bool {
        was_killed(&self.output_of(kind, death))
    }

    /// Does what [`Scene::run`] does, and returns how the command ended.
    pub fn output_of(&mut self, kind: &'static str, death: &Death) -> Output {
        let (before, _) = KINDS.iter().find(|(_, second)| *second == kind).unwrap();
        // All sites that are polled may be disabled or removed.
        let mut before = [before, "import", "enable", "poll"].into_iter().cycle();
        let action = loop {
            match self.action(kind) {
                Some(action) => break action,
                None => _ = self.run(before.next().unwrap(), &Death::Never),
            }
        };
        match &action {
            Action::Import { lines, .. } => {
                let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
                fs::write(self.world.path("import.jsonl"), lines.join("\n")).unwrap();
            }
            Action::Repair { cxn } => self.damage(cxn),
            _ => {}
        }
        let arguments = action.arguments();
        let mut command = self.world.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        command.env("TMPDIR", self.world.path("tmp"));
        if let Death::At(point) = death {
            command.env("CXNPOLL_DIE_AT", point);
        }
        let began = Instant::now();
        let mut child = command.spawn().unwrap();
        if matches!(death, Death::AnyTime) {
            let usual = self.durations.get(kind).copied().unwrap_or(Duration::from_millis(50));
            thread::sleep(self.random.duration_below(usual));
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        let was_killed = was_killed(&output);
        println!("{}: {death:?}{}", arguments.join(" "), if was_killed { ", killed" } else { "" });
        if !was_killed {
            let may_fail = kind == "poll-one" && code(&output) == 3;
            assert!(code(&output) == 0 || may_fail, "{output:?}");
            self.durations.insert(kind, began.elapsed());
        }
        if kind == "repair" {
            let check = self.world.json(&["store", "check", "--repair", "--json"]);
            assert_eq!(check["faults"], check["mended"], "{check}");
            let quarantine = fs::read_to_string(self.world.store().join("kept/set-aside.jsonl")).unwrap();
            assert!(quarantine.lines().count() >= self.damaged, "an entry was removed without a copy");
        }
        let found = Content::read(&self.world, &self.content);
        action.assert_left(&self.content, &found, was_killed);
        self.content = found;
        self.assert_metrics(kind == "poll" && !was_killed);
        output
    }

    /// Returns a command of a kind; `None` if there is nothing that it could change.
    fn action(&mut self, kind: &'static str) -> Option<Action> {
        if self.is_empty() && kind != "import" {
            return None;
        }
        self.version += 1;
        let status = |line: &Value| line["pollStatus"]["default"]["lastRun"].as_i64().unwrap_or(0) > 0;
        Some(match kind {
            "import" => {
                let all = POLLED + OTHERS;
                let length = if self.is_empty() { all } else { [1, 20, all][self.random.below(3)] };
                let first = u32::try_from(self.random.below((all - length + 1) as usize)).unwrap();
                Action::Import {
                    lines: (first..first + length).map(|number| self.line(number)).collect(),
                    prune: false,
                }
            }
            "prune" => {
                let lines: Vec<_> = (POLLED..POLLED + OTHERS).map(|number| self.line(number)).collect();
                let kept = 1 + self.random.below(lines.len());
                Action::Import { lines: lines.into_iter().take(kept).collect(), prune: true }
            }
            "poll" => {
                self.now += if self.random.below(4) == 0 { 0 } else { BETWEEN_RUNS };
                Action::Poll { now: self.now, only: None }
            }
            "poll-one" => {
                let only = self.pick(|line| line["appId"] == format!("app:{APP}") && line["disabled"] != true)?;
                self.now += BETWEEN_RUNS;
                Action::Poll { now: self.now, only: Some(only) }
            }
            "disable" => self.admin("disable", |line| line["disabled"] != true)?,
            "enable" => self.admin("enable", |line| line["disabled"] == true)?,
            "revive" => self.admin("revive", status)?,
            "remove" => self.admin("remove", |_| true)?,
            "backup" => Action::Backup { verify: false },
            "verify" => Action::Backup { verify: true },
            "restore" => {
                if self.content.backups.is_empty() {
                    return None;
                }
                let backup = &self.content.backups[self.random.below(self.content.backups.len())];
                Action::Restore { backup: backup.name.clone() }
            }
            "compact" => Action::Compact,
            "repair" => Action::Repair { cxn: self.pick(status)? },
            "remove-results" => {
                let ids: Vec<_> = self.content.results.keys().map(|(id, _)| id.clone()).collect();
                if ids.is_empty() {
                    return None;
                }
                let one = self.random.below(4) > 0;
                Action::RemoveResults { cxn: one.then(|| ids[self.random.below(ids.len())].clone()) }
            }
            "export" => Action::Export,
            other => panic!("{other} is no kind"),
        })
    }

    /// Changes a connection of which `is_candidate` is true, a few, or all of an app.
    fn admin(&mut self, verb: &'static str, is_candidate: impl Fn(&Value) -> bool) -> Option<Action> {
        let first = self.pick(&is_candidate)?;
        if self.random.below(6) == 0 {
            let app = &self.content.cxns[&first]["appId"];
            let lines = self.content.cxns.values().filter(|line| line["appId"] == *app);
            let cxns = in_order_of_keys(lines).collect();
            let app = if *app == format!("app:{APP}") { APP } else { OTHER_APP };
            return Some(Action::Admin { verb, cxns, app: Some(app) });
        }
        let mut cxns = vec![first];
        for _ in 0..self.random.below(3) {
            cxns.extend(self.pick(&is_candidate).filter(|more| !cxns.contains(more)));
        }
        Some(Action::Admin { verb, cxns, app: None })
    }

    /// Picks a connection; `None` if there is none of that sort.
    fn pick(&mut self, is_candidate: impl Fn(&Value) -> bool) -> Option<String> {
        let candidates: Vec<_> = self.content.cxns.iter().filter(|(_, line)| is_candidate(line)).collect();
        (!candidates.is_empty()).then(|| candidates[self.random.below(candidates.len())].0.clone())
    }

    /// Returns a connection of this version as a line of an import.
    fn line(&self, number: u32) -> Value {
        let behaviour = BEHAVIOURS[number as usize % BEHAVIOURS.len()];
        let mut line: Value = serde_json::from_str(&self.world.site(number, behaviour).jsonl()).unwrap();
        line["siteUrl"] = format!("{}?v={}", line["siteUrl"].as_str().unwrap(), self.version).into();
        line["batchCode"] = number.into();
        if number >= POLLED {
            line["appId"] = format!("app:{OTHER_APP}").into();
            line["secret"] = self.world.site(self.version, "ok").secret_base64.into();
            line["perm"] = json!({"version": self.version});
        }
        line
    }

    /// Makes the poll status of a connection unreadable.
    fn damage(&mut self, cxn: &str) {
        let batch_code = u16::try_from(self.content.cxns[cxn]["batchCode"].as_u64().unwrap()).unwrap();
        let statuses = self.world.database().open_tree("status").unwrap();
        let key = statuses.iter().keys().map(Result::unwrap).find(|key| key[4..6] == batch_code.to_be_bytes()).unwrap();
        statuses.insert(key, &[99, 1, 2, 3]).unwrap();
        self.damaged += 1;
    }

    /// Asserts that the file of metrics is whole if there is one, or if there must be one.
    fn assert_metrics(&self, must_exist: bool) {
        let files: Vec<_> =
            fs::read_dir(self.world.path("metrics")).unwrap().map(|entry| entry.unwrap().path()).collect();
        let mut metrics = files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "prom"));
        let text = metrics.next().map(|path| fs::read_to_string(path).unwrap());
        assert!(text.is_some() || !must_exist, "there are no metrics");
        assert!(text.is_none_or(|text| text.contains("cxnpoll_store_bytes{") && text.ends_with('\n')));
    }
}

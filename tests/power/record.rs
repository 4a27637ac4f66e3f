//! Recorded commands: what each did to the file system, and what the store held when it had ended.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use civisite::Site;
use serde_json::{Value, json};

use super::disk::Disk;
use super::trace::{CALLS, Event, Reader};
use crate::testkit::{APP, MIDNIGHT, World, code, stderr};

/// Lines of an export by their cxnId.
pub type Lines = BTreeMap<String, Value>;

/// The store within the recorded directory. Its parents do not exist at first.
pub const STORE: &str = "var/lib/store";

/// Commands in the order in which they ran, without a store at first.
pub struct Recording {
    pub events: Vec<Event>,
    pub states: Vec<State>,
}

/// What the store held when a command had ended.
pub struct State {
    pub command: String,
    /// When the command had ended.
    pub time: usize,
    /// Whether the command succeeded, so that the data must be durable.
    pub acknowledged: bool,
    pub lines: Lines,
}

/// One command.
pub struct Step {
    arguments: Vec<String>,
    /// The text of an import.
    input: Option<String>,
    /// After how many seconds the command is killed.
    killed: Option<f64>,
}

impl Step {
    fn import(lines: impl IntoIterator<Item = String>) -> Self {
        let input = lines.into_iter().collect::<Vec<_>>().join("\n");
        Self { arguments: vec!["import".into(), "import.jsonl".into()], input: Some(input), killed: None }
    }

    fn poll(minutes: i64) -> Self {
        let now = (MIDNIGHT + minutes * 60).to_string();
        let arguments = ["poll", APP, "--per-host", "64", "--retry", "1min (x*)", "--now", &now];
        Self { arguments: arguments.map(str::to_owned).into(), input: None, killed: None }
    }

    fn read(command: &str) -> Self {
        Self { arguments: vec![command.to_owned()], input: None, killed: None }
    }

    fn killed(self, after: f64) -> Self {
        Self { killed: Some(after), ..self }
    }
}

/// Returns commands that create a store and use it with few connections.
pub fn few(world: &World) -> Vec<Step> {
    let behaviours = ["ok", "status-500", "every-2", "fail-first-1"];
    let line = |number: usize, more: &str| {
        let mut site = world.site(u32::try_from(number).unwrap(), behaviours[number % behaviours.len()]);
        site.site_url.push_str(more);
        site.jsonl()
    };
    vec![
        Step::import((0..12).map(|number| line(number, ""))),
        Step::import((6..20).map(|number| line(number, "?ms=1"))),
        Step::poll(0),
        Step::read("status"),
        Step::poll(5),
        Step::import((0..20).map(|number| line(number, "?ms=2"))),
        Step::poll(10),
        Step::read("export"),
    ]
}

/// Returns enough commands to make the database reuse parts of its file, and commands that are killed.
pub fn many(world: &World) -> Vec<Step> {
    let line = |number: u32, filler: char| {
        let mut site = world.site(100 + number, if number.is_multiple_of(7) { "every-2" } else { "ok" });
        let length = 400 + 60 * usize::try_from(number % 20).unwrap();
        site.site_url = format!("{}?ms=1&filler={}", site.site_url, filler.to_string().repeat(length));
        site.jsonl()
    };
    let import = |range: std::ops::Range<u32>, filler| Step::import(range.map(|number| line(number, filler)));
    let mut steps = few(world);
    steps.extend([
        import(0..800, 'a'),
        Step::poll(20),
        import(0..800, 'b'),
        import(400..800, 'c'),
        Step::poll(30),
        import(0..800, 'd').killed(0.15),
        Step::read("status"),
        import(0..600, 'e'),
        Step::poll(40).killed(0.7),
        Step::poll(50),
        import(0..800, 'f'),
        Step::import((0..20).map(|number| world.site(number, "ok").jsonl())),
        import(0..800, 'g'),
        Step::poll(60),
        Step::read("export"),
    ]);
    steps
}

/// Returns large sessions: the database reuses parts of its file that it freed in the same session.
pub fn large_sessions(world: &World) -> Vec<Step> {
    let line = |number: u32, filler: char| {
        let mut site = world.site(number, "ok");
        site.site_url = format!("{}?filler={}", site.site_url, filler.to_string().repeat(1_800));
        site.jsonl()
    };
    let import = |filler| Step::import((0..4_000).map(move |number| line(number, filler)));
    ['a', 'b', 'c', 'd'].into_iter().map(import).collect()
}

/// Returns imports of connections with a long `perm` each.
///
/// One `perm` is too long for a leaf of the database. sled never syncs a value that it stores outside of its log.
pub fn large_perms(world: &World) -> Vec<Step> {
    let import = |letter: &str| {
        let site = |number| {
            let length = if number == 99 { 150_000 } else { 4_000 };
            let perm = Some(json!({"grant": format!("{number}{}", letter.repeat(length))}));
            Site { perm, ..world.site(number, "ok") }.jsonl()
        };
        Step::import((0..100).map(site))
    };
    vec![import("a"), Step::poll(0), import("b"), Step::poll(5), import("c"), import("d")]
}

impl Recording {
    /// Runs the steps and writes the record to a directory, so that it can be used again.
    pub fn make(world: &World, steps: Vec<Step>, record: &Path) -> Self {
        let root = world.dir.path().to_str().unwrap().to_owned();
        fs::write(record.join("root"), &root).unwrap();
        for (number, step) in steps.into_iter().enumerate() {
            let name = |extension: &str| record.join(format!("{number:03}.{extension}"));
            if let Some(input) = &step.input {
                fs::write(world.dir.path().join("import.jsonl"), input).unwrap();
            }
            let output = traced(world, &step, &name("trace")).output().unwrap();
            let succeeded = code(&output) == 0;
            assert!(succeeded || step.killed.is_some(), "{output:?}");
            let writes = !matches!(step.arguments[0].as_str(), "status" | "export");
            let acknowledged = if succeeded && writes { "acknowledged" } else { "not acknowledged" };
            fs::write(name("command"), format!("{acknowledged}\n{}", step.arguments.join(" "))).unwrap();
            let copy = record.join("copy");
            copy_dir(&world.dir.path().join(STORE), &copy);
            let export = on_store(world, &copy, &["export"]).output().unwrap();
            assert_eq!(code(&export), 0, "{export:?}");
            fs::write(name("lines"), export.stdout).unwrap();
            fs::remove_dir_all(copy).unwrap();
        }
        let recording = Self::load(record);
        recording.assert_faithful(&world.dir.path().join(STORE), record);
        recording
    }

    /// Reads a record.
    pub fn load(record: &Path) -> Self {
        let root = fs::read_to_string(record.join("root")).unwrap();
        let mut reader = Reader::default();
        let mut states = Vec::new();
        for number in 0.. {
            let name = |extension: &str| record.join(format!("{number:03}.{extension}"));
            let Ok(command) = fs::read_to_string(name("command")) else { break };
            reader.read(&fs::read_to_string(name("trace")).unwrap(), &root);
            let (acknowledged, command) = command.split_once('\n').unwrap();
            states.push(State {
                command: command.to_owned(),
                time: reader.time,
                acknowledged: acknowledged == "acknowledged",
                lines: lines(&fs::read(name("lines")).unwrap()),
            });
        }
        Self { events: reader.events, states }
    }

    /// Asserts that the operations, with nothing lost, produce what the commands wrote.
    fn assert_faithful(&self, store: &Path, record: &Path) {
        let copy = record.join("copy");
        Disk::follow(&self.events).rebuild_all(&copy);
        assert_eq!(contents(&copy.join(STORE)), contents(store), "the trace was misread");
        fs::remove_dir_all(copy).unwrap();
    }

    /// Returns what a cut at `time` may leave in the store.
    ///
    /// This is the state that must be there, `None` before the first, and the later states whose lines may replace its
    /// lines.
    pub fn around(&self, time: usize) -> (Option<&State>, &[State]) {
        let last = self.states.iter().rposition(|state| state.acknowledged && state.time <= time);
        let in_flight = self.states.partition_point(|state| state.time <= time);
        let until = self.states.len().min(in_flight + 1);
        (last.map(|last| &self.states[last]), &self.states[last.map_or(0, |last| last + 1)..until])
    }
}

/// Returns the command with another store.
pub fn on_store(world: &World, store: &Path, arguments: &[&str]) -> Command {
    let mut command = world.command(arguments);
    command.env("CXNPOLL_STORE", store);
    command
}

/// Parses an export.
pub fn lines(export: &[u8]) -> Lines {
    let lines = export.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let lines = lines.map(|line| serde_json::from_slice::<Value>(line).expect("a line is JSON"));
    lines.map(|line| (line["cxnId"].as_str().expect("a line has a cxnId").to_owned(), line)).collect()
}

/// Returns the command of a step under strace.
fn traced(world: &World, step: &Step, trace: &Path) -> Command {
    let arguments: Vec<&str> = step.arguments.iter().map(String::as_str).collect();
    let command = on_store(world, &world.dir.path().join(STORE), &arguments);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-xx", "-s", "10000000", "-e", CALLS, "-o"]).arg(trace);
    if let Some(inject) = env::var_os("CXNPOLL_INJECT") {
        strace.arg("-e").arg(inject);
    }
    if let Some(seconds) = step.killed {
        strace.args(["timeout", "-s", "KILL"]).arg(seconds.to_string());
    }
    strace.arg(command.get_program()).args(command.get_args()).env_clear();
    strace.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    strace.current_dir(world.dir.path()).stdin(Stdio::null());
    strace
}

fn copy_dir(from: &Path, to: &Path) {
    let output: Output = Command::new("cp").arg("-a").args([from, to]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

/// Returns every file and directory below a directory; `None` is a directory.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(within) = dirs.pop() {
        for entry in fs::read_dir(dir.join(&within)).unwrap() {
            let name = within.join(entry.unwrap().file_name());
            let path = dir.join(&name);
            if path.is_dir() {
                dirs.push(name.clone());
                found.insert(name, None);
            } else {
                found.insert(name, Some(fs::read(path).unwrap()));
            }
        }
    }
    found
}

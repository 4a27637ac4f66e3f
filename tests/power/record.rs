//! Recorded commands: what each did to the file system, and what the store held when it had ended.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::content::Content;
use super::disk::Disk;
use super::steps::Step;
use super::trace::{CALLS, Event, Op, Reader};
use crate::testkit::{World, code, stderr};

/// The store within the recorded directory. Its parents do not exist at first.
pub const STORE: &str = "var/lib/store";
/// What the recorded directory held at first, within a record.
const INITIAL: &str = "initial";

/// Commands in the order in which they ran.
pub struct Recording {
    pub events: Vec<Event>,
    pub states: Vec<State>,
    /// Whether there was a store at first, which was damaged.
    pub began_damaged: bool,
}

/// What the store held when a command had ended.
pub struct State {
    pub command: String,
    /// When the command had ended.
    pub time: usize,
    /// Whether the command succeeded, so that the data must be durable.
    pub acknowledged: bool,
    pub content: Content,
}

impl Recording {
    /// Runs the steps and writes the record to a directory, so that it can be used again.
    pub fn make(world: &World, steps: Vec<Step>, record: &Path) -> Self {
        let root = world.dir.path().to_str().unwrap().to_owned();
        fs::write(record.join("root"), &root).unwrap();
        let store = world.dir.path().join(STORE);
        // What the store holds, of a copy, since reading it may change its files.
        let content_after = |number: usize, is_damaged: bool| {
            let copy = record.join("copy");
            copy_dir(&store, &copy);
            if is_damaged {
                assert_eq!(code(&on_store(world, &copy, &["store", "check", "--repair"]).output().unwrap()), 0);
            }
            let (content, _) = Content::read(world, &copy).unwrap();
            fs::write(record.join(format!("{number:03}.content")), serde_json::to_vec(&content).unwrap()).unwrap();
            fs::remove_dir_all(copy).unwrap();
        };
        if store.exists() {
            fs::create_dir_all(record.join(INITIAL).join(STORE).parent().unwrap()).unwrap();
            copy_dir(&store, &record.join(INITIAL).join(STORE));
            fs::write(record.join("000.command"), "acknowledged\nthe damage").unwrap();
            fs::write(record.join("000.trace"), "").unwrap();
            content_after(0, true);
        }
        let first = usize::from(store.exists());
        for (number, step) in (first..).zip(steps) {
            let name = |extension: &str| record.join(format!("{number:03}.{extension}"));
            if let Some(input) = &step.input {
                fs::write(world.dir.path().join("import.jsonl"), input).unwrap();
            }
            let output = traced(world, &step, &name("trace")).output().unwrap();
            let succeeded = code(&output) == 0;
            assert!(succeeded || step.killed.is_some(), "{:?}: {output:?}", step.arguments);
            let acknowledged = if succeeded && step.writes() { "acknowledged" } else { "not acknowledged" };
            fs::write(name("command"), format!("{acknowledged}\n{}", step.arguments.join(" "))).unwrap();
            content_after(number, false);
        }
        let recording = Self::load(record);
        recording.assert_faithful(&store, record);
        recording
    }

    /// Reads a record.
    pub fn load(record: &Path) -> Self {
        let root = fs::read_to_string(record.join("root")).unwrap();
        let initial = record.join(INITIAL);
        let began_damaged = initial.exists();
        let mut reader = Reader::default();
        if began_damaged {
            reader.events = durable(&initial);
        }
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
                content: serde_json::from_slice(&fs::read(name("content")).unwrap()).unwrap(),
            });
        }
        Self { events: reader.events, states, began_damaged }
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
    /// This is the state that must be there, `None` before the first, and the later states that may replace parts of it.
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

/// Returns operations before all others that write the files of a directory, and that are durable.
fn durable(dir: &Path) -> Vec<Event> {
    let mut events = Vec::new();
    for (path, bytes) in contents(dir) {
        let path = path.to_str().unwrap().to_owned();
        let ops = match bytes {
            None => vec![Op::MakeDir(path)],
            Some(bytes) => vec![Op::Create(path.clone()), Op::Write(path, 0, bytes)],
        };
        events.extend(ops.into_iter().map(|op| Event { began: 0, done: 0, op }));
    }
    events
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

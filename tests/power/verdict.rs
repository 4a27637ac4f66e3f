//! What became of a store after a cut, seen through the program.

use std::fmt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::common::{World, code, stderr};
use super::record::{Lines, STORE, State, lines, on_store};

/// The outcome of a cut.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// All that was acknowledged is there, and the store can be used.
    Sound,
    /// As before, and the program had something to say.
    SoundWithAWord(String),
    /// There is no store yet; nothing was acknowledged, and an import creates it.
    NoStoreYet,
    /// The program says that it can't open the store (exit code 74).
    CannotOpen(String),
    /// What was acknowledged is not there, and the program said something.
    LostWithAWord(String),
    /// The program says that there is no store (exit code 66), although something was acknowledged.
    Vanished(String),
    /// `store check` finds faults.
    Faults(String),
    /// What was acknowledged is not there, and the program says nothing.
    Lost(String),
    /// A command ended in a way that it never should.
    Broken(String),
}

impl Verdict {
    /// Whether a cut may end so.
    pub fn is_allowed(&self) -> bool {
        matches!(
            self,
            Self::Sound | Self::SoundWithAWord(_) | Self::NoStoreYet | Self::CannotOpen(_) | Self::LostWithAWord(_)
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Sound => write!(f, "sound"),
            Self::SoundWithAWord(word) => write!(f, "sound, with a word: {word}"),
            Self::NoStoreYet => write!(f, "no store yet"),
            Self::CannotOpen(word) => write!(f, "could not open: {word}"),
            Self::LostWithAWord(word) => write!(f, "lost, with a word: {word}"),
            Self::Vanished(word) => write!(f, "vanished: {word}"),
            Self::Faults(word) => write!(f, "faults: {word}"),
            Self::Lost(what) => write!(f, "lost: {what}"),
            Self::Broken(what) => write!(f, "broken: {what}"),
        }
    }
}

/// Judges the store in a rebuilt folder.
///
/// `acknowledged` has to be there; lines of `since` may have taken the place of its own.
pub fn judge(world: &World, rebuilt: &Path, acknowledged: Option<&State>, since: &[State]) -> Verdict {
    let run = |arguments: &[&str]| on_store(world, &rebuilt.join(STORE), arguments).output().unwrap();
    let check = run(&["store", "check", "--json"]);
    if code(&check) == 66 && acknowledged.is_none() {
        return match code(&import(world, rebuilt)) {
            0 => Verdict::NoStoreYet,
            other => Verdict::Broken(format!("import into what there is ends with {other}")),
        };
    }
    let faults = serde_json::from_slice::<Value>(&check.stdout).map(|check| check["firstFaults"].clone());
    match (code(&check), faults) {
        (0, _) => {}
        (74, Ok(faults)) => return Verdict::Faults(generalised(&faults.to_string())),
        (74, Err(_)) => return Verdict::CannotOpen(word(&check)),
        (66, _) => return Verdict::Vanished(word(&check)),
        (other, _) => return Verdict::Broken(format!("check ends with {other}: {}", word(&check))),
    }
    let export = run(&["export"]);
    if code(&export) != 0 {
        return Verdict::Broken(format!("export ends with {}: {}", code(&export), word(&export)));
    }
    let said = [word(&check), word(&export)].concat();
    if let Some(lost) = lost(&lines(&export.stdout), acknowledged, since) {
        return if said.is_empty() { Verdict::Lost(lost) } else { Verdict::LostWithAWord(said) };
    }
    let (more, check) = (import(world, rebuilt), run(&["store", "check"]));
    match (code(&more), code(&check)) {
        (0, 0) if said.is_empty() => Verdict::Sound,
        (0, 0) => Verdict::SoundWithAWord(said),
        (more, check) => Verdict::Broken(format!("a further import ends with {more}, a check of it with {check}")),
    }
}

/// What was acknowledged and is there in no form, or is there and never was.
fn lost(found: &Lines, acknowledged: Option<&State>, since: &[State]) -> Option<String> {
    let none = Lines::new();
    let before = acknowledged.map_or(&none, |state| &state.lines);
    let known = |id: &str, line: &Value| {
        before.get(id) == Some(line) || since.iter().any(|state| state.lines.get(id) == Some(line))
    };
    let missing = before.keys().filter(|id| !found.contains_key(*id)).count();
    let other = found.iter().filter(|(id, line)| before.contains_key(*id) && !known(id, line)).count();
    let strange = found.iter().filter(|(id, line)| !before.contains_key(*id) && !known(id, line)).count();
    (missing + other > 0 || strange > 0)
        .then(|| format!("{missing} lines of {} missing, {other} not as acknowledged, {strange} strange", before.len()))
}

/// Imports one connection more.
fn import(world: &World, rebuilt: &Path) -> Output {
    let line = world.site(9_999, "ok").jsonl();
    let file = rebuilt.join("more.jsonl");
    std::fs::write(&file, line).unwrap();
    let mut command: Command = on_store(world, &rebuilt.join(STORE), &["import"]);
    command.arg(file).output().unwrap()
}

/// The first line that the program said.
fn word(output: &Output) -> String {
    let said = stderr(output);
    generalised(said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default())
}

/// A message without what differs from cut to cut, and no longer than a line.
fn generalised(message: &str) -> String {
    let words = message.split(' ').map(|word| {
        if word.contains('/') {
            word.rsplit('/').next().map_or_else(String::new, |name| format!("…/{name}"))
        } else if word.chars().any(|c| c.is_ascii_digit()) {
            "N".to_owned()
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ").chars().take(160).collect()
}

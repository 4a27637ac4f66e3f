//! The state of a store after a cut, as the program sees it.

use std::fmt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::content::Content;
use super::record::{STORE, State, on_store};
use crate::testkit::{World, code, stderr};

/// The outcome of a cut.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// All acknowledged data is there, and the store can be used.
    Sound,
    /// As [`Verdict::Sound`], and the program printed a message.
    SoundWithMessage(String),
    /// There is no store yet. Nothing was acknowledged, and an import creates one.
    NoStoreYet,
    /// The program cannot open the store (exit code 74).
    CannotOpen(String),
    /// Acknowledged data is missing, and the program printed a message.
    LostWithMessage(String),
    /// The program finds no store (exit code 66), although data was acknowledged.
    Vanished(String),
    /// `store check` finds faults.
    Faults(String),
    /// Acknowledged data is missing, and the program printed nothing.
    Lost(String),
    /// A command ended in a way that it never may.
    Broken(String),
}

impl Verdict {
    /// Whether a cut may have this outcome: acknowledged data is there.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Sound | Self::SoundWithMessage(_) | Self::NoStoreYet)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Sound => write!(f, "sound"),
            Self::SoundWithMessage(message) => write!(f, "sound, with a message: {message}"),
            Self::NoStoreYet => write!(f, "no store yet"),
            Self::CannotOpen(message) => write!(f, "cannot open: {message}"),
            Self::LostWithMessage(message) => write!(f, "lost, with a message: {message}"),
            Self::Vanished(message) => write!(f, "no store: {message}"),
            Self::Faults(faults) => write!(f, "faults: {faults}"),
            Self::Lost(what) => write!(f, "lost: {what}"),
            Self::Broken(what) => write!(f, "broken: {what}"),
        }
    }
}

/// Checks the store in a rebuilt directory.
///
/// What `acknowledged` holds must be there. What the states of `since` hold may have replaced it. A store that was damaged
/// before the commands is repaired first.
pub fn check(
    world: &World,
    rebuilt: &Path,
    was_damaged: bool,
    acknowledged: Option<&State>,
    since: &[State],
) -> Verdict {
    let store = rebuilt.join(STORE);
    let run = |arguments: &[&str]| on_store(world, &store, arguments).output().unwrap();
    let repair = if was_damaged { &["--repair"][..] } else { &[] };
    let check = run(&[&["store", "check", "--json"], repair].concat());
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
        (74, Err(_)) => return Verdict::CannotOpen(first_line(&check)),
        (66, _) => return Verdict::Vanished(first_line(&check)),
        (other, _) => return Verdict::Broken(format!("check ends with {other}: {}", first_line(&check))),
    }
    let (content, message) = match Content::read(world, &store) {
        Ok((content, message)) => (content, first_line(&check) + &message),
        Err(failure) => return Verdict::Broken(failure),
    };
    if let Some(lost) = content.lost(acknowledged, since) {
        return if message.is_empty() { Verdict::Lost(lost) } else { Verdict::LostWithMessage(message) };
    }
    let (more, check) = (import(world, rebuilt), run(&["store", "check"]));
    match (code(&more), code(&check)) {
        (0, 0) if message.is_empty() => Verdict::Sound,
        (0, 0) => Verdict::SoundWithMessage(message),
        (more, check) => Verdict::Broken(format!("a further import ends with {more}, a check of it with {check}")),
    }
}

/// Imports one more connection.
fn import(world: &World, rebuilt: &Path) -> Output {
    let line = world.site(9_999, "ok").jsonl();
    let file = rebuilt.join("more.jsonl");
    std::fs::write(&file, line).unwrap();
    let mut command: Command = on_store(world, &rebuilt.join(STORE), &["import"]);
    command.arg(file).output().unwrap()
}

/// Returns the first line of standard error.
pub fn first_line(output: &Output) -> String {
    let text = stderr(output);
    generalised(text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default())
}

/// Removes numbers and paths, which differ from cut to cut, and shortens a message.
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

//! Listeners that are programs in any language: JSON lines on their standard input and output.
//!
//! `fixtures/listeners/README.md` is what people read who write one.

use std::collections::{BTreeMap, HashSet};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::{debug, error, info, warn};

use crate::model::safe_text;

/// A program, and how it is started.
#[derive(Debug, Default)]
pub(crate) struct Program {
    /// The program and its arguments; no shell takes part.
    pub(crate) command: Vec<String>,
    /// Where it works.
    pub(crate) folder: PathBuf,
    /// Beside what [`KEPT_VARIABLES`] names.
    pub(crate) env: BTreeMap<String, String>,
    /// Whether it serves event after event.
    pub(crate) reuse: bool,
    /// How long one event may take.
    pub(crate) timeout: Duration,
    /// Whether it has answered an event of this process.
    pub(crate) answered: AtomicBool,
    /// What runs now, so that nothing is left behind.
    pub(crate) started: Mutex<HashSet<Pid>>,
}

/// What of our environment a program gets.
const KEPT_VARIABLES: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"];
/// The longest line that a program may say, in bytes.
const LINE: usize = 4 << 20;
/// How long a program may go on after its last event.
const FAREWELL: Duration = Duration::from_secs(2);
/// How much of what a program says at once is read.
const CHUNK: usize = 64 << 10;

/// A line that a program says. One of `call`, `log`, `keep`, `ok` and `error` is in it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Line {
    call: Option<String>,
    params: Map<String, Value>,
    log: Option<String>,
    level: Option<String>,
    keep: Option<Value>,
    ok: Option<bool>,
    stop: bool,
    error: Option<String>,
}

/// What a program may ask for while it works on an event.
pub(super) trait Host {
    /// An API call; the line that answers it.
    fn call(&mut self, method: &str, params: Map<String, Value>) -> Value;
    /// A value to keep.
    fn keep(&mut self, value: Value);
}

/// How an event ended.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Done; perhaps no other listener shall get the event.
    Ok { stop: bool },
    /// The program's own error.
    Failed(String),
    /// It did not answer; that costs this event alone.
    Lost(String),
    /// The program doesn't work at all: our own fault.
    Broken(String),
}

/// Why a conversation came to nothing.
enum Trouble {
    Timeout,
    Ended,
    Nonsense(String),
}

impl Program {
    /// Has an event answered, by the program in `slot` where there is one. A reused program that has ended meanwhile is
    /// replaced; one that doesn't answer is killed.
    pub(super) fn handle(&self, slot: &mut Option<Running>, event: &Value, host: &mut impl Host) -> Verdict {
        let deadline = Instant::now() + self.timeout;
        loop {
            let was_running = slot.is_some();
            let mut running = match slot.take() {
                Some(running) => running,
                None => match self.start() {
                    Ok(running) => running,
                    Err(message) => return Verdict::Broken(message),
                },
            };
            let trouble = match running.converse(event, deadline, host) {
                Ok(verdict) => {
                    self.answered.store(true, Ordering::Relaxed);
                    if self.reuse && running.is_silent() {
                        *slot = Some(running);
                    } else {
                        self.end(running, FAREWELL);
                    }
                    return verdict;
                }
                Err(trouble) => trouble,
            };
            let (said, last_words) = (running.said, running.last_words(&self.name()));
            let status = self.end(running, Duration::ZERO);
            if was_running && !said && matches!(trouble, Trouble::Ended) {
                debug!("{} has ended and is started again", self.name());
                continue;
            }
            let what = match &trouble {
                Trouble::Timeout => format!("took longer than {} s", self.timeout.as_secs_f64()),
                Trouble::Ended => format!("ended{status} before it answered"),
                Trouble::Nonsense(what) => format!("broke the protocol: {what}"),
            };
            let last_words = last_words.map_or(String::new(), |words| format!("; its last words: {words}"));
            let message = format!("the program {} {what}{last_words}", self.name());
            // A site may take its time, and a program that has begun to work may wait for it.
            let works = self.answered.load(Ordering::Relaxed) || (said && matches!(trouble, Trouble::Timeout));
            return if works { Verdict::Lost(message) } else { Verdict::Broken(message) };
        }
    }

    /// What people call it.
    fn name(&self) -> String {
        safe_text(&self.command.join(" "))
    }

    fn start(&self) -> Result<Running, String> {
        let Some((program, arguments)) = self.command.split_first() else { return Err("no program".to_owned()) };
        // A path is relative to the program's folder; a bare name is looked up in PATH.
        let path = if program.contains('/') { self.folder.join(program) } else { PathBuf::from(program) };
        let variables = KEPT_VARIABLES.iter().filter_map(|name| Some((name, env::var_os(name)?)));
        let mut command = Command::new(path);
        command.args(arguments).current_dir(&self.folder).env_clear().envs(variables).envs(&self.env);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // In a group of its own: a Ctrl-C is for us, and what it starts ends with it.
        let can_not = |error: &dyn std::fmt::Display| {
            let folder = self.folder.display();
            format!("can't start the program {} in {folder}: {error}", self.name())
        };
        let mut started = self.started();
        let mut child = command.process_group(0).spawn().map_err(|error| can_not(&error))?;
        started.insert(Pid::from_child(&child));
        drop(started);
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(can_not(&"no pipes"));
        };
        if let Err(error) = rustix::io::ioctl_fionbio(&input, true) {
            return Err(can_not(&error));
        }
        debug!("started {}", self.name());
        Ok(Running {
            child,
            input: Some(input),
            output,
            errors: Some(errors),
            heard: Buffer::default(),
            muttered: Buffer::default(),
            pending: Vec::new(),
            last_words: None,
            said: false,
        })
    }

    /// Ends a program: closes its input, waits, and kills it and what it started. Tells how it ended.
    pub(super) fn end(&self, mut running: Running, wait: Duration) -> String {
        running.input = None;
        let until = Instant::now() + wait;
        let mut pause = Duration::from_micros(200);
        // It stays a zombie, so that its number can't be another's until all that it started is killed.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let pid = Pid::from_child(&running.child);
        let ended = loop {
            match waitid(WaitId::Pid(pid), options) {
                Ok(None) if Instant::now() < until => thread::sleep(pause),
                ended => break matches!(ended, Ok(Some(_))),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        running.listen_to_errors(&self.name());
        let mut started = self.started();
        if started.remove(&pid) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        drop(started);
        match running.child.wait() {
            Ok(status) if ended => format!(" ({status})"),
            _ => String::new(),
        }
    }

    /// Kills all that still runs.
    pub(super) fn kill(&self) {
        for pid in std::mem::take(&mut *self.started()) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    fn started(&self) -> MutexGuard<'_, HashSet<Pid>> {
        // Nothing panics while it is held.
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the folder absolute: `folder` as the configuration in `base` means it.
    pub(crate) fn in_folder(mut self, base: &Path) -> Self {
        let folder = base.join(&self.folder);
        self.folder =
            std::path::absolute(if folder.as_os_str().is_empty() { Path::new(".") } else { &folder }).unwrap_or(folder);
        self
    }
}

/// A program that runs.
pub(super) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    errors: Option<ChildStderr>,
    heard: Buffer,
    muttered: Buffer,
    /// What it has yet to be told.
    pending: Vec<u8>,
    last_words: Option<String>,
    /// Whether it has said anything about the event.
    said: bool,
}

impl Running {
    /// Tells it of an event, and does what it asks for until it has answered.
    fn converse(&mut self, event: &Value, deadline: Instant, host: &mut impl Host) -> Result<Verdict, Trouble> {
        self.said = false;
        self.tell(event);
        loop {
            let line = self.next_line(deadline)?;
            let nonsense =
                |why: &str| Trouble::Nonsense(format!("{why}: {}", safe_text(&String::from_utf8_lossy(&line))));
            if line.trim_ascii().is_empty() {
                continue;
            }
            let line: Line = serde_json::from_slice(&line).map_err(|error| nonsense(&error.to_string()))?;
            self.said = true;
            match line {
                Line { call: Some(method), params, .. } => {
                    if Instant::now() >= deadline {
                        return Err(Trouble::Timeout);
                    }
                    let reply = host.call(&method, params);
                    self.tell(&reply);
                }
                Line { log: Some(text), level, .. } => log(&text, level.as_deref()),
                Line { ok: Some(true), stop, .. } => return Ok(Verdict::Ok { stop }),
                Line { error: Some(message), .. } => return Ok(Verdict::Failed(message)),
                Line { keep: Some(value), .. } => host.keep(value),
                _ => return Err(Trouble::Nonsense("a line without call, log, keep, ok or error".to_owned())),
            }
        }
    }

    fn tell(&mut self, line: &Value) {
        self.pending.extend_from_slice(line.to_string().as_bytes());
        self.pending.push(b'\n');
    }

    /// The next line that it says.
    fn next_line(&mut self, deadline: Instant) -> Result<Vec<u8>, Trouble> {
        loop {
            if let Some(line) = self.heard.line() {
                return Ok(line);
            }
            if self.heard.bytes.len() > LINE {
                return Err(Trouble::Nonsense(format!("a line of more than {LINE} bytes")));
            }
            self.exchange(deadline)?;
        }
    }

    /// Waits until bytes can go in or out, and moves them.
    fn exchange(&mut self, deadline: Instant) -> Result<(), Trouble> {
        let left = deadline.saturating_duration_since(Instant::now());
        // Some microseconds more, so that it doesn't wake before its time.
        let timeout = Timespec::try_from(left + Duration::from_micros(10)).ok();
        let (mut can_read, mut can_hear, mut can_write) = (false, false, false);
        {
            let mut files = vec![PollFd::new(&self.output, PollFlags::IN)];
            let errors = self.errors.as_ref().map(|errors| PollFd::new(errors, PollFlags::IN));
            let has_errors = errors.is_some();
            files.extend(errors);
            let input = self.input.as_ref().filter(|_| !self.pending.is_empty());
            let has_input = input.is_some();
            files.extend(input.map(|input| PollFd::new(input, PollFlags::OUT)));
            match poll(&mut files, timeout.as_ref()) {
                Ok(0) => return Err(Trouble::Timeout),
                Err(rustix::io::Errno::INTR) => return Ok(()),
                Err(error) => return Err(Trouble::Nonsense(format!("its pipes fail: {error}"))),
                Ok(_) => {}
            }
            let mut ready = files.iter().map(|file| !file.revents().is_empty());
            can_read |= ready.next().unwrap_or(false);
            can_hear |= has_errors && ready.next().unwrap_or(false);
            can_write |= has_input && ready.next().unwrap_or(false);
        }
        if can_hear {
            self.hear_errors();
        }
        if can_write && let Some(input) = &mut self.input {
            match input.write(&self.pending) {
                Ok(written) => drop(self.pending.drain(..written)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                // It doesn't listen any more; perhaps it still has something to say.
                Err(_) => self.pending.clear(),
            }
        }
        if can_read && self.heard.fill(&mut self.output) == 0 {
            return Err(Trouble::Ended);
        }
        Ok(())
    }

    /// Reads what it writes to stderr.
    fn hear_errors(&mut self) {
        if let Some(errors) = &mut self.errors
            && self.muttered.fill(errors) == 0
        {
            self.errors = None;
        }
        let flush = self.errors.is_none() || self.muttered.bytes.len() > LINE;
        while let Some(line) = self.muttered.line().or_else(|| self.muttered.rest(flush)) {
            let text = safe_text(&String::from_utf8_lossy(&line));
            if !text.is_empty() {
                info!(pid = self.child.id(), "listener's stderr: {text}");
                self.last_words = Some(text);
            }
        }
    }

    /// Reads what is there of its stderr, without waiting.
    fn listen_to_errors(&mut self, name: &str) {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // A program may write faster than we read.
        for _ in 0..64 {
            let Some(errors) = &self.errors else { return };
            if !matches!(poll(&mut [PollFd::new(errors, PollFlags::IN)], Some(&now)), Ok(1..)) {
                return;
            }
            self.hear_errors();
        }
        debug!("{name} writes more to stderr than is read");
    }

    /// What it said last on stderr, for the one who has to find out why it ended.
    fn last_words(&mut self, name: &str) -> Option<String> {
        self.listen_to_errors(name);
        self.last_words.take()
    }

    /// Whether it has said nothing after its answer, so that what it says next is about the next event.
    fn is_silent(&self) -> bool {
        self.heard.bytes.is_empty() && self.pending.is_empty()
    }
}

/// Bytes on their way to becoming lines.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// So many bytes hold no end of a line.
    searched: usize,
}

impl Buffer {
    /// Reads once, and tells how many bytes that gave; 0 is the end.
    fn fill(&mut self, from: &mut impl Read) -> usize {
        let before = self.bytes.len();
        self.bytes.resize(before + CHUNK, 0);
        let read = loop {
            match from.read(&mut self.bytes[before..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.unwrap_or(0),
            }
        };
        self.bytes.truncate(before + read);
        read
    }

    /// The first whole line.
    fn line(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return None;
        };
        let rest = self.bytes.split_off(self.searched + end + 1);
        self.searched = 0;
        Some(std::mem::replace(&mut self.bytes, rest))
    }

    /// What is left, if it shall be taken for a line.
    fn rest(&mut self, flush: bool) -> Option<Vec<u8>> {
        if !flush || self.bytes.is_empty() {
            return None;
        }
        self.searched = 0;
        Some(std::mem::take(&mut self.bytes))
    }
}

/// A line for our log. What a program calls a warning or an error reaches people; the rest is told with `-v` or `-vv`.
fn log(text: &str, level: Option<&str>) {
    let text = safe_text(text);
    match level {
        Some("error") => error!("{text}"),
        Some("warning") => warn!("{text}"),
        Some("debug") => debug!("{text}"),
        _ => info!("{text}"),
    }
}

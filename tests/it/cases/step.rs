//! Runs one step of a case.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::case::{Step, Variable};
use super::dir::CaseDir;

/// How long a step may take before it counts as hanging.
const LIMIT: Duration = Duration::from_secs(60);
/// How often the end of a step is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// What a command did.
#[derive(Debug)]
pub struct Output {
    /// The exit code; -1 after a signal.
    pub code: i32,
    pub elapsed: Duration,
    pub stdout: String,
    pub stderr: String,
}

/// The standard input of a command.
pub enum Input<'a> {
    Null,
    /// A pipe that ends after this text.
    Pipe(&'a str),
    /// A pipe that stays open after this text, as a keyboard does.
    Keys(&'a str),
}

/// Runs a step as a user; `None` is the user of this process.
pub fn run(dir: &CaseDir, step: &Step, user: Option<u32>) -> Output {
    let line = match (&step.shell, &step.run) {
        (Some(line), None) => line.clone(),
        (None, Some(words)) => format!("exec cxnpoll {}", words.iter().map(|word| quoted(word)).collect::<String>()),
        _ => panic!("a step has either `run` or `shell`"),
    };
    let line = format!("umask {}\n{line}", step.umask.as_deref().unwrap_or("022"));
    let mut command = match step.columns {
        None => {
            let mut command = dir.command("bash", user);
            command.args(["-c", &line]);
            command
        }
        Some(columns) => {
            let mut command = dir.command("script", user);
            command.args(["-qefc", &format!("stty cols {columns}\n{line}"), "/dev/null"]);
            command
        }
    };
    for (name, value) in &step.env {
        match value {
            Variable::Set(value) => command.env(name, value),
            Variable::Switch(is_kept) => {
                assert!(!is_kept, "{name} has no value");
                command.env_remove(name)
            }
        };
    }
    command.current_dir(dir.path().join(step.cwd.as_deref().unwrap_or_default()));
    let input = match (step.columns, &step.stdin) {
        (Some(_), _) => Input::Keys(step.types.as_deref().unwrap_or_default()),
        (None, Some(text)) => Input::Pipe(text),
        (None, None) => Input::Null,
    };
    output_of(command, input)
}

/// Runs a command to its end; panics if it hangs.
pub fn output_of(mut command: Command, input: Input<'_>) -> Output {
    let text = match input {
        Input::Null => None,
        Input::Pipe(text) | Input::Keys(text) => Some(text),
    };
    command.stdin(if text.is_some() { Stdio::piped() } else { Stdio::null() });
    let began = Instant::now();
    let mut child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take();
    let stdout = child.stdout.take().unwrap();
    let stderr = child.stderr.take().unwrap();
    thread::scope(|scope| {
        let stdout = scope.spawn(|| read(stdout));
        let stderr = scope.spawn(|| read(stderr));
        let writer = stdin.zip(text).map(|(mut stdin, text)| {
            scope.spawn(move || {
                // The command need not read it.
                let _ = stdin.write_all(text.as_bytes());
                matches!(input, Input::Keys(_)).then_some(stdin)
            })
        });
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > LIMIT {
                // Its children hold the pipes, too.
                kill_process_group(Pid::from_child(&child), Signal::KILL).unwrap();
            }
            thread::sleep(POLL_INTERVAL);
        };
        let elapsed = began.elapsed();
        drop(writer.map(|writer| writer.join().unwrap()));
        let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
        assert!(elapsed < LIMIT, "the step hangs: {stdout}\n{stderr}");
        Output { code: status.code().unwrap_or(-1), elapsed, stdout, stderr }
    })
}

/// Reads to the end; a terminal's line ends become those of a file.
fn read(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
}

/// Returns a word for the shell, and a blank after it.
fn quoted(word: &str) -> String {
    format!("'{}' ", word.replace('\'', r"'\''"))
}

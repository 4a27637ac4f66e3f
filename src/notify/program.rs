//! Runs a program that reads a message on its standard input.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::error::DeliveryError;
use crate::util::text::{decode, sanitize};

/// How long a program may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How often to look whether it has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// How long to wait for the rest of its standard error once it has ended. Programs that it started may keep the pipe open.
const STDERR_WAIT: Duration = Duration::from_millis(100);
/// How much of its standard error is read, in bytes.
const MAX_STDERR_BYTES: u64 = 64 << 10;

/// Runs a program with this input; succeeds if it exits with 0.
///
/// A path is relative to `dir`, in which it starts. A bare name is looked up in PATH.
pub(super) fn run(command: &[String], dir: &Path, input: Vec<u8>, stop: &AtomicBool) -> Result<(), DeliveryError> {
    let (name, arguments) = command.split_first().map_or(("", &[][..]), |(name, arguments)| (name, arguments));
    let program = sanitize(name);
    let start = || -> io::Result<Child> {
        let dir = std::path::absolute(if dir.as_os_str().is_empty() { Path::new(".") } else { dir })?;
        let path = if name.contains('/') { dir.join(name) } else { PathBuf::from(name) };
        let mut command = Command::new(path);
        command.args(arguments).current_dir(dir).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
    };
    let mut child = start().map_err(|source| DeliveryError::Start { program: program.clone(), source })?;
    let (sender, stderr) = channel();
    if let (Some(mut stdin), Some(output)) = (child.stdin.take(), child.stderr.take()) {
        // It need not read its input, and may read it late.
        let write = move || _ = stdin.write_all(&input);
        let read = move || {
            let mut text = Vec::new();
            let _ = output.take(MAX_STDERR_BYTES).read_to_end(&mut text);
            let _ = sender.send(text);
        };
        let started = thread::Builder::new().spawn(write).and_then(|_| thread::Builder::new().spawn(read));
        if let Err(error) = started {
            end(&mut child);
            return Err(DeliveryError::NoThread(error));
        }
    }
    let began = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if stop.load(Ordering::Relaxed) => {
                end(&mut child);
                return Err(DeliveryError::Stopped);
            }
            Ok(None) if began.elapsed() < LIMIT => thread::sleep(POLL_INTERVAL),
            Ok(None) => {
                end(&mut child);
                return Err(DeliveryError::Timeout { program, limit: LIMIT });
            }
            Err(source) => return Err(DeliveryError::Start { program, source }),
        }
    };
    if status.success() {
        return Ok(());
    }
    let text = decode(&stderr.recv_timeout(STDERR_WAIT).unwrap_or_default());
    let last_line = text.lines().rev().find(|line| !line.trim().is_empty()).map_or_else(String::new, sanitize);
    Err(DeliveryError::Exit { program, status, last_line })
}

/// Kills a program and what it started.
fn end(child: &mut Child) {
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

//! Ends a program with this process, however this process ends.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;
use tracing::debug;

/// Waits for the end of its input, and a second for the program. Then kills its process group, and so itself.
///
/// A signal that the program sends to its group does not end it.
const SCRIPT: &str = "trap '' HUP INT QUIT TERM; read -r _; sleep 1; kill -KILL 0";

/// A shell that leads the process group of a program, and kills it if this process has ended.
///
/// Only this process can write to its input, which therefore ends with it.
#[derive(Debug)]
pub(super) struct Guard(Child);

impl Guard {
    /// Starts a guard; `None` if the system starts none, for lack of a shell or of processes.
    pub(super) fn start() -> Option<Self> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SCRIPT]).current_dir("/").env_clear().envs(env::var_os("PATH").map(|path| ("PATH", path)));
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let started = shell.spawn().inspect_err(|error| debug!("no process guards the listener program: {error}"));
        started.ok().map(Self)
    }

    /// The process group, which exists until this is dropped.
    pub(super) fn group(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only if it has been reaped.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

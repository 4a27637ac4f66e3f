//! How a program is started, and how it is ended with everything that it started.

use std::collections::{BTreeMap, HashSet};
use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tracing::debug;

use super::error::ProgramError;
use super::guard::Guard;
use super::process::Process;
use crate::util::text::sanitize;

/// How long a program may take to exit once its input is closed. Then it is killed.
pub const EXIT_GRACE: Duration = Duration::from_secs(2);

/// The variables of this process's environment that a program gets.
const INHERITED_VARIABLES: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"];

/// A program that listens, and how it is started.
#[derive(Debug, Default)]
pub(crate) struct Program {
    /// The program and its arguments. They are not passed to a shell.
    pub(crate) command: Vec<String>,
    /// The working directory.
    pub(crate) directory: PathBuf,
    /// Variables in addition to [`INHERITED_VARIABLES`].
    pub(crate) env: BTreeMap<String, String>,
    /// Whether one process serves event after event.
    pub(crate) reuse: bool,
    /// How long one event may take.
    pub(crate) timeout: Duration,
    /// Whether it has answered an event of this process.
    pub(crate) answered: AtomicBool,
    /// Its processes, so that none is left behind.
    pub(crate) started: Mutex<Started>,
}

/// The processes of a program.
#[derive(Debug, Default)]
pub(crate) struct Started {
    /// The process groups of those that run now.
    groups: HashSet<Pid>,
    /// Whether none may be started, because the run has ended.
    closed: bool,
}

impl Program {
    /// Makes the working directory absolute; it is relative to the directory of the configuration.
    pub(crate) fn in_directory_of(mut self, config_dir: &Path) -> Self {
        let path = config_dir.join(&self.directory);
        let relative = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
        self.directory = std::path::absolute(relative).unwrap_or(path);
        self
    }

    /// The program and its arguments, made safe to show.
    pub(super) fn name(&self) -> String {
        sanitize(&self.command.join(" "))
    }

    /// Starts a process.
    pub(super) fn start(&self) -> Result<Process, ProgramError> {
        self.spawn().map_err(|source| ProgramError::Start { directory: self.directory.clone(), source })
    }

    fn spawn(&self) -> io::Result<Process> {
        let (program, arguments) =
            self.command.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command"))?;
        // A path is relative to the working directory. A bare name is looked up in PATH.
        let path = if program.contains('/') { self.directory.join(program) } else { PathBuf::from(program) };
        let variables = INHERITED_VARIABLES.iter().filter_map(|name| Some((name, env::var_os(name)?)));
        let mut command = Command::new(path);
        command.args(arguments).current_dir(&self.directory).env_clear().envs(variables).envs(&self.env);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        close_inherited_files();
        let guard = Guard::start();
        let mut started = self.started();
        if started.closed {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the run has ended"));
        }
        // In its own process group: Ctrl-C does not reach it, and what it starts can be killed with it.
        let group = guard.as_ref().map(Guard::group);
        let child = command.process_group(group.map_or(0, Pid::as_raw_pid)).spawn()?;
        started.groups.insert(group.unwrap_or_else(|| Pid::from_child(&child)));
        drop(started);
        debug!("started {}", self.name());
        Process::new(self.name(), child, guard)
    }

    /// Closes the input of a process, waits, and kills it and everything that it started.
    ///
    /// Returns how it exited; `None` if it was killed.
    pub(in crate::listener) fn end(&self, mut process: Process, grace: Duration) -> Option<ExitStatus> {
        let group = process.group();
        let has_exited = process.close(grace);
        let mut started = self.started();
        if started.groups.remove(&group) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        drop(started);
        process.reap().filter(|_| has_exited)
    }

    /// Allows processes to be started again after [`Program::kill`].
    pub(in crate::listener) fn open(&self) {
        self.started().closed = false;
    }

    /// Kills all processes that still run, and everything that they started. None is started afterwards.
    pub(in crate::listener) fn kill(&self) {
        let mut started = self.started();
        started.closed = true;
        for group in started.groups.drain() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    fn started(&self) -> MutexGuard<'_, Started> {
        // Nothing panics while it is held.
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes programs start without the files that this process has inherited, except its standard streams.
///
/// The files that it opened itself are closed in programs anyway.
fn close_inherited_files() {
    static CLOSED: Once = Once::new();
    CLOSED.call_once(|| close_fds::set_fds_cloexec_threadsafe(3, &[]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_working_directory_is_absolute_and_relative_to_the_configuration() {
        let directory = |directory: &str, config: &str| {
            Program { directory: directory.into(), ..Program::default() }.in_directory_of(Path::new(config)).directory
        };
        assert_eq!(directory("jobs", "/etc/cxnpoll"), Path::new("/etc/cxnpoll/jobs"));
        assert_eq!(directory("/opt", "/etc/cxnpoll"), Path::new("/opt"));
        assert_eq!(directory("", ""), env::current_dir().unwrap());
        assert_eq!(directory("jobs", ""), env::current_dir().unwrap().join("jobs"));
    }
}

//! Notices the exit of a process, also while other processes hold its pipes open.

use std::os::fd::OwnedFd;
use std::process::Child;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// How long a wait may last before the exit is checked, where no descriptor reports it.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Notices the exit of a child of this process.
#[derive(Debug)]
pub(super) struct ExitWatch {
    pid: Pid,
    /// Can be read once the child has exited; `None` where the system has no such descriptors.
    fd: Option<OwnedFd>,
}

impl ExitWatch {
    /// Makes a watch of a child that is not reaped before the watch is dropped.
    pub(super) fn new(child: &Child) -> Self {
        let pid = Pid::from_child(child);
        Self { pid, fd: open(pid) }
    }

    /// The descriptor that can be read once the child has exited; `None` if there is none.
    pub(super) fn fd(&self) -> Option<PollFd<'_>> {
        self.fd.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN))
    }

    /// Shortens a wait that the exit does not end.
    pub(super) fn limit(&self, wait: Duration) -> Duration {
        if self.fd.is_some() { wait } else { wait.min(CHECK_INTERVAL) }
    }

    /// Whether the child has exited. It stays a zombie, so that its id is not used again.
    pub(super) fn has_exited(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        // It fails if the system has reaped the child, because SIGCHLD is ignored.
        !matches!(waitid(WaitId::Pid(self.pid), options), Ok(None))
    }

    /// Waits for the exit, at most this long.
    pub(super) fn wait(&self, at_most: Duration) {
        match (self.fd(), Timespec::try_from(at_most)) {
            // A signal only shortens the wait.
            (Some(fd), Ok(at_most)) => drop(poll(&mut [fd], Some(&at_most))),
            _ => thread::sleep(at_most),
        }
    }
}

/// Opens a descriptor of a process: Linux 5.3 and later, unless a filter of system calls forbids it.
#[cfg(target_os = "linux")]
fn open(pid: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn open(_: Pid) -> Option<OwnedFd> {
    None
}

#[cfg(test)]
impl ExitWatch {
    /// Takes the descriptor away, as on a system without them.
    pub(super) fn close(&mut self) {
        self.fd = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::Instant;

    #[test]
    fn an_exit_ends_a_wait_and_is_seen_without_a_descriptor() {
        let mut child = Command::new("sleep").arg("0.2").spawn().unwrap();
        let mut watch = ExitWatch::new(&child);
        assert_eq!(watch.fd().is_some(), cfg!(target_os = "linux"));
        assert!(!watch.has_exited());
        let began = Instant::now();
        while !watch.has_exited() {
            watch.wait(Duration::from_secs(20));
        }
        assert!(began.elapsed() < Duration::from_secs(10));
        watch.close();
        assert!(watch.has_exited() && watch.limit(Duration::MAX) < Duration::from_secs(1));
        child.wait().unwrap();
        assert!(watch.has_exited());
    }
}

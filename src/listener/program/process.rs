//! A running program and its three pipes.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Pid;
use serde_json::Value;
use tracing::{debug, info};

use super::error::ProgramError;
use super::exit_watch::ExitWatch;
use super::guard::Guard;
use super::quota::LineQuota;
use super::wire::{LineBuffer, MAX_LINE_BYTES, WireError};
use crate::util::text::{count, sanitize};

/// How often a pipe is read at most before the next step. A program may write faster than this process reads.
const MAX_READS: usize = 64;
/// A longer line on stderr is divided, in bytes.
const MAX_STDERR_LINE_BYTES: usize = 64 << 10;
/// A wait for a pipe is divided into waits of this length, so that a pause of this process is noticed.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// The first and the longest pause between two reads of what an exiting program still writes.
const DRAIN_INTERVALS: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(20)];

/// A running program.
#[derive(Debug)]
pub(in crate::listener) struct Process {
    /// The program and its arguments, made safe to show.
    name: String,
    child: Child,
    pub(super) exit: ExitWatch,
    /// Leads the process group of the child; `None` if the child does.
    guard: Option<Guard>,
    /// `None` once it is closed.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// `None` once the program has closed it.
    stderr: Option<ChildStderr>,
    stdout_buf: LineBuffer,
    /// Whether the program has exited or closed stdout, and all that it wrote is in `stdout_buf`.
    has_ended: bool,
    stderr_buf: LineBuffer,
    /// What is still to be written to stdin.
    pending: Vec<u8>,
    last_stderr_line: Option<String>,
    /// Counts the lines of stderr since the last event began.
    stderr_quota: LineQuota,
}

/// When an event must be answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    start: Instant,
    limit: Duration,
}

impl Deadline {
    /// A deadline that passes `limit` from now on.
    pub(super) fn after(limit: Duration) -> Self {
        Self { start: Instant::now(), limit }
    }

    /// The time that is left; zero once the deadline has passed.
    fn left(self) -> Duration {
        self.limit.saturating_sub(self.start.elapsed())
    }

    /// Fails once the deadline has passed.
    pub(super) fn check(self) -> Result<(), ProgramError> {
        if self.left().is_zero() { Err(self.error()) } else { Ok(()) }
    }

    /// Moves the deadline by a wait that took more than a second longer than its limit.
    ///
    /// This process did not run meanwhile, and the program may not have run either.
    pub(super) fn exclude_pause(&mut self, waited: Duration, limit: Duration) {
        if waited.saturating_sub(limit) > Duration::from_secs(1) {
            self.start += waited;
        }
    }

    fn error(self) -> ProgramError {
        ProgramError::Timeout(self.limit)
    }
}

/// Which pipes can be used without waiting.
#[derive(Default)]
struct Ready {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

impl Process {
    /// Takes over a child that was started with three pipes.
    pub(super) fn new(name: String, mut child: Child, guard: Option<Guard>) -> io::Result<Self> {
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(io::Error::other("the process has no pipes"));
        };
        rustix::io::ioctl_fionbio(&stdin, true)?;
        Ok(Self {
            name,
            exit: ExitWatch::new(&child),
            child,
            guard,
            stdin: Some(stdin),
            stdout,
            stderr: Some(stderr),
            stdout_buf: LineBuffer::default(),
            has_ended: false,
            stderr_buf: LineBuffer::default(),
            pending: Vec::new(),
            last_stderr_line: None,
            stderr_quota: LineQuota::default(),
        })
    }

    /// The process group, which exists until [`Process::reap`].
    pub(super) fn group(&self) -> Pid {
        self.guard.as_ref().map_or_else(|| Pid::from_child(&self.child), Guard::group)
    }

    /// Begins an event: lines on stderr are logged again.
    pub(super) fn begin_event(&mut self) {
        let more = self.stderr_quota.reset();
        if more > 0 {
            info!(pid = self.child.id(), "listener's stderr: and {}", count(more, "more line"));
        }
    }

    /// Queues a line for stdin. It is written while [`Process::next_line`] waits.
    pub(super) fn send(&mut self, line: &Value) {
        self.pending.extend_from_slice(line.to_string().as_bytes());
        self.pending.push(b'\n');
    }

    /// Waits for the next line on stdout.
    pub(super) fn next_line(&mut self, deadline: &mut Deadline) -> Result<Vec<u8>, ProgramError> {
        loop {
            // The pipes of a program that writes in a loop can always be read.
            deadline.check()?;
            if self.reads_stdout() {
                if let Some(line) = self.stdout_buf.take_line() {
                    return Ok(line);
                }
                if self.has_ended {
                    return Err(ProgramError::Exited(None));
                }
                if self.stdout_buf.len() > MAX_LINE_BYTES {
                    return Err(ProgramError::Protocol(WireError::TooLong));
                }
            }
            self.exchange(deadline)?;
        }
    }

    /// Whether lines on stdout are read. They are not while the program does not read the replies to its calls.
    fn reads_stdout(&self) -> bool {
        self.has_ended || self.pending.len() <= MAX_LINE_BYTES
    }

    /// Waits until bytes can be read or written or the process exits, and moves the bytes.
    fn exchange(&mut self, deadline: &mut Deadline) -> Result<(), ProgramError> {
        let Some(ready) = self.wait(deadline)? else {
            self.read_rest();
            return Ok(());
        };
        if ready.stderr {
            self.read_stderr();
        }
        if ready.stdout {
            self.has_ended = self.stdout_buf.fill(&mut self.stdout) == 0;
        }
        if ready.stdin
            && let Some(stdin) = &mut self.stdin
        {
            match stdin.write(&self.pending) {
                Ok(written) => drop(self.pending.drain(..written)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                // The program has closed its input. It may still write an answer.
                Err(_) => self.pending.clear(),
            }
        }
        Ok(())
    }

    /// Reads what has arrived on stdout, without waiting for its end: other processes may hold it open.
    fn read_rest(&mut self) {
        for _ in 0..MAX_READS {
            if !can_read(&self.stdout) || self.stdout_buf.fill(&mut self.stdout) == 0 {
                break;
            }
        }
        self.has_ended = true;
    }

    /// Waits until a pipe can be used, for [`MAX_WAIT`] at most; `None` if the process has exited.
    ///
    /// After that, or a signal, no pipe may be ready. An exit comes first, so that no event reaches another process that holds
    /// stdin open.
    fn wait(&self, deadline: &mut Deadline) -> Result<Option<Ready>, ProgramError> {
        // Some microseconds more, so that the wait does not end before the deadline.
        let wait = self.exit.limit(deadline.left().saturating_add(Duration::from_micros(10))).min(MAX_WAIT);
        let timeout = Timespec::try_from(wait).ok();
        let began = Instant::now();
        let from_stdout = if self.reads_stdout() { PollFlags::IN } else { PollFlags::empty() };
        let mut files = vec![PollFd::new(&self.stdout, from_stdout)];
        let stderr = self.stderr.as_ref().map(|stderr| PollFd::new(stderr, PollFlags::IN));
        let stdin = self.stdin.as_ref().filter(|_| !self.pending.is_empty());
        let (has_stderr, has_stdin) = (stderr.is_some(), stdin.is_some());
        files.extend(stderr);
        files.extend(stdin.map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
        let exit = self.exit.fd();
        let has_exit = exit.is_some();
        files.extend(exit);
        let polled = poll(&mut files, timeout.as_ref());
        deadline.exclude_pause(began.elapsed(), wait);
        match polled {
            Err(Errno::INTR) => return Ok(Some(Ready::default())),
            Err(error) => return Err(ProgramError::Pipes(error.into())),
            Ok(_) => {}
        }
        let mut files = files.iter();
        let mut is_ready = |is_polled: bool| is_polled && files.next().is_some_and(|file| !file.revents().is_empty());
        let (stdout, stderr, stdin) = (is_ready(true), is_ready(has_stderr), is_ready(has_stdin));
        let has_exited = if has_exit { is_ready(true) } else { self.exit.has_exited() };
        Ok((!has_exited).then_some(Ready { stdin, stdout, stderr }))
    }

    /// Reads stderr once, and logs its lines as far as the quota allows.
    fn read_stderr(&mut self) {
        if let Some(stderr) = &mut self.stderr
            && self.stderr_buf.fill(stderr) == 0
        {
            self.stderr = None;
        }
        while let Some(line) = self.take_stderr_line() {
            let text = sanitize(&String::from_utf8_lossy(&line));
            if !text.is_empty() {
                if self.stderr_quota.admit() {
                    info!(pid = self.child.id(), "listener's stderr: {text}");
                }
                self.last_stderr_line = Some(text);
            }
        }
    }

    /// The next line of stderr. At its end, and where a line is too long, the rest counts as a line.
    fn take_stderr_line(&mut self) -> Option<Vec<u8>> {
        let flush = self.stderr.is_none() || self.stderr_buf.len() > MAX_STDERR_LINE_BYTES;
        self.stderr_buf.take_line().or_else(|| if flush { self.stderr_buf.take_rest() } else { None })
    }

    /// Reads what has arrived on stderr, without waiting.
    fn drain_stderr(&mut self) {
        for _ in 0..MAX_READS {
            if !self.stderr.as_ref().is_some_and(can_read) {
                return;
            }
            self.read_stderr();
        }
        debug!("{} writes to stderr faster than it is read", self.name);
    }

    /// Reads and ignores what has arrived, so that a program that exits does not wait for this process.
    fn drain(&mut self) {
        self.drain_stderr();
        for _ in 0..MAX_READS {
            if !can_read(&self.stdout) || self.stdout_buf.fill(&mut self.stdout) == 0 {
                return;
            }
            self.stdout_buf = LineBuffer::default();
        }
    }

    /// Takes the last line of stderr so far; `None` if there is none.
    pub(super) fn last_stderr_line(&mut self) -> Option<String> {
        self.drain_stderr();
        self.last_stderr_line.take()
    }

    /// Whether nothing is left to read or to write, so that the next line belongs to the next event.
    pub(super) fn is_silent(&self) -> bool {
        self.stdout_buf.is_empty() && self.pending.is_empty()
    }

    /// Whether the process has written nothing to stdout since its answer.
    ///
    /// What it wrote would be taken for a part of the answer to the next event.
    pub(super) fn stayed_silent(&mut self) -> bool {
        !can_read(&self.stdout) || self.stdout_buf.fill(&mut self.stdout) == 0
    }

    /// Whether the last line on stdout lacks its end, as far as it was read.
    pub(super) fn has_cut_line(&self) -> bool {
        self.stdout_buf.has_cut_line()
    }

    /// Closes stdin and waits for the process to exit; `false` means that it still runs.
    ///
    /// A process that has exited stays a zombie until [`Process::reap`], so that its id is not used again.
    pub(super) fn close(&mut self, grace: Duration) -> bool {
        self.stdin = None;
        let deadline = Instant::now() + grace;
        let [mut pause, longest] = DRAIN_INTERVALS;
        let has_exited = loop {
            self.drain();
            match self.exit.has_exited() {
                false if Instant::now() < deadline => self.exit.wait(pause),
                has_exited => break has_exited,
            }
            pause = (pause * 2).min(longest);
        };
        self.drain_stderr();
        self.begin_event();
        has_exited
    }

    /// Reaps a process that has exited or was killed; `None` if its status is not available.
    pub(super) fn reap(mut self) -> Option<ExitStatus> {
        self.child.wait().ok()
    }
}

/// Whether a pipe can be read without waiting, also because it is at its end.
fn can_read(pipe: &impl AsFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&now)), Ok(1..))
}

//! Data for people and scripts on standard output, and the error on standard error.
//!
//! A failure to write standard output is remembered, and does not change what a command does. [`finish`] turns it into an
//! exit code. A command that only lists asks [`check`], to end early.

use std::io::{self, Stdout, Write};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use clap::ColorChoice;
use clap::builder::styling::{AnsiColor, Style};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde_json::Value;

use super::deferred::DeferredWriter;
use super::logging::FILE_ONLY;
use super::stderr::Stderr;
use super::terminal;
use crate::cli::error::{Error, Report, Result};
use crate::exit;
use crate::util::text::escape;

static STDOUT: LazyLock<Mutex<DeferredWriter<Stdout>>> =
    LazyLock::new(|| Mutex::new(DeferredWriter::new(io::stdout())));

fn stdout() -> MutexGuard<'static, DeferredWriter<Stdout>> {
    STDOUT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a line of data.
pub(in crate::cli) fn line(text: &str) {
    bytes(format!("{text}\n").as_bytes());
}

/// Shows what was written so far, as far as the reader takes it at once.
///
/// Only a command that goes on for seconds needs it.
pub(in crate::cli) fn flush() {
    stdout().send_available();
}

/// Writes data as it is.
pub(in crate::cli) fn bytes(data: &[u8]) {
    // The failure is remembered.
    let _ = stdout().write_all(data);
}

/// Writes data at once, however long its reader takes. Nothing else may be written by the command.
pub(in crate::cli) fn at_once(data: &[u8]) {
    let (file, mut left) = (io::stdout(), data);
    while !left.is_empty() {
        match rustix::io::write(&file, left) {
            Ok(0) => return stdout().fail(io::ErrorKind::WriteZero.into()),
            Ok(written) => left = &left[written..],
            Err(Errno::INTR) => {}
            // What is wrong with the file, the write reports.
            Err(Errno::AGAIN) => _ = poll(&mut [PollFd::new(&file, PollFlags::OUT)], None),
            // The failure is remembered.
            Err(error) => return stdout().fail(error.into()),
        }
    }
}

/// Writes a JSON value: indented on a terminal, otherwise on one line.
pub(in crate::cli) fn json(value: &Value) {
    match serde_json::to_string_pretty(value) {
        Ok(indented) if terminal::has_stdout() => line(&escape(&indented)),
        _ => json_line(value),
    }
}

/// Writes a JSON value on one line, with escapes on a terminal for what that may obey or hide.
pub(in crate::cli) fn json_line(value: &Value) {
    let text = value.to_string();
    if terminal::has_stdout() { line(&escape(&text)) } else { line(&text) }
}

/// Ends a command that only lists once standard output cannot be written.
///
/// # Errors
/// [`Error::Stdout`], which needs no report: [`finish`] makes it.
pub(in crate::cli) fn check() -> Result<()> {
    stdout().check().map_err(Error::Stdout)
}

/// Remembers why there is no more output, unless that is known, and ends a command that only lists.
///
/// # Errors
/// As [`check`].
pub(in crate::cli) fn fail(error: io::Error) -> Result<()> {
    stdout().fail(error);
    check()
}

/// Standard output as a writer. Its failure is remembered.
pub(in crate::cli) struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        stdout().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        stdout().flush()
    }
}

/// Writes what is left of the output, and returns the exit code of the process.
///
/// The command ended with `code`. A reader that closes the pipe has seen enough. Any other failure is reported, and is the
/// exit code of a command that did its work.
pub(in crate::cli) fn finish(code: u8, color: ColorChoice) -> u8 {
    match stdout().finish() {
        Err(failure) if failure.kind() != io::ErrorKind::BrokenPipe => {
            let report = Report::from(Error::Stdout(failure));
            error(&report, color);
            if code == exit::OK { report.exit_code } else { code }
        }
        _ => code,
    }
}

/// Prints an error to standard error, and logs it.
pub(in crate::cli) fn error(report: &Report, color: ColorChoice) {
    // In the log file the hint is in the same line, so that a search for the run finds it.
    tracing::error!(target: FILE_ONLY, "{}", report.to_string().replace('\n', "; "));
    let is_colored = terminal::is_colored(color, terminal::has_stderr());
    let red = if is_colored { AnsiColor::Red.on_default().bold() } else { Style::new() };
    let _ = Stderr.write_all(format!("{red}error:{red:#} {report}\n").as_bytes());
}

/// Prints what the parser of arguments has to report: a usage error, or help on standard output.
pub(in crate::cli) fn parser_report(report: &clap::Error, color: ColorChoice) {
    let is_error = report.use_stderr();
    let is_terminal = if is_error { terminal::has_stderr() } else { terminal::has_stdout() };
    let text = report.render();
    let text = if terminal::is_colored(color, is_terminal) { text.ansi().to_string() } else { text.to_string() };
    if is_error {
        let _ = Stderr.write_all(text.as_bytes());
    } else {
        bytes(text.as_bytes());
    }
}

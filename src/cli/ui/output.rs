//! Data for people and scripts on standard output, and the error on standard error.

use std::io::{self, Write};

use clap::ColorChoice;
use clap::builder::styling::{AnsiColor, Style};
use serde_json::Value;

use super::stderr::Stderr;
use super::terminal;
use crate::cli::error::{Error, Report, Result};
use crate::exit;
use crate::util::text::escape;

/// Writes a line of data.
///
/// A reader that closes the pipe has seen enough: the process then exits with 0.
pub(in crate::cli) fn line(text: &str) -> Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes data as it is; a closed pipe ends the process as in [`line`].
pub(in crate::cli) fn bytes(data: &[u8]) -> Result<()> {
    match io::stdout().lock().write_all(data) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(exit::OK.into()),
        Err(error) => Err(Error::Stdout(error)),
    }
}

/// Writes a JSON value: indented on a terminal, otherwise on one line.
pub(in crate::cli) fn json(value: &Value) -> Result<()> {
    match serde_json::to_string_pretty(value) {
        Ok(indented) if terminal::has_stdout() => line(&escape(&indented)),
        _ => json_line(value),
    }
}

/// Writes a JSON value on one line, with escapes on a terminal for what that may obey or hide.
pub(in crate::cli) fn json_line(value: &Value) -> Result<()> {
    let text = value.to_string();
    if terminal::has_stdout() { line(&escape(&text)) } else { line(&text) }
}

/// Prints the error of a command to standard error.
pub(in crate::cli) fn error(report: &Report, color: ColorChoice) {
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
    let _ = if is_error { Stderr.write_all(text.as_bytes()) } else { io::stdout().write_all(text.as_bytes()) };
}
